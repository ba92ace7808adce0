"""Whether paired differences are more than chance: the signed-rank test, its correction for many tests, effect size."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import pandas as pd


def signed_rank_p(differences: ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945) that `differences` (n,) lie symmetrically about 0.

    Zeros are left out, as Wilcoxon does; nothing but zeros, or a single value, says nothing: NaN.
    """
    from scipy import stats  # takes a second, and most who import this module make no test

    differences = np.asarray(differences, dtype=np.float64)
    changes = differences[differences != 0]
    return float(stats.wilcoxon(changes).pvalue) if len(changes) > 1 else float("nan")


def holm(p_values: ArrayLike) -> np.ndarray:
    """p (k,) corrected for k tests (Holm 1979): max_{j ≤ i} min(1, (k − j + 1) p₍ⱼ₎); NaN is no test and stays NaN."""
    p_values = np.asarray(p_values, dtype=np.float64)
    tests = np.flatnonzero(~np.isnan(p_values))
    order = tests[np.argsort(p_values[tests])]
    corrected = np.full_like(p_values, np.nan)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)))
    return corrected


def effect_size(differences: ArrayLike) -> float:
    """Mean of paired `differences` (n,) in units of their standard deviation (Cohen's d_z, ddof = 1)."""
    differences = np.asarray(differences, dtype=np.float64)
    std = differences.std(ddof=1) if len(differences) > 1 else float("nan")
    return float(differences.mean() / std) if std > 0 else float("nan")


def difference_by_chance(values: ArrayLike, confidence: float) -> float:
    """d so that two further values differ by less than d with probability `confidence`: t √2 s, t of n − 1 degrees.

    values (n,), n ≥ 2: independent repetitions, taken for normal, with standard deviation s (ddof = 1).
    """
    from scipy import stats

    values = np.asarray(values, dtype=np.float64)
    quantile = stats.t.ppf((1 + confidence) / 2, len(values) - 1)
    return float(quantile * np.sqrt(2) * values.std(ddof=1))


def rank_correlation(one: "pd.Series", other: "pd.Series") -> float:
    """Spearman's rank correlation of two Series, in [−1, 1]; NaN if one is constant."""
    return one.rank().corr(other.rank())
