"""The blind classical rival of the map: features of the noisy image alone, and a regression of its best scalar λ.

The solution of (16) for c·z and c·λ is c times that for z and λ, so the best λ has the unit of the image. One feature
carries that unit, the logarithm of the noise's standard deviation; all others are ratios, which c > 0 leaves alone.
Images are NumPy arrays (H, W).
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .errors import StudyError
from .noise import MAD_TO_STD, estimate_noise_std

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

BLOCK = 8  # pixels, side of the blocks of the local standard deviations
QUANTILES = (10, 25, 50, 75, 90)  # percent, of the local standard deviations
OCTAVES = 4
MIN_SIDE = 2**OCTAVES
SMALLEST = 1e-6  # image units; below it a standard deviation counts as this, so that logarithms stay finite
FLOOR = 1e-3  # a smaller best λ counts as this, so that its logarithm stays finite
FOLDS = 5

FEATURES = (
    "log_noise_std",  # see `estimate_noise_std`; the only one that c·z shifts, by log c
    # Logarithms of quotients by `estimate_noise_std`:
    "std",
    "vertical_mad",  # of the forward differences, as a standard deviation over √2: 0 for noise alone
    "horizontal_mad",
    "variation",  # anisotropic total variation a pixel
    *(f"local_std_{percent}" for percent in QUANTILES),  # of blocks of 8×8 pixels
    *(f"octave_{k}" for k in range(1, OCTAVES + 1)),  # details of a Haar pyramid, root mean square: 0 for noise alone
    # Mean over root mean square, within [−1, 1]; the only one that z + c changes.
    "brightness",
)
LOG_NOISE = FEATURES.index("log_noise_std")


def features(z: np.ndarray) -> np.ndarray:
    """float64 vector of the FEATURES of z, (H, W), at least 16 pixels a side.

    Flips leave them unchanged if both sides are multiples of 16 (what is left over lies below and to the right and
    counts in neither blocks nor octaves); transposition swaps vertical and horizontal.

    Raises:
        StudyError: an image that is too small, not (H, W), or not finite.
    """
    z = np.asarray(z, np.float64)
    if z.ndim != 2 or min(z.shape) < MIN_SIDE:
        raise StudyError(f"features: an image of shape {z.shape}; give (H, W), at least {MIN_SIDE} pixels a side")
    if not np.isfinite(z).all():
        raise StudyError("features: the noisy image has values that are NaN or infinite; check it and its noise")
    noise, mean = estimate_noise_std(z), z.mean()
    # Sums of squares of the centred image lose nothing to its brightness.
    centred = z - mean
    differences = [np.diff(z, axis=axis) for axis in (0, 1)]
    spreads = [
        np.sqrt(np.mean(centred**2)),
        *(MAD_TO_STD / np.sqrt(2) * np.median(np.abs(d - np.median(d))) for d in differences),
        sum(np.mean(np.abs(d)) for d in differences),
        *np.percentile(_local_std(centred), QUANTILES),
        *_octaves(centred),
    ]
    log_noise = _log(noise)
    root_mean_square = np.hypot(mean, spreads[0])
    brightness = mean / root_mean_square if root_mean_square else 0.0
    return np.array([log_noise, *(_log(spread) - log_noise for spread in spreads), brightness])


def _log(std: float) -> float:
    return np.log(max(std, SMALLEST))


def _local_std(z: np.ndarray) -> np.ndarray:
    """Population standard deviation of each whole block of 8×8 pixels."""
    rows, columns = (side // BLOCK for side in z.shape)
    blocks = z[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    return blocks.std(axis=(1, 3))


def _octaves(z: np.ndarray) -> list[float]:
    """Root mean square of the three Haar details together, for each octave from the finest."""
    energies = []
    for _ in range(OCTAVES):
        rows, columns = (side // 2 for side in z.shape)
        a, b, c, d = (z[i : 2 * rows : 2, j : 2 * columns : 2] for i in (0, 1) for j in (0, 1))
        details = (a + b - c - d) / 2, (a - b + c - d) / 2, (a - b - c + d) / 2
        energies.append(np.sqrt(np.mean(np.square(details))))
        z = (a + b + c + d) / 2  # orthonormal: white noise keeps its standard deviation
    return energies


class Regression(NamedTuple):
    """A fitted scikit-learn model of log λ − log_noise_std, its name, and the cross-validated error of every candidate.

    errors: {name: root mean square of log λ̂ − log λ over images of patients held out}; 0.1 is about 10 % of λ. The
    smallest, the chosen model's, flatters it a little, as any choice does.
    """

    model: "BaseEstimator"
    name: str
    errors: dict[str, float]

    @property
    def error(self) -> float:
        """The cross-validated error of the chosen model."""
        return self.errors[self.name]


def candidates() -> dict[str, "BaseEstimator"]:
    """{name: unfitted scikit-learn model}, each with a fixed random state."""
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Fixed penalties in place of RidgeCV, whose own leave-one-out would leave a patient's other images in.
    penalties = (1.0, 10.0, 100.0, 1000.0)
    models = {f"ridge, penalty {a:g}": make_pipeline(StandardScaler(), Ridge(alpha=a)) for a in penalties}
    models["random forest"] = RandomForestRegressor(100, min_samples_leaf=2, max_features=0.5, random_state=0)
    models["gradient boosting"] = GradientBoostingRegressor(
        n_estimators=100, learning_rate=0.05, max_depth=3, subsample=0.7, random_state=0
    )
    return models


def fit(features: ArrayLike, best_weights: ArrayLike, groups: ArrayLike) -> Regression:
    """`Regression` of λ: the candidate with the smallest grouped cross-validated error, fitted to all images.

    The models predict log λ − log_noise_std, what is left of λ when its unit is gone: a model that has learnt nothing
    says λ = constant·noise, not λ = constant.

    features: (n, len(FEATURES)); best_weights: (n,), best scalar λ ≥ 0 of each image; groups: (n,), its patient. Five
    folds, fewer with fewer patients; no patient's images lie in two.

    Raises:
        StudyError: shapes that do not fit, a best λ that is no number ≥ 0, or a single patient.
    """
    from sklearn.base import clone
    from sklearn.model_selection import GroupKFold, cross_val_predict

    features, best_weights = np.asarray(features, np.float64), np.asarray(best_weights, np.float64)
    groups = np.unique(groups, return_inverse=True)[1]
    if features.ndim != 2 or not len(features) == len(best_weights) == len(groups):
        shapes = features.shape, best_weights.shape, groups.shape
        raise StudyError(f"regression of λ: shapes {shapes}; give (n, k) features, n best λ and n patients")
    if not np.isfinite(best_weights).all() or best_weights.min() < 0:
        raise StudyError("regression of λ: a best λ is negative, NaN or infinite; run the grid search anew")
    n_groups = groups.max() + 1
    if n_groups < 2:
        raise StudyError("regression of λ: all images are of one patient; cross-validation needs two or more")
    target = np.log(np.maximum(best_weights, FLOOR)) - features[:, LOG_NOISE]
    models, errors = candidates(), {}
    for name, model in models.items():
        folds = GroupKFold(min(FOLDS, n_groups))
        predicted = cross_val_predict(clone(model), features, target, groups=groups, cv=folds)
        errors[name] = float(np.sqrt(np.mean((predicted - target) ** 2)))
    name = min(errors, key=errors.__getitem__)
    return Regression(models[name].fit(features, target), name, errors)


def predict(regression: Regression, features: ArrayLike) -> np.ndarray:
    """λ > 0 for each row of `features`, (n, len(FEATURES)) → (n,)."""
    features = np.asarray(features, np.float64)
    return np.exp(features[:, LOG_NOISE] + regression.model.predict(features))
