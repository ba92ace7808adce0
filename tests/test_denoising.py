"""The plain solver for NumPy and torch, and denoising by a network, by SURE, to a gap."""

import json

import numpy as np
import pytest
import torch
from skimage import data
from skimage.restoration import denoise_tv_chambolle
from skimage.util import img_as_float32

from tvmap import denoising, machine, metrics, network
from tvmap.errors import StudyError
from tvmap.noise import estimate_noise_std
from tvmap.parameter_choice import choose_by_sure
from tvmap.pdhg import objective, pdhg
from tvmap.solver import solve_certified
from tvmap.tgv import tgv

RANDOM = np.random.default_rng(5)
CLEAN = np.kron(RANDOM.uniform(0, 1, (4, 5)), np.ones((8, 8)))
NOISY = CLEAN + 0.1 * RANDOM.normal(size=CLEAN.shape)
MAP = RANDOM.uniform(0.02, 0.2, CLEAN.shape)


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
@pytest.mark.parametrize("norm", ["anisotropic", "isotropic"])
@pytest.mark.parametrize("weight", [0.1, MAP], ids=["number", "map"])
def test_it_is_the_algorithm_of_the_reference(boundary, norm, weight):
    found = denoising.denoise_tv(NOISY, weight, iterations=30, boundary=boundary, norm=norm)
    z, weight = torch.from_numpy(NOISY)[None, None], torch.as_tensor(weight, dtype=torch.float64)
    weight = weight[None, None] if weight.ndim else weight
    expected = pdhg(z, weight, 30, boundary, norm)[0]
    np.testing.assert_allclose(found, expected[0, 0].numpy(), rtol=0, atol=1e-13 if norm == "anisotropic" else 1e-8)


def test_another_library_agrees_at_convergence():
    found = denoising.denoise_tv(NOISY, 0.1, gap=1e-6, boundary="neumann", norm="isotropic")
    expected = denoise_tv_chambolle(NOISY, weight=0.1, eps=0, max_num_iter=30_000)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_one_map_two_maps_and_leading_axes():
    one = denoising.denoise_tv(NOISY, MAP)
    np.testing.assert_array_equal(denoising.denoise_tv(NOISY, np.stack([MAP, MAP])), one)
    stack = np.stack([NOISY, NOISY[::-1]]).reshape(2, 1, *NOISY.shape)
    found = denoising.denoise_tv(stack, MAP)
    assert found.shape == stack.shape
    np.testing.assert_array_equal(found[0, 0], one)
    each = np.stack([MAP, 2 * MAP]).reshape(stack.shape)
    np.testing.assert_array_equal(denoising.denoise_tv(stack, each)[1, 0], denoising.denoise_tv(NOISY[::-1], 2 * MAP))
    two = np.stack([MAP, 2 * MAP])
    expected = denoising.denoise_tv(NOISY, two)
    for image, maps in ((NOISY[None, None], two[None]), (NOISY[None], two)):  # as a network predicts them
        np.testing.assert_array_equal(denoising.denoise_tv(image, maps).reshape(NOISY.shape), expected)


def test_arrays_of_every_layout_give_the_same():
    expected = denoising.denoise_tv(NOISY, MAP)
    frozen = NOISY.copy()
    frozen.flags.writeable = False
    for image in (NOISY.astype(">f8"), np.asfortranarray(NOISY), frozen, NOISY.tolist()):
        np.testing.assert_array_equal(denoising.denoise_tv(image, MAP), expected)
    tensor = denoising.denoise_tv(NOISY, torch.tensor(MAP, requires_grad=True))
    assert tensor.requires_grad and np.allclose(tensor.detach().numpy(), expected)


def test_kind_and_precision_are_those_of_the_image():
    assert denoising.denoise_tv(NOISY, 0.1).dtype == np.float64
    assert denoising.denoise_tv(NOISY.astype(np.float32), 0.1).dtype == np.float32
    assert denoising.denoise_tv((255 * CLEAN).astype(np.uint8), 9).dtype == np.float32
    assert denoising.denoise_tv(NOISY[:, ::-1], 0.1).shape == NOISY.shape
    tensor = denoising.denoise_tv(torch.from_numpy(NOISY), 0.1)
    np.testing.assert_array_equal(tensor.numpy(), denoising.denoise_tv(NOISY, 0.1))
    tensor += 1  # an ordinary tensor


