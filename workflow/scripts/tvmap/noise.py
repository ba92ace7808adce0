"""Noise: z = x + level·std(x)·n (relative, the published code's) or z = x + level·n (absolute), n standard normal.

The noise of validation and test images is keyed by (seed, draw, image id): order, number of workers and machine do not
matter, and the level only scales it. std(x) is that image's own (unbiased) standard deviation; z is not clamped.
From z alone the standard deviation of the noise is estimated.
"""

import hashlib
from collections.abc import Mapping

import numpy as np

KINDS = ("relative", "absolute")
Level = float | list[float] | tuple[float, float]  # a noise level, or low and high, between which it is drawn
MAD_TO_STD = 1 / 0.6744897501960817  # standard deviation over the median of |n|, n normal


def generator(*key: object) -> np.random.Generator:
    """A random generator that depends on the parts of `key` alone (counter-based, keyed by their SHA-256)."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], np.uint64)))


def noise_std(image: np.ndarray, noise_level: float, kind: str = "relative") -> float:
    """Standard deviation of the noise in image units: noise_level·std(image), or noise_level itself.

    Raises:
        ValueError: unknown `kind`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, not {kind!r}")
    return float(noise_level * np.std(image, ddof=1, dtype=np.float64) if kind == "relative" else noise_level)


def keyed_level(protocol: Level, seed: int, draw: int, image_id: str) -> float:
    """The noise level of one image: `protocol` itself if a number, drawn from U[low, high] if a pair."""
    if isinstance(protocol, (int, float)):
        return float(protocol)
    return float(generator(seed, draw, image_id, "level").uniform(*protocol))


def keyed_noise(
    image: np.ndarray, noise_level: float, seed: int, draw: int, image_id: str, kind: str = "relative"
) -> np.ndarray:
    """The noisy version z of `image` (float32, (H, W)) for this key."""
    n = generator(seed, draw, image_id).standard_normal(image.shape)
    return (image + noise_std(image, noise_level, kind) * n).astype(np.float32)


def estimate_noise_std(z: np.ndarray, where: np.ndarray | None = None) -> float:
    """Standard deviation of white noise in z (H, W), image units: median |d| / 0.6745.

    d = (z[i, j] − z[i + 1, j] − z[i, j + 1] + z[i + 1, j + 1]) / 2, the finest diagonal Haar differences of all pixels
    (Donoho, Johnstone 1994), in which an image without noise is small nearly everywhere. Fine texture counts as noise.
    One row or one column has no such difference: 0. `where` (H − 1, W − 1), boolean: the d that count (default: all).
    """
    z = np.asarray(z, np.float64)
    if min(z.shape) < 2:
        return 0.0
    size = np.abs(np.diff(np.diff(z, axis=0), axis=1) / 2)
    return float(MAD_TO_STD * np.median(size if where is None else size[where]))


def noise_stds(noisy: Mapping[str, np.ndarray], estimated: bool) -> np.ndarray:
    """Standard deviations of the noise, (n,), in a stack of noisy images: the true ones, or estimated from the images.

    Told apart by `estimated` and not by a method's name: of names this module, which trainings use, knows nothing.
    """
    return np.array([estimate_noise_std(z) for z in noisy["images"]]) if estimated else noisy["noise_std"]
