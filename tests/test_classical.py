"""The classical rivals: what they gain, what they leave alone, their symmetries, the tuning of their strength."""

import functools
import importlib.util
import sys

import numpy as np
import pytest
import skimage.data
import skimage.restoration
import torch

from tvmap import classical
from tvmap.errors import StudyError
from tvmap.metrics import psnr
from tvmap.noise import keyed_noise
from tvmap.pdhg import pdhg
from tvmap.tgv import tgv

CLEAN = (skimage.data.camera()[64:128, 192:256] / 255).astype(np.float32)
STD = 0.1
NOISY = keyed_noise(CLEAN, STD, 42, 0, "camera", "absolute")
TYPICAL = {"tv-isotropic": 0.8, "tgv": 1.0, "nlm": 0.6, "wavelet": 1.0, "bm3d": 1.0}
NLM = {"patch": 5, "distance": 5}
OTHERS = {"tgv": {"second": 0.5}, "nlm": NLM}  # parameters beside the strength
GAIN = 4  # dB
QUICK = {"iterations": 64}

needs_bm3d = pytest.mark.skipif(not importlib.util.find_spec("bm3d"), reason="needs the package bm3d")
every_method = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_bm3d) if name == "bm3d" else name for name in classical.PARAMETERS]
)


@functools.cache
def typical_result(name):
    return typical(name)


def decibels(reference, image):
    return psnr(*(torch.from_numpy(a)[None, None] for a in (reference, image)), data_range=1).item()


def denoise(name, z, std, strength, solver=None):
    return classical.denoise(name, z, std, strength, solver, **OTHERS.get(name, {}))


def typical(name, z=NOISY, std=STD, solver=QUICK):
    return denoise(name, z, std, TYPICAL[name], solver)


@every_method
def test_it_improves_a_photograph_and_repeats_itself(name):
    parameters = {"strength": TYPICAL[name], **OTHERS.get(name, {})}
    assert all(value in classical.PARAMETERS[name][number] for number, value in parameters.items())
    before = NOISY.copy()
    denoised = typical_result(name)
    assert denoised.shape == CLEAN.shape and denoised.dtype == np.float32
    assert decibels(CLEAN, denoised) > decibels(CLEAN, NOISY) + GAIN
    assert np.array_equal(denoised, typical(name))
    assert np.array_equal(NOISY, before)


@every_method
def test_without_strength_or_noise_the_image_stays(name):
    for std, strength in ((0, 1), (STD, 0)):
        unchanged = denoise(name, NOISY, std, strength)
        assert np.array_equal(unchanged, NOISY) and unchanged is not NOISY
    # Non-local means averages all patches that differ by noise alone, however small its strength.
    std, strength = (1e-5, TYPICAL[name]) if name == "nlm" else (STD, 1e-3)
    np.testing.assert_allclose(denoise(name, NOISY, std, strength, QUICK), NOISY, atol=3e-3)


def test_nlm_averages_even_with_hardly_any_strength():
    assert decibels(CLEAN, classical.denoise("nlm", NOISY, STD, 1e-3, **NLM)) > decibels(CLEAN, NOISY) + 1


@every_method
def test_a_constant_image_stays_and_a_constant_is_carried_through(name):
    constant, atol = np.full((32, 40), 0.3, np.float32), 1e-3 if name == "bm3d" else 1e-5  # its transforms are rounded
    np.testing.assert_allclose(typical(name, constant), constant, atol=atol)
    np.testing.assert_allclose(typical(name, NOISY + np.float32(0.5)), typical_result(name) + 0.5, atol=10 * atol)


@every_method
def test_one_strength_for_all_scales(name):
    """Half the image with half the noise gives half the result: strength is relative to the noise."""
    np.testing.assert_allclose(typical(name, NOISY / 2, STD / 2), typical_result(name) / 2, atol=1e-4)


@pytest.mark.parametrize(
    "name,transform",
    [
        ("tv-isotropic", np.transpose),  # forward differences: no symmetry under flips
        ("tgv", np.transpose),
        ("tgv", lambda a: np.roll(a, (5, 9), (0, 1))),
        ("tv-isotropic", lambda a: np.roll(a, (5, 9), (0, 1))),  # periodic
        ("nlm", np.transpose),  # none under flips either: scikit-image's fast patches lie off the centre
        ("wavelet", np.transpose),
    ],
)
def test_symmetries(name, transform):
    np.testing.assert_allclose(typical(name, transform(NOISY)), transform(typical_result(name)), atol=1e-5)