def test_it_is_differentiable_in_image_and_weight():
    z = torch.tensor(NOISY[:6, :7], requires_grad=True)
    weight = torch.tensor(MAP[:6, :7], requires_grad=True)
    assert torch.autograd.gradcheck(lambda *both: denoising.denoise_tv(*both, iterations=5), (z, weight), atol=1e-6)


def test_tgv_takes_a_pair_or_two_maps():
    z = torch.from_numpy(NOISY)[None, None]
    expected = tgv(z, (0.1, 0.2), 20)[0][0, 0].numpy()
    found = denoising.denoise_tv(NOISY, (0.1, 0.2), iterations=20, penalty="tgv")
    np.testing.assert_allclose(found, expected, atol=1e-13)
    maps = np.stack([np.full(NOISY.shape, 0.1), np.full(NOISY.shape, 0.2)])
    np.testing.assert_array_equal(denoising.denoise_tv(NOISY, maps, iterations=20, penalty="tgv"), found)


def test_a_gap_is_kept():
    z = torch.from_numpy(NOISY)[None, None]
    best = objective(solve_certified(z, torch.tensor(0.1, dtype=z.dtype), iterations=20_000).x, z, 0.1).item()
    for gap in (1e-2, 1e-4, 1e-8):
        x = torch.from_numpy(denoising.denoise_tv(NOISY, 0.1, gap=gap))[None, None]
        assert 0 <= objective(x, z, 0.1).item() - best <= gap * best * (1 + 1e-6)
    result = denoising.by_weight(NOISY[None].astype(np.float32), [0.1], gap=1e-4)
    assert result.gap.max() <= 1e-4 and result.iterations in (64, 128, 256, 512, 1024)


@pytest.mark.parametrize(
    "options", [{"iterations": 1}, {"iterations": 20, "boundary": "neumann"}, {"gap": 1e-3}, {"gap": 1e-8}], ids=str
)
def test_the_course_of_the_gap_ends_at_the_gap_that_was_found(options):
    z = NOISY[None].astype(np.float32)
    found = denoising.by_weight(z, [0.1], **options)
    counts, gaps = denoising.convergence(z, found)
    powers = [2**k for k in range(20) if 2**k < found.iterations]
    assert counts == [*powers, found.iterations] and gaps[-1] == found.gap.item()
    first = denoising.by_weight(z, [0.1], **options | {"iterations": 1, "gap": None})
    assert gaps[0] == pytest.approx(first.gap.item(), rel=1e-5)
    at = found.x.dtype
    for count, gap in zip([*powers, found.iterations], gaps, strict=True):
        here = denoising.by_weight(z.astype(at), [0.1], **options | {"iterations": count, "gap": None})
        assert gap == here.gap.item()
    if len(powers) > 3:  # the worst of three channels, with its own λ
        three = np.concatenate([z, z, z])
        found = denoising.by_weight(three, [0.01, 0.3, 0.1], **options)
        assert denoising.convergence(three, found)[1][-1] == found.gap.max() == found.gap[1] > found.gap[2]


