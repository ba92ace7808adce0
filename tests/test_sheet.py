"""The sheet on one image: its spectrum, its panels and the numbers on it."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

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
    title = "residual, input − result" if n_channels == 1 else "residual, mean of the channels"
    assert titles(figure) == ["input", "result", title, *rows[0], *rows[1], *BOTTOM]
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


def facts_of(channels, found, counted=(0, 1)):
    """The numbers on a sheet, as lines."""
    return panels(sheet.draw("name", channels, found, counted))[-1].texts[0].get_text().splitlines()


def test_the_panels_of_numbers_and_what_they_say():
    found = denoising.by_weight(NOISY, NUMBERS, iterations=20)
    figure = sheet.draw("name", NOISY, found, (-81.9, 322.4))
    assert titles(figure) == ["input", "result", "residual, mean of the channels", *BOTTOM]
    residual, (spectrum, course, facts) = NOISY - found.x, panels(figure)[-3:]
    power, white = (line.get_ydata() for line in spectrum.lines)
    np.testing.assert_array_equal(power, sheet.rings(residual)[1])
    variances = [channel.var(dtype=np.float64) for channel in residual]
    np.testing.assert_allclose(white, np.mean(variances))
    (gaps,) = course.lines
    assert gaps.get_xdata().tolist() == [1, 2, 4, 8, 16, 20]
    assert gaps.get_ydata()[-1] == found.gap.max() == found.gap[2] != found.gap[0]
    assert facts.texts[0].get_text().splitlines() == [
        "64 × 48 pixels, colour",
        "range, 0 to 1: -81.9 to 322.4 in the file",
        "noise level, estimated: {:.3g}, {:.3g}, {:.3g}".format(*denoising.noise_levels(NOISY)),
        f"residual: mean {residual.mean(dtype=np.float64):+.1e}, std {np.mean(variances) ** 0.5:.3g}",
        "λ = 0.05, 0.06, 0.4",
        "penalty: TV, anisotropic norm",
        "boundary: periodic",
        "iterations: 20",
        f"relative gap: {found.gap.max():.1e} (worst channel)",
        "std and spectrum: of all channels",
    ]


def test_facts_of_grey_images_and_of_maps():
    options = {"iterations": 2, "norm": "isotropic", "boundary": "neumann"}
    found = denoising.by_weight(NOISY[:1], [1000], **options)
    lines = facts_of(NOISY[:1], found, (0, 65535))
    assert lines[1] == "range, 0 to 1: 0 to 65535 in the file"
    assert {"λ = 1000", "penalty: TV, isotropic norm", "boundary: neumann"} < {*lines}
    assert not [line for line in lines if "channel" in line]
    found = denoising.by_weight(NOISY, MAPS, penalty="tgv", iterations=2)
    assert facts_of(NOISY, found)[-6:-1] == [
        "penalty: TGV",
        "boundary: periodic",
        "iterations: 2",
        f"relative gap: {found.gap.max():.1e} (worst channel)",
        "std and spectrum: of all channels",
    ]
    assert facts_of(NOISY, found)[-1] == "maps: means of the channels"


def in_dots(figure):
    """The figure as it is saved, (H, W), 0 to 255, and {title: (left, top, right, bottom)} of its panels in it."""
    content = io.BytesIO()
    figure.savefig(content, dpi=sheet.DPI)
    pixels = np.asarray(Image.open(content).convert("L")).astype(float)
    places = {}
    for axes in panels(figure):
        if axes.images:
            box = axes.get_window_extent().transformed(matplotlib.transforms.Affine2D().scale(sheet.DPI / figure.dpi))
            rows = len(pixels) - box.y1, len(pixels) - box.y0
            places[axes.get_title()] = [round(v) for v in (box.x0, rows[0], box.x1, rows[1])]
    return pixels, places


def test_thin_lines_of_a_large_image_are_in_its_panels():
    """31 white lines of one pixel on 2048²: drawn pixel by pixel, 6 are in one panel and 4 in the other."""
    lines = np.zeros((1, 2048, 2048), np.float32)
    lines[:, :, 50:2034:64] = 1
    assert lines[0, 0].sum() == 31
    found = denoising.by_weight(lines, [0], iterations=2)
    figure = sheet.draw("lines", lines, found)
    shown = [axes.images[0].get_array() for axes in panels(figure)[:2]]
    np.testing.assert_array_equal(*shown)
    assert shown[0].mean() == pytest.approx(lines.mean(), rel=0.01) and ((shown[0] > 0).sum(axis=1) == 31).all()
    assert "1 pixel of a panel: mean of 7 × 7" in facts_of(lines, found)
    pixels, places = in_dots(figure)
    for title in ("input", "result"):
        left, top, right, bottom = places[title]
        row = pixels[(top + bottom) // 2, left + 2 : right - 2] > 10
        assert (row[1:] & ~row[:-1]).sum() == 31, title


def test_block_means_are_means():
    values = RANDOM.normal(size=(3, 7, 11)).astype(np.float32)
    found = sheet.block_means(values, 4)
    assert found.shape == (3, 2, 3)
    for row in range(2):
        for column in range(3):
            block = values[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            np.testing.assert_allclose(found[:, row, column], block.mean(axis=(-2, -1)), rtol=1e-5)
    assert sheet.block_means(values, 1) is values
    whole = RANDOM.normal(size=(1, 60, 90))
    assert sheet.block_means(whole, 3).mean() == pytest.approx(whole.mean())


@pytest.mark.parametrize("shape", [(256, 256), (700, 640), (1500, 300), (300, 1500), (2, 900), (2000, 3), (400, 1000)])
def test_every_panel_has_a_dot_for_all_that_it_shows(shape):
    z = RANDOM.uniform(0, 1, (1, *shape)).astype(np.float32)
    maps = RANDOM.uniform(1e-7, 0.1, (1, 2, *shape)).astype(np.float32)
    figure = sheet.draw("name", z, denoising.by_weight(z, maps, penalty="tgv", iterations=1))
    _, places = in_dots(figure)
    shapes = {axes.images[0].get_array().shape[:2] for axes in panels(figure) if axes.images}
    side = sheet.block_side(*shape)
    assert shapes == {(-(-shape[0] // side), -(-shape[1] // side))} and len(places) == 7
    for left, top, right, bottom in places.values():
        assert bottom - top >= next(iter(shapes))[0] and right - left >= next(iter(shapes))[1]


@pytest.mark.parametrize("n_channels", [1, 3])
def test_a_dark_image_is_shown_in_its_own_range(n_channels):
    dark = (NOISY / 16)[:n_channels]
    found = denoising.by_weight(dark, [0.003], iterations=20)
    figure = sheet.draw("dark", dark, found, (0, 65535))
    low, high = dark.min(), dark.max()
    for axes, values in zip(panels(figure)[:2], (dark, found.x), strict=True):
        image = axes.images[0]
        expected = (values - low) / (high - low)
        shown = image.norm(image.get_array()) if n_channels == 1 else image.get_array().transpose(2, 0, 1)
        np.testing.assert_allclose(np.reshape(shown, expected.shape).clip(0, 1), expected.clip(0, 1), atol=1e-5)
    said = f"panels, black to white: {65535 * low:.4g} to {65535 * high:.4g}"
    assert said in facts_of(dark, found, (0, 65535))
    assert "black to white" not in "".join(facts_of(NOISY, denoising.by_weight(NOISY, [0.05], iterations=2)))
    assert sheet.shown_ends(np.zeros((1, 2, 2))) == (0, 1)


@pytest.mark.parametrize(("weight", "iterations"), [(1000, 8), (1000, 1), (0.05, 256), (0, 2)])
def test_ticks_of_the_gap_are_told_apart(weight, iterations):
    """Of λ = 1000 the gap runs from 1.000 to 0.99, at which every tick was 10 × 10⁻¹."""
    found = denoising.by_weight(NOISY[:1], [weight], iterations=iterations)
    figure = sheet.draw("name", NOISY[:1], found)
    figure.draw_without_rendering()
    for axes in panels(figure)[-3:-1]:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            texts = [label.get_text() for minor in (False, True) for label in axis.get_ticklabels(minor=minor)]
            texts = [text for text in texts if text]
            assert len(texts) == len({*texts}) and texts, texts
            assert axis.get_scale() == "linear" or axis is axes.xaxis or high >= 9.99 * low
