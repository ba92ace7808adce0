"""Uncertainty of a mean over images: a bootstrap of whole patients, whose images are not independent."""

import numpy as np

from .noise import generator


def bootstrap_interval(values, clusters, *, resamples, confidence, seed):
    """(low, high): percentile interval of the mean of `values` (n,), resampling whole `clusters` (n,) with replacement.

    Each resample draws as many clusters as there are and takes the mean over all their values (Davison, Hinkley 1997).
    One cluster alone says nothing about others: (NaN, NaN).
    """
    _, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    if index.max() == 0:
        return float("nan"), float("nan")
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    drawn = generator(seed, "bootstrap").integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