def test_a_gap_that_float32_cannot_carry_is_reached_in_float64():
    bright = (NOISY + 30_000).astype(np.float32)
    x = denoising.denoise_tv(bright, 0.1, gap=2e-5)
    assert x.dtype == np.float32
    exact = denoising.denoise_tv(bright.astype(np.float64) - 30_000, 0.1, gap=1e-8)
    primal = 0.5 * np.sum((exact - bright + 30_000) ** 2) + 0.1 * sum(
        np.abs(exact - np.roll(exact, -1, axis)).sum() for axis in (0, 1)
    )
    assert 0.5 * np.sum((x.astype(np.float64) - 30_000 - exact) ** 2) <= 2e-5 * primal + 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NOISY[0], 0.1), "H, W"),
        ((NOISY * 1j, 0.1), "real numbers"),
        (([["a"]], 0.1), "real numbers"),
        ((NOISY, "a"), "real numbers"),
        ((NOISY, np.stack([MAP] * 3)), "one map or two"),
        ((np.stack([NOISY] * 3), np.stack([MAP] * 2)), "leading axes"),
        ((NOISY, torch.tensor(-0.1, requires_grad=True)), "negative"),
        ((NOISY, MAP[:-1]), "must agree"),
        ((NOISY, [0.1, 0.2, 0.3]), "a number"),
        ((NOISY, -0.1), "negative"),
        ((NOISY, np.nan), "NaN"),
        ((NOISY + np.nan, 0.1), "NaN"),
    ],
)
def test_what_makes_no_sense_is_said(arguments, message):
    with pytest.raises(StudyError, match=message):
        denoising.denoise_tv(*arguments)


def test_options_that_make_no_sense_are_said():
    for options, message in (
        ({"gap": 0}, "gap: 0"),
        ({"iterations": 0}, "at least 1"),
        ({"iterations": 2.5}, "whole number"),
        ({"gap": 1e-30}, "not reached"),
        ({"penalty": "tgv"}, "two weights"),
        ({"penalty": "tgv", "norm": "isotropic"}, "belongs to TV"),
    ):
        with pytest.raises(StudyError, match=message):
            denoising.denoise_tv(NOISY[:4, :4], 0.1, **options)


@pytest.fixture(scope="module")
def reference():
    return denoising.load_trained()


def test_the_reference_network_beats_the_best_number_on_a_smooth_photograph(reference):
    clean = (data.chelsea()[:256, :256].mean(axis=-1) / 255).astype(np.float32)
    noisy = (clean + 0.3 * clean.std() * np.random.default_rng(1).normal(size=clean.shape)).astype(np.float32)
    trained, levels, _ = reference
    assert levels == (0.1, 0.5)
    found = denoising.by_network(noisy[None], trained)
    level = denoising.noise_levels(noisy[None])
    assert abs(level[0] - 0.3) < 0.05 and not denoising.outside_training(level, levels)

    def psnr(x):
        return metrics.psnr(torch.from_numpy(clean)[None, None], torch.from_numpy(x)[None, None], data_range=1).item()

    best = max(psnr(denoising.denoise_tv(noisy, weight)) for weight in np.geomspace(0.01, 0.1, 15))
    assert psnr(found.x[0]) > best + 0.2
    by_sure = denoising.by_sure(noisy[None])
    assert best - 0.3 < psnr(by_sure.x[0]) <= best + 0.05


def test_colour_is_denoised_channel_by_channel(reference):
    noisy = np.stack([NOISY, 0.5 * NOISY, NOISY.T.reshape(NOISY.shape)]).astype(np.float32)
    found = denoising.by_network(noisy, reference[0])
    assert found.x.shape == noisy.shape and found.weight.shape == (3, 2, *NOISY.shape)
    for k in range(3):
        np.testing.assert_array_equal(found.x[k], denoising.by_network(noisy[k : k + 1], reference[0]).x[0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 5), (17, 31), (100, 9)])
def test_every_size_can_be_denoised(reference, shape):
    z = RANDOM.uniform(0, 1, (1, *shape)).astype(np.float32)
    for found in (denoising.by_network(z, reference[0]), denoising.by_weight(z, [0.1])):
        assert found.x.shape == z.shape and np.isfinite(found.x).all() and np.isfinite(found.gap).all()
    assert found.gap.max() < 1e-3


