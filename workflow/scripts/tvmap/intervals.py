"""Uncertainty of a mean over images, or a ratio of two: a bootstrap of patients, whose images are not independent."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .noise import generator


def bootstrap_interval(
    values: np.ndarray, clusters: ArrayLike, *, resamples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """(low, high): percentile interval of the mean of `values` (n,), resampling whole `clusters` (n,) with replacement.

    Each resample draws as many clusters as there are and takes the mean over all their values (Davison, Hinkley 1997).
    One cluster alone says nothing about others: (NaN, NaN).
    """
    options: dict[str, Any] = {"resamples": resamples, "confidence": confidence, "seed": seed}
    return bootstrap_ratio(values, np.ones(len(values)), clusters, **options)


def bootstrap_ratio(
    values: np.ndarray, others: np.ndarray, clusters: ArrayLike, *, resamples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """The same of the ratio of two means, of `values` (n,) and of `others` (n,), over the same resamples."""
    _, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    if index.max() == 0:
        return float("nan"), float("nan")
    sums, divisors = np.bincount(index, weights=values), np.bincount(index, weights=others)
    drawn = generator(seed, "bootstrap").integers(len(sums), size=(resamples, len(sums)))
    ratios = sums[drawn].sum(axis=1) / divisors[drawn].sum(axis=1)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
