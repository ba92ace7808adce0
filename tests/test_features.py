"""Features of the noisy image: units and symmetries; the regression of λ on images and patients it has not seen."""

import numpy as np
import pytest
import skimage.data
import skimage.util

from tvmap import features
from tvmap.errors import StudyError
from tvmap.features import FEATURES
from tvmap.noise import estimate_noise_std, keyed_noise, noise_std, noise_stds

PHOTO = skimage.util.img_as_float32(skimage.data.camera())[128:256, 160:288]
NOISY = keyed_noise(PHOTO, 0.5, 0, 0, "camera")


def others(*names):
    return [name not in names for name in FEATURES]


def test_one_number_for_each_name():
    assert len(set(FEATURES)) == len(FEATURES)
    assert features.features(NOISY).shape == (len(FEATURES),)
    assert features.features(NOISY).dtype == np.float64


def test_values_of_noise_alone():
    noise = 3 * np.random.default_rng(0).standard_normal((512, 512))
    values = dict(zip(FEATURES, features.features(noise), strict=True))
    assert values.pop("log_noise_std") == pytest.approx(np.log(3), abs=0.01)
    assert values.pop("variation") == pytest.approx(np.log(4 / np.sqrt(np.pi)), abs=0.01)
    local = [values.pop(f"local_std_{percent}") for percent in features.QUANTILES]
    assert local == sorted(local)
    assert values == pytest.approx(dict.fromkeys(values, 0), abs=0.03)


@pytest.mark.parametrize("value", [0.0, 0.5, 1e3])
def test_a_constant_image_has_finite_features(value):
    assert np.isfinite(features.features(np.full((16, 33), value, np.float32))).all()


@pytest.mark.parametrize("shape", [(64, 1), (1, 64), (15, 64), (64,), (1, 64, 64)])
def test_too_small_images_and_stacks_are_refused(shape):
    with pytest.raises(StudyError, match="at least 16 pixels a side"):
        features.features(np.zeros(shape))


def test_nan_is_refused():
    with pytest.raises(StudyError, match="NaN"):
        features.features(np.where(np.arange(32) == 5, np.nan, np.zeros((32, 32))))


@pytest.mark.parametrize("constant", [-2.0, 0.3])
def test_a_constant_changes_the_brightness_alone(constant):
    z = NOISY.astype(np.float64)
    same = others("brightness")
    np.testing.assert_allclose(features.features(z + constant)[same], features.features(z)[same], atol=1e-9)
    assert features.features(z + constant)[-1] != pytest.approx(features.features(z)[-1], abs=0.01)


@pytest.mark.parametrize("factor", [0.01, 7.0])
def test_a_factor_shifts_the_noise_alone(factor):
    shift = features.features(factor * NOISY.astype(np.float64)) - features.features(NOISY)
    np.testing.assert_allclose(shift, [np.log(factor)] + [0] * (len(FEATURES) - 1), atol=1e-9)


@pytest.mark.parametrize("flipped", [NOISY[::-1], NOISY[:, ::-1]])
def test_flips_change_nothing(flipped):
    np.testing.assert_allclose(features.features(flipped), features.features(NOISY), atol=1e-9)


def test_transposition_swaps_the_directions():
    names = [{"vertical_mad": "horizontal_mad", "horizontal_mad": "vertical_mad"}.get(name, name) for name in FEATURES]
    expected = dict(zip(names, features.features(NOISY), strict=True))
    assert dict(zip(FEATURES, features.features(NOISY.T), strict=True)) == pytest.approx(expected, abs=1e-9)
    stripes = dict(zip(FEATURES, features.features(NOISY + np.arange(128)[:, None] % 2), strict=True))
    assert stripes["vertical_mad"] > stripes["horizontal_mad"] + 0.5


@pytest.mark.parametrize("photo", ["camera", "coins", "moon"])
@pytest.mark.parametrize("level", [0.5, 1.0])
def test_noise_of_a_photograph_is_estimated_within_a_tenth(photo, level):
    clean = skimage.util.img_as_float32(getattr(skimage.data, photo)())[:256, :256]
    noisy = keyed_noise(clean, level, 0, 0, photo)
    assert estimate_noise_std(noisy) == pytest.approx(noise_std(clean, level), rel=0.1)


def test_noise_is_the_true_one_or_estimated_image_by_image():
    stack = {"images": np.stack([NOISY, 2 * NOISY]), "noise_std": np.array([0.1, 0.7])}
    assert noise_stds(stack, estimated=False) is stack["noise_std"]
    expected = [estimate_noise_std(z) for z in stack["images"]]
    assert noise_stds(stack, estimated=True).tolist() == expected and expected[1] == pytest.approx(2 * expected[0])


def synthetic(patients, images):
    """Features and noise of images of rectangles, and their patients."""
    random, rows, stds, groups = np.random.default_rng(patients[0]), [], [], []
    for patient in patients:
        for _ in range(images):
            clean = np.kron(random.random((4, 4)), np.ones((16, 16)))
            stds.append(random.uniform(0.02, 0.3))
            rows.append(features.features(clean + stds[-1] * random.standard_normal(clean.shape)))
            groups.append(f"patient{patient}")
    return np.array(rows), np.array(stds), groups


def test_a_known_rule_is_recovered_on_patients_not_seen():
    rows, stds, groups = synthetic(range(10), 4)
    regression = features.fit(rows, 0.6 * stds, groups)
    assert regression.error == min(regression.errors.values()) < 0.1
    new_rows, new_stds, _ = synthetic(range(100, 110), 2)
    assert np.abs(features.predict(regression, new_rows) / (0.6 * new_stds) - 1).max() < 0.1
    again = features.fit(rows, 0.6 * stds, groups)
    assert again.errors == regression.errors
    assert features.predict(again, new_rows).tobytes() == features.predict(regression, new_rows).tobytes()


def test_no_patient_is_split_by_the_folds():
    """The features name the patient, and λ depends on nothing else: images of one seen would tell all of another's."""
    random = np.random.default_rng(0)
    patient = np.repeat(np.arange(12), 4)
    log_weights, rows = random.standard_normal(12), random.standard_normal((12, len(FEATURES)))
    rows, weights = rows[patient] + 1e-3 * random.standard_normal((48, len(FEATURES))), np.exp(log_weights[patient])
    order = random.permutation(48)
    errors = features.fit(rows[order], weights[order], patient[order]).errors
    assert min(errors.values()) > 0.7 * log_weights.std()
    errors = features.fit(rows[order], weights[order], np.arange(48)).errors  # what the test would see otherwise
    assert min(errors.values()) < 0.4 * log_weights.std()


def test_a_best_weight_of_0_and_two_patients_will_do():
    rows, stds, groups = synthetic(range(2), 6)
    stds[3] = 0
    predicted = features.predict(features.fit(rows, stds, groups), rows)
    assert np.isfinite(predicted).all() and (predicted >= 0).all()


def test_one_patient_bad_weights_and_wrong_shapes_are_refused():
    rows, stds, groups = synthetic(range(2), 2)
    with pytest.raises(StudyError, match="one patient"):
        features.fit(rows, stds, ["a"] * 4)
    with pytest.raises(StudyError, match="negative"):
        features.fit(rows, -stds, groups)
    with pytest.raises(StudyError, match="shapes"):
        features.fit(rows, stds[:3], groups)