def test_too_little_memory_is_said_before_the_system_ends_it(reference, monkeypatch, caplog):
    channels = NOISY[None].astype(np.float32)
    monkeypatch.setattr(denoising.machine, "free_memory", lambda: 10**5)
    with monkeypatch.context() as before, pytest.raises(KeyError):  # before the network takes it
        before.setattr(denoising.network, "predict", lambda *_: {}["predicted"])
        denoising.by_network(channels, reference[0], iterations=2)
    assert "about 0.0 GB are needed for this image, 0.0 are free" in caplog.text
    caplog.clear()
    monkeypatch.setattr(denoising.machine, "free_memory", lambda: None)
    denoising.by_network(channels, reference[0], iterations=2)
    monkeypatch.setattr(denoising.machine, "free_memory", lambda: 0)
    denoising._check_memory(1, torch.device("cuda"))  # of a GPU it says nothing
    monkeypatch.undo()
    assert machine.free_memory() > 10**8  # of Linux
    denoising.by_network(channels, reference[0], iterations=2)
    assert not caplog.text


def test_levels_outside_the_training_are_said():
    for levels, said in (
        ((0.03,), ["noise level about 0.03, below the 0.1 to 0.5 that the network was trained on"]),
        ((0.9,), ["noise level about 0.9, above"]),
        ((float("inf"),), ["nothing but noise, above the 0.1 to 0.5"]),
        ((0,), ["no noise can be estimated"]),
        ((0.52,), []),
        ((0.2, 0.52, 0.3), []),
        ((0.05, 0.05, 0.3), ["red, green: noise level about 0.05, 0.05, below"]),
        ((0.7, 0.2, 0.05), ["red: noise level about 0.7, above", "blue: noise level about 0.05, below"]),
        ((0.3, 0, 0), ["green, blue: no noise can be estimated"]),
    ):
        found = denoising.outside_training(levels, (0.1, 0.5))
        assert len(found) == len(said) and all(map(str.startswith, found, said)), found
    assert denoising.noise_levels(np.zeros((2, 9, 9))) == (0, 0) and denoising.noise_levels(np.ones((1, 1, 1))) == (0,)


def test_a_gap_that_is_next_to_nothing_is_certified_only_where_it_means_something():
    """For λ = 0 the solution is z: gap and primal value are rounding. Else a gap of 1 says that it may be anything."""
    z, flat = NOISY[None].astype(np.float32), np.full((1, *NOISY.shape), 0.7, np.float32)
    low = 1e-3 * z
    started = {"dual_start": "image", "lipschitz": "sqrt13"}
    for channels, weight, options in (
        (z, 0, {"iterations": 2}),
        (z, 0, {"iterations": 256, **started}),
        (z, 1e-9, {"iterations": 256, **started}),
        (1e3 * z, 0, {"iterations": 256, **started}),
        (flat, 0.1, {"iterations": 256, **started}),
        (0 * flat, 0.1, {"iterations": 2}),
        (z, 0.1, {"iterations": 256}),
    ):
        found = denoising.by_weight(channels, [weight], **options)
        assert denoising.uncertified(channels, found) is None, (weight, options, found.gap)
    for channels, weight, options in (
        (z, 1000, {"iterations": 20}),
        (low, 1, {"iterations": 2}),
        (z, 9, {"iterations": 2}),
    ):
        found = denoising.by_weight(channels, [weight], **options)
        assert "not certified" in denoising.uncertified(channels, found, 1.5)  # as for a gap that says nothing
        solved = denoising.by_weight(channels, [weight], gap=1e-3)
        assert found.gap.max() > denoising.UNCERTIFIED
        assert "not certified" in denoising.uncertified(channels, found), (weight, options)
        assert np.sqrt(np.mean((found.x - solved.x) ** 2)) <= found.error[0] + solved.error[0]
    both = np.concatenate([0 * z, z])
    found = denoising.by_weight(both, [1000, 1000], iterations=20)
    said = denoising.uncertified(both, found)
    assert "not certified" in said and f"relative gap {found.gap[1]:.1e}" in said


