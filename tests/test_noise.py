"""Noise: its size, its key, its independence of order."""

import numpy as np
import pytest

from tvmap import noise

IMAGE = np.outer(np.linspace(0, 1, 200), np.linspace(0.2, 1, 210)).astype(np.float32)


def test_relative_and_absolute_standard_deviation():
    unbiased = np.sqrt(np.sum((IMAGE - IMAGE.mean(dtype=float)) ** 2, dtype=float) / (IMAGE.size - 1))
    assert noise.noise_std(IMAGE, 0.5) == pytest.approx(0.5 * unbiased, rel=1e-6)
    assert noise.noise_std(IMAGE, 0.5, "absolute") == 0.5
    with pytest.raises(ValueError, match="kind"):
        noise.noise_std(IMAGE, 0.5, "loud")


@pytest.mark.parametrize("kind", noise.KINDS)
def test_noise_has_its_size_and_is_white(kind):
    residual = noise.keyed_noise(IMAGE, 0.4, 42, 0, "a", kind) - IMAGE
    std = noise.noise_std(IMAGE, 0.4, kind)
    n = residual.size
    assert residual.std() == pytest.approx(std, rel=5 / np.sqrt(2 * n))
    assert abs(residual.mean()) < 5 * std / np.sqrt(n)
    for axis in (0, 1):
        assert abs(np.mean(residual * np.roll(residual, 1, axis))) < 5 * std**2 / np.sqrt(n)


def test_not_clamped():
    z = noise.keyed_noise(IMAGE, 0.5, 42, 0, "a", "absolute")
    assert z.min() < 0 and z.max() > 1 and z.dtype == np.float32


def test_the_level_only_scales():
    low, high = (noise.keyed_noise(IMAGE, level, 42, 0, "a", "absolute") - IMAGE for level in (0.1, 0.4))
    np.testing.assert_allclose(4 * low, high, atol=1e-6)


def test_each_part_of_the_key_counts_and_nothing_else():
    expected = noise.keyed_noise(IMAGE, 0.5, 42, 0, "a")
    noise.keyed_noise(IMAGE, 0.5, 42, 0, "b")
    np.random.default_rng(0).random(10)
    assert np.array_equal(expected, noise.keyed_noise(IMAGE, 0.5, 42, 0, "a"))
    for key in ((43, 0, "a"), (42, 1, "a"), (42, 0, "b")):
        other = noise.keyed_noise(IMAGE, 0.5, *key)
        correlation = np.corrcoef((expected - IMAGE).ravel(), (other - IMAGE).ravel())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(IMAGE.size)
    assert not np.array_equal(noise.generator(1, 23).random(3), noise.generator(12, 3).random(3))


def test_levels():
    assert noise.keyed_level(0.5, 42, 0, "a") == 0.5
    levels = np.array([noise.keyed_level([0.1, 0.5], 42, draw, f"image {i}") for i in range(500) for draw in (0, 1)])
    assert levels.min() >= 0.1 and levels.max() <= 0.5
    assert levels.mean() == pytest.approx(0.3, abs=5 * 0.4 / np.sqrt(12 * 1000))
    assert levels.var() == pytest.approx(0.4**2 / 12, rel=0.15)
    assert noise.keyed_level([0.1, 0.5], 42, 0, "image 0") == levels[0]


def test_pinned_values():
    """A new version of NumPy that draws other numbers would change every published table: this must be seen."""
    drawn = noise.generator(42, 0, "IM-0001-0001").standard_normal(3)
    np.testing.assert_allclose(drawn, [-0.47298492221020677, -1.0050428462498573, -0.7322893504560137], rtol=1e-12)