def test_isotropic_tv_is_the_reference_and_passes_options_on():
    z = torch.from_numpy(NOISY)[None, None]
    expected, _ = pdhg(z, 0.8 * STD, norm="isotropic")
    np.testing.assert_allclose(typical("tv-isotropic", solver=None), expected[0, 0].numpy(), atol=1e-6)
    options = {"iterations": 20, "boundary": "neumann", "norm": "anisotropic", "dual_start": "image"}
    expected, _ = pdhg(z, 0.8 * STD, **options | {"norm": "isotropic"})
    np.testing.assert_allclose(typical("tv-isotropic", solver=options), expected[0, 0].numpy(), atol=1e-6)


def test_tgv_is_the_reference_and_passes_on_the_options_it_has():
    z, weight = torch.from_numpy(NOISY)[None, None], STD * torch.tensor([0.8, 0.25])
    expected = tgv(z, weight)[0][0, 0].numpy()
    np.testing.assert_allclose(classical.denoise("tgv", NOISY, STD, 0.8, second=0.25), expected, atol=1e-6)
    options = {
        "iterations": 20,
        "boundary": "neumann",
        "norm": "isotropic",
        "dual_start": "image",
        "lipschitz": "sqrt13",
    }
    expected = tgv(z, weight, iterations=20, boundary="neumann")[0][0, 0].numpy()
    np.testing.assert_allclose(classical.denoise("tgv", NOISY, STD, 0.8, options, second=0.25), expected, atol=1e-6)


def test_tgv_leaves_a_slope_that_tv_flattens():
    slope = np.tile(np.linspace(0, 1, 48, dtype=np.float32), (48, 1))
    noisy = keyed_noise(slope, STD, 42, 0, "slope", "absolute")
    options = {"iterations": 400, "boundary": "neumann"}
    by_tgv, by_tv = (
        max(decibels(slope, denoise(name, noisy, STD, strength, options)) for strength in (0.8, 1.25, 2, 4))
        for name in ("tgv", "tv-isotropic")
    )
    assert by_tgv > by_tv + 2


def test_isotropic_tv_of_two_constant_halves():
    """Periodic halves of 8 × 4 pixels approach each other by λ · two edges of 8 / 32 pixels on either side."""
    z = np.zeros((8, 8), np.float32)
    z[:, 4:] = 1
    shift = 0.2 * 16 / 32
    x = classical.denoise("tv-isotropic", z, 0.1, 2, {"iterations": 1500})
    np.testing.assert_allclose(x, shift + (1 - 2 * shift) * z, atol=1e-5)


@pytest.mark.parametrize("name", ["tv-isotropic", "tgv", "nlm", "wavelet"])
def test_the_best_strength_lies_inside_and_is_best(name):
    levels = np.array([0.06, 0.12])
    clean = np.stack([CLEAN, (skimage.data.coins()[90:154, 40:104] / 255).astype(np.float32)])
    noisy = np.stack([keyed_noise(x, s, 42, 0, f"{s}", "absolute") for x, s in zip(clean, levels, strict=True)])
    tuning = classical.tune(name, clean, noisy, levels, solver=QUICK)
    assert tuning.mean_psnr.shape == (len(tuning.candidates),)
    for number, values in classical.PARAMETERS[name].items():
        assert tuple(dict.fromkeys(candidate[number] for candidate in tuning.candidates)) == values
    assert tuning.mean_psnr[tuning.best] == tuning.mean_psnr.max() and not tuning.on_edge
    pairs = zip(clean, noisy, levels, strict=True)
    expected = [decibels(x, classical.denoise(name, z, s, solver=QUICK, **tuning.chosen)) for x, z, s in pairs]
    assert tuning.mean_psnr[tuning.best] == pytest.approx(np.mean(expected))


def test_each_pair_of_factors_of_tgv_is_tried():
    grid = {"strength": (0.8, 1.0), "second": (0.25, 0.5)}
    tuning = classical.tune("tgv", CLEAN[None], NOISY[None], STD, grid, QUICK)
    assert [tuple(candidate.values()) for candidate in tuning.candidates] == [
        *((0.8, 0.25), (0.8, 0.5)),
        *((1.0, 0.25), (1.0, 0.5)),
    ]
    expected = [
        decibels(CLEAN, classical.denoise("tgv", NOISY, STD, strength, QUICK, second=second))
        for strength in grid["strength"]
        for second in grid["second"]
    ]
    assert tuning.mean_psnr.tolist() == pytest.approx(expected)