def test_an_exact_result_has_every_gap_that_is_asked_for(monkeypatch):
    """For λ = 0, however the steps begin: x = z, and the ratio of the gap to the primal value is one of roundings."""
    z = NOISY[None].astype(np.float32)
    found = denoising.by_weight(z, [0], gap=1e-3, dual_start="image", lipschitz="sqrt13")
    np.testing.assert_allclose(found.x, z, atol=1e-12)
    assert denoising.reaches(z, found, 1e-3) and denoising.uncertified(z, found, 1e-3) is None
    assert not denoising.reaches(z, denoising.by_weight(z, [0.1], iterations=64), 1e-9)
    tight = denoising.by_weight(z, [0.1], gap=1e-12)
    assert tight.gap <= 1e-12 and denoising.reaches(z, tight, 1e-12)


def test_a_gap_that_stands_still_ends_the_steps_and_the_best_is_kept(monkeypatch):
    """TGV with weights next to 0 in places has a gap that is all of the primal value, whatever the steps."""
    z = NOISY[None].astype(np.float32)
    maps = np.full((1, 2, *NOISY.shape), 1e-12, np.float32)
    maps[..., 10:20, 10:20] = 0.05
    found = denoising.by_weight(z, maps, gap=1e-3, penalty="tgv")
    assert found.gap > 0.9 and found.iterations < 2000
    assert "--gap 0.001 is not reached but 1.0e+00, by " in denoising.uncertified(z, found, 1e-3)
    x = denoising.by_weight(z, maps, iterations=found.iterations, penalty="tgv").x
    np.testing.assert_allclose(found.x, x, atol=1e-4)
    rounding = denoising.by_weight(z, [0.1], gap=1e-30)
    assert rounding.gap < 1e-10 and rounding.iterations < denoising.MOST_ITERATIONS
    monkeypatch.setattr(denoising, "MOST_ITERATIONS", 256)
    for weight in (10, 0.1):
        too_few = denoising.by_weight(z, [weight], gap=1e-6)
        assert too_few.iterations == 256 and "is not reached" in denoising.uncertified(z, too_few, 1e-6)


@pytest.mark.parametrize("penalty", ["tv", "tgv"])
def test_a_gap_that_is_slow_at_first_is_waited_for(penalty):
    """The gap is 0.99 of the primal value for hundreds of steps, where λ is large for a smooth image."""
    wave = np.float32(0.5 + 0.4 * np.sin(np.arange(64) * 2 * np.pi / 64)) * np.ones((64, 1), np.float32)
    weight = [200] if penalty == "tv" else np.array([5, 10]).reshape(1, 2, 1, 1)
    options = {"penalty": penalty, "boundary": "neumann"}
    assert denoising.by_weight(wave[None], weight, iterations=256, **options).gap > 0.9
    assert denoising.by_weight(wave[None], weight, gap=1e-3, **options).gap <= 1e-3


@pytest.mark.parametrize("options", [{}, {"gap": 1e-8}, {"norm": "isotropic"}, {"penalty": "tgv"}], ids=str)
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_channels_are_where_they_are_said_to_be(options, axis):
    image = np.stack([NOISY, 0.5 * NOISY, NOISY[::-1]])
    weight = (0.1, 0.2) if "penalty" in options else MAP
    expected = [denoising.denoise_tv(channel, weight, **options) for channel in image]
    moved = np.moveaxis(image, 0, axis)
    found = denoising.denoise_tv(moved, weight, channel_axis=axis, **options)
    assert found.shape == moved.shape
    np.testing.assert_allclose(np.moveaxis(found, axis, 0), expected, atol=1e-4 if "gap" in options else 1e-12)
    tensor = denoising.denoise_tv(
        torch.from_numpy(moved), torch.as_tensor(weight, dtype=torch.float64), channel_axis=axis, **options
    )
    np.testing.assert_array_equal(tensor.numpy(), found)


