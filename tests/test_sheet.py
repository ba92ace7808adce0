"""The sheet on one image: its spectrum, its panels and the numbers on it."""

import numpy as np
import pytest

from tvmap import denoising, sheet

RANDOM = np.random.default_rng(7)
CLEAN = np.kron(RANDOM.uniform(0.2, 0.8, (6, 8)), np.ones((8, 8))).astype(np.float32)
NOISY = (CLEAN + 0.05 * RANDOM.normal(size=(3, *CLEAN.shape))).astype(np.float32)
MAPS = RANDOM.uniform(0.02, 0.1, (3, 2, *CLEAN.shape)).astype(np.float32)
NUMBERS = np.array([0.05, 0.06, 0.4], np.float32)
BOTTOM = ["spectrum of the residual", "the solver's convergence", ""]


def panels(figure):
    """[axes] row by row, without the colour bars."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def titles(figure):
    return [axes.get_title() for axes in panels(figure)]


@pytest.mark.parametrize(("n_channels", "height", "width"), [(1, 200, 200), (3, 240, 150)])
def test_white_noise_has_the_same_power_in_every_ring(n_channels, height, width):
    """|FFT|²/n of a frequency has mean σ² and, being exponential, standard deviation σ²; half are conjugates."""
    frequency, power = sheet.rings(0.7 + 0.3 * RANDOM.normal(size=(n_channels, height, width)))
    assert len(frequency) == sheet.FREQUENCIES
    np.testing.assert_allclose(frequency, (np.arange(len(frequency)) + 0.5) / 2 / sheet.FREQUENCIES)
    counts = np.pi * (2 * frequency) / (2 * sheet.FREQUENCIES) * height * width  # area of a ring
    error = 0.3**2 * np.sqrt(2 / counts / n_channels)
    assert (np.abs(power[1:] - 0.3**2) < 4.5 * error[1:]).all()
    assert power.mean() == pytest.approx(0.3**2, rel=0.1)


def test_a_wave_is_in_the_ring_of_its_frequency():
    """A wave of 13 periods on 100 pixels: two frequencies ±0.13 cycles a pixel, both in one ring."""
    wave = 0.1 * np.cos(2 * np.pi * 0.13 * np.arange(100)) * np.ones((50, 1))
    frequency, power = sheet.rings(wave[None])
    assert abs(frequency[np.argmax(power)] - 0.13) <= 0.25 / sheet.FREQUENCIES
    assert np.sort(power)[-2] < 1e-12 * power.max()


@pytest.mark.parametrize("n_channels", [1, 3])
def test_panels_of_two_maps(n_channels):
    found = denoising.by_weight(NOISY[:n_channels], MAPS[:n_channels], penalty="tgv", iterations=20)
    figure = sheet.draw("strange $name$\n", NOISY[:n_channels], found)
    rows = [[f"{name} (grey value)", f"log₁₀ {name}", ""] for name in ("Λ₁", "Λ₀")]
    assert titles(figure) == ["input", "result", "residual, input − result", *rows[0], *rows[1], *BOTTOM]
    assert figure.get_suptitle() == "strange $name$?"
    shown = [axes.images[0].get_array() if axes.images else None for axes in panels(figure)]
    of_colour = n_channels == 3
    for values, channels in zip(shown, (NOISY[:n_channels], found.x), strict=False):
        expected = channels.transpose(1, 2, 0).clip(0, 1) if of_colour else channels[0]
        np.testing.assert_array_equal(values, expected)
    np.testing.assert_allclose(shown[2], (NOISY[:n_channels] - found.x).mean(axis=0))
    assert panels(figure)[2].images[0].norm.vmin == -panels(figure)[2].images[0].norm.vmax, "white is 0"
    for row, k in ((3, 0), (6, 1)):
        mean = MAPS[:n_channels, k].mean(axis=0)
        np.testing.assert_allclose(shown[row], mean, rtol=1e-6)
        np.testing.assert_allclose(shown[row + 1], np.log10(mean), rtol=1e-5)
        assert panels(figure)[row + 2].get_xlabel() == f"log₁₀ {'Λ₁Λ₀'[2 * k : 2 * k + 2]}"


def test_the_panels_of_numbers_and_what_they_say():
    found = denoising.by_weight(NOISY, NUMBERS, iterations=20)
    figure = sheet.draw("name", NOISY, found)
    assert titles(figure) == ["input", "result", "residual, input − result", *BOTTOM]
    residual, (spectrum, course, facts) = NOISY - found.x, panels(figure)[-3:]
    power, white = (line.get_ydata() for line in spectrum.lines)
    np.testing.assert_array_equal(power, sheet.rings(residual)[1])
    np.testing.assert_allclose(white, residual.var())
    (gaps,) = course.lines
    assert gaps.get_xdata().tolist() == [1, 2, 4, 8, 16, 20]
    assert gaps.get_ydata()[-1] == found.gap.max() == found.gap[2] != found.gap[0]
    assert facts.texts[0].get_text().splitlines() == [
        "64 × 48 pixels, colour",
        "noise level, estimated: {:.3g}, {:.3g}, {:.3g}".format(*found.noise_levels),
        f"residual: mean {residual.mean():+.1e}, std {residual.std():.3g}",
        "λ: 0.05, 0.06, 0.4",
        "penalty: TV",
        "iterations: 20",
        f"relative gap: {found.gap.max():.1e}",
        "maps and residual: means of the channels",
    ]