def test_the_edge_of_the_strengths_is_said():
    tuning = classical.tune("wavelet", CLEAN[None], NOISY[None], STD, {"strength": (0.0, 0.1, 0.6)})
    assert (tuning.chosen, tuning.best, tuning.on_edge) == ({"strength": 0.6}, 2, ["strength"])
    assert tuning.mean_psnr[0] == pytest.approx(decibels(CLEAN, NOISY))
    assert classical.tune("wavelet", CLEAN[None], NOISY[None], STD, {"strength": (0.1, 1.0, 4.0)}).on_edge == []


def test_a_window_of_one_pixel_has_none_below_it():
    grid = {"strength": (0.1, 1.0, 4.0), "patch": (5,), "distance": (1, 3, 8)}
    far = classical.tune("nlm", CLEAN[None], NOISY[None], STD, grid | {"distance": (3, 8)})
    assert far.chosen["distance"] in (3, 8) and "distance" in far.on_edge
    texture = np.random.default_rng(0).random((1, 48, 48), np.float32)  # no two patches are alike
    noisy = keyed_noise(texture[0], STD, 42, 0, "texture", "absolute")[None]
    near = classical.tune("nlm", texture, noisy, STD, grid)
    assert near.chosen["distance"] == 1 and "distance" not in near.on_edge


def test_non_local_means_has_patches_and_windows_of_the_sizes_it_is_given():
    for patch, distance in ((3, 2), (7, 5)):
        options = {"patch_size": patch, "patch_distance": distance, "h": 0.8 * STD, "sigma": STD}
        expected = skimage.restoration.denoise_nl_means(NOISY.astype(float), fast_mode=True, **options)
        found = classical.denoise("nlm", NOISY, STD, 0.8, patch=patch, distance=distance)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_edge_beyond_which_nothing_changes_is_none(monkeypatch):
    """As with TGV's strength: from some value on it has no influence."""
    monkeypatch.setitem(classical._METHODS, "wavelet", lambda z, noise_std, strength: z * 0 + min(strength, 1.0))
    flat = np.ones_like(CLEAN)[None]
    for values, expected in (((0.5, 1.0, 2.0), []), ((0.25, 0.5, 0.9), ["strength"]), ((0.5,), ["strength"])):
        assert classical.tune("wavelet", flat + 0.1, flat, STD, {"strength": values}).on_edge == expected


def test_the_strength_of_tgv_has_no_influence_from_some_value_on():
    z, solver = NOISY, {"iterations": 300}
    x = {strength: classical.denoise("tgv", z, STD, strength, solver, second=0.26) for strength in (1.0, 2.0, 4.0)}
    np.testing.assert_allclose(x[2.0], x[4.0], atol=2e-3)
    assert np.abs(x[1.0] - x[2.0]).max() > 5e-3


def test_missing_bm3d_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(StudyError, match=r"envs/requirements-bm3d.txt .*envs/baselines.yaml.*non-commercial"):
        typical("bm3d")


def test_wrong_arguments_say_what_to_do():
    with pytest.raises(StudyError, match="'median' is unknown; choose one of tv-isotropic, tgv, nlm, wavelet, bm3d"):
        classical.denoise("median", NOISY, STD, 1)
    with pytest.raises(StudyError, match="'median' is unknown"):
        classical.tune("median", CLEAN[None], NOISY[None], STD)
    for std, strength, wrong in ((-1, 1, "noise_std -1"), (STD, -1, "strength -1"), (float("nan"), 1, "noise_std nan")):
        with pytest.raises(StudyError, match=f"wavelet: {wrong} must be a number ≥ 0"):
            classical.denoise("wavelet", NOISY, std, strength)
    with pytest.raises(StudyError, match="tgv: second -1 must be a number ≥ 0"):
        classical.denoise("tgv", NOISY, STD, 1, second=-1)
    with pytest.raises(StudyError, match="tgv: takes strength, second, not strength; mend"):
        classical.denoise("tgv", NOISY, STD, 1)
    with pytest.raises(StudyError, match="nlm: takes strength, patch, distance, not strength, second; mend"):
        classical.denoise("nlm", NOISY, STD, 1, second=0.5)
    for patch, distance, wrong in ((0, 3, "patch 0"), (2.5, 3, "patch 2.5"), (5, 1000, "distance 1000")):
        with pytest.raises(StudyError, match=f"nlm: {wrong} must be a whole number of pixels, 1 to 999"):
            classical.denoise("nlm", NOISY, STD, 1, patch=patch, distance=distance)