def test_maps_have_their_channels_where_the_image_has_them():
    image, maps = np.stack([NOISY, 0.5 * NOISY]), np.stack([MAP, 2 * MAP])
    expected = denoising.denoise_tv(image, maps)
    found = denoising.denoise_tv(np.moveaxis(image, 0, -1), np.moveaxis(maps, 0, -1), channel_axis=-1)
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected)
    two = maps[:, None] * [[[1]], [[3]]]
    found = denoising.denoise_tv(np.moveaxis(image, 0, -1), two, channel_axis=2)
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), denoising.denoise_tv(image, two))
    z = torch.tensor(np.moveaxis(image[:, :6, :7], 0, -1).copy(), requires_grad=True)
    weight = torch.tensor(np.moveaxis(maps[:, :6, :7], 0, -1).copy(), requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *both: denoising.denoise_tv(*both, iterations=5, channel_axis=-1), (z, weight), atol=1e-6
    )
    for axis in (3, -4):
        with pytest.raises(StudyError, match=f"channel_axis: {axis} for an image of shape"):
            denoising.denoise_tv(image, 0.1, channel_axis=axis)
    with pytest.raises(StudyError, match="channel_axis: 0"):
        denoising.denoise_tv(NOISY, 0.1, channel_axis=0)


def test_colours_in_the_last_axis_are_asked_for(caplog):
    image = np.moveaxis(np.stack([NOISY] * 3), 0, -1)
    denoising.denoise_tv(image, 0.1, iterations=1)
    assert "32 × 40 × 3 is taken for 32 images of 40 × 3 pixels; if the last axis holds colours" in caplog.text
    caplog.clear()
    denoising.denoise_tv(image, 0.1, iterations=1, channel_axis=-1)
    denoising.denoise_tv(np.stack([NOISY] * 3), 0.1, iterations=1)
    assert not caplog.text


PHOTO = img_as_float32(data.camera())[100:196, 180:276]
NOISY_PHOTO = (PHOTO + 0.1 * np.random.default_rng(5).normal(size=PHOTO.shape)).astype(np.float32)


@pytest.mark.parametrize("part", [0.3, 0.45])
def test_a_flat_margin_does_not_pull_down_the_noise_of_sure(part):
    width = round(96 * part / (1 - part))
    margin = np.pad(NOISY_PHOTO, ((0, 0), (width, 0)))[None]
    assert estimate_noise_std(margin[0]) < 0.06
    assert denoising.estimated_noise(margin[0]) == pytest.approx((0.1, part), rel=0.1)
    without, found = denoising.by_sure(NOISY_PHOTO[None]), denoising.by_sure(margin)
    of_content = [10 * np.log10(1 / np.mean((x[0, :, -96:] - PHOTO) ** 2)) for x in (without.x, found.x)]
    assert of_content[0] > 26.5 and of_content[1] > of_content[0] - 0.1
    clean = np.std(np.pad(PHOTO, ((0, 0), (width, 0))))
    assert denoising.noise_levels(margin) == pytest.approx((0.1 / clean,), rel=0.1)
    assert "% of it is flat" in found.flat and "the noise is estimated from the rest" in found.flat
    for estimate, said in (("none", None), ("unit", "the noise is underestimated; cut a margin off, or give λ")):
        flat = denoising.by_network(margin, network.MapNetwork(noise_estimate=estimate), iterations=1).flat
        assert flat is None if said is None else said in flat


def test_without_flat_regions_the_noise_is_estimated_as_ever():
    """Also of few grey values, of which many blocks of 2 × 2 pixels are equal by chance, and with a narrow margin."""
    few = (np.rint(NOISY_PHOTO.clip(0, 1) * 5) / 5).astype(np.float32)
    right, down = few[:, 1:] == few[:, :-1], few[1:] == few[:-1]
    assert (right[1:] & down[:, 1:] & down[:, :-1]).mean() > denoising.MOST_FLAT
    for z in (NOISY_PHOTO, few, np.pad(NOISY_PHOTO, ((0, 0), (9, 0)))):
        assert denoising.estimated_noise(z) == (estimate_noise_std(z), 0)
        assert denoising.flat_in_part(z[None], True) is None is denoising.flat_in_part(z[None], False)
    std = estimate_noise_std(NOISY_PHOTO)
    expected = choose_by_sure(NOISY_PHOTO, std, *(share * std for share in denoising.SURE_RANGE), "periodic").weight
    assert denoising.by_sure(NOISY_PHOTO[None]).weight == np.float32(expected)


def test_what_is_saturated_is_flat():
    z = (3 * PHOTO + 0.1 * np.random.default_rng(5).normal(size=PHOTO.shape)).clip(0, 1).astype(np.float32)
    std, flat = denoising.estimated_noise(z)
    assert 0.1 < flat < 0.5 and estimate_noise_std(z) < 0.7 * std and std == pytest.approx(0.1, rel=0.05)


def test_sure_needs_noise():
    with pytest.raises(StudyError, match="no noise"):
        denoising.by_sure(np.zeros((1, 8, 8), np.float32))


def test_an_image_smaller_than_the_padding_is_refused():
    padded = network.MapNetwork(padding=4)
    with pytest.raises(StudyError, match="1 × 20 pixels is too small for this network, which pads by 4"):
        denoising.by_network(np.zeros((1, 1, 20), np.float32), padded)
    assert denoising.by_network(np.zeros((1, 5, 20), np.float32), padded).x.shape == (1, 5, 20)


def test_weights_of_another_kind_are_refused(tmp_path):
    with pytest.raises(StudyError, match="not the weights"):
        denoising.load_trained(tmp_path / "none.safetensors")
    direct = {"predicts": "image"}
    network.save_weights(tmp_path / "direct.safetensors", network.build(**direct).weights(), direct)
    with pytest.raises(StudyError, match="direct.safetensors: .* the image itself, not a map; leave --model out$"):
        denoising.load_trained(tmp_path / "direct.safetensors")


def test_weights_without_the_record_of_their_study_are_solved_with_the_defaults_which_is_said(tmp_path, caplog):
    (tmp_path / "model").mkdir()
    path, record = tmp_path / "model/a.safetensors", tmp_path / "provenance.json"
    network.save_weights(path, network.build().weights(), {})
    assert denoising.load_trained(path)[1:] == (None, {}) and f"{record} is missing" in caplog.text
    for text in ("{", "{}", '{"config": {}}', '{"config": {"solver": []}}'):
        record.write_text(text)
        with pytest.raises(StudyError, match="provenance.json: not "):
            denoising.load_trained(path)
    record.write_text("[" * 200_000)
    with pytest.raises(StudyError, match="provenance.json: not "):
        denoising.load_trained(path)
    solver = {"boundary": "neumann", "norm": "isotropic", "dual_start": "image", "lipschitz": "sqrt13"}
    sound = {"solver": solver, "noise": {"kind": "relative", "train_level": [0.2, 0.4]}}
    record.write_text(json.dumps({"config": sound}))
    assert denoising.load_trained(path)[1:] == ((0.2, 0.4), solver)
    assert caplog.text.count("are not compared") == 1
    record.write_text(json.dumps({"config": {**sound, "noise": {"kind": "absolute", "train_level": 0.1}}}))
    assert denoising.load_trained(path)[1:] == (None, solver)
    assert f"{path}: trained with noise of given standard deviations: noise levels are not compared" in caplog.text
    for level in ("abc", [1], ["a", "b"], {}, [0.1, 0.2, 0.3]):
        record.write_text(json.dumps({"config": {**sound, "noise": {"kind": "relative", "train_level": level}}}))
        with pytest.raises(StudyError, match="provenance.json: not the provenance of a study"):
            denoising.load_trained(path)
    for name in solver:
        record.write_text(json.dumps({"config": {**sound, "solver": {**solver, name: "foo"}}}))
        with pytest.raises(StudyError, match="provenance.json: not the provenance of a study"):
            denoising.load_trained(path)


def test_weights_bring_the_options_they_were_trained_with(reference, monkeypatch):
    assert reference[2] == {"boundary": "periodic"}
    folder = denoising.Path(denoising.__file__).parents[3] / "results/reference/xray-fast/model"
    monkeypatch.chdir(folder)
    _, levels, solver = denoising.load_trained("last.safetensors")
    assert levels == (0.1, 0.5) and solver["norm"] == "anisotropic" and solver["lipschitz"] == 3
