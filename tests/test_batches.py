"""What a training draws: order, level, crop, flip and noise, each by its key."""

import numpy as np
import pytest
import torch

from tvmap import batches

OPTIONS = {"noise_level": [0.1, 0.5], "noise_kind": "relative", "crop": None, "flips": False}
CPU = torch.device("cpu")


def pictures(n, size=20):
    """Images whose every pixel tells which it is and where it lies."""
    return np.arange(n * size * size, dtype=np.float32).reshape(n, size, size)


def epoch_of(images, epoch=0, size=1, seed=1, position=0, **options):
    """All (clean, noisy) of an epoch from `position` on, stacked in the order of their drawing."""
    drawn = batches.Batches(images, seed, size, CPU, **{**OPTIONS, **options})
    drawn.begin(epoch, position)
    left = len(images) - position
    pairs = [drawn.draw(min(size, left - first)) for first in range(0, left, size)]
    return [torch.cat(part)[:, 0].numpy() for part in zip(*pairs, strict=True)]


def test_an_epoch_holds_every_image_once_in_an_order_of_its_own():
    images = pictures(7)
    firsts = [epoch_of(images, epoch)[0][:, 0, 0] for epoch in (0, 1)]
    for order in firsts:
        assert sorted(order) == list(images[:, 0, 0])
    assert not np.array_equal(*firsts)


def test_what_is_drawn_belongs_to_its_key_not_to_batches_or_the_past():
    images = pictures(5)
    whole = epoch_of(images, 3, size=1)
    for size, position in ((2, 0), (5, 0), (2, 2), (1, 3)):
        for part, all_of_it in zip(epoch_of(images, 3, size=size, position=position), whole, strict=True):
            np.testing.assert_array_equal(part, all_of_it[position:])
    clean, noisy = whole
    by_image = noisy[np.argsort(clean[:, 0, 0])]
    for seed, epoch in ((2, 3), (1, 4)):
        other_clean, other = epoch_of(images, epoch, seed=seed)
        assert not np.isclose(other[np.argsort(other_clean[:, 0, 0])], by_image).any(axis=(1, 2)).all()


def test_the_level_is_uniform_and_scales_the_noise():
    images = np.random.default_rng(0).random((200, 40, 40), dtype=np.float32)
    clean, noisy = epoch_of(images, noise_kind="absolute")
    levels = np.std(noisy - clean, axis=(1, 2))
    assert 0.09 < min(levels) < 0.13 and 0.47 < max(levels) < 0.53
    assert np.mean(levels) == pytest.approx(0.3, abs=0.03)
    clean, noisy = epoch_of(images, noise_kind="absolute", noise_level=0.2)
    assert np.std(noisy - clean) == pytest.approx(0.2, rel=0.01)
    residual = noisy - clean
    assert abs(np.corrcoef(residual[:-1].ravel(), residual[1:].ravel())[0, 1]) < 0.01, "images have noise of their own"


def test_relative_noise_is_scaled_by_the_whole_image_whatever_the_crop():
    image = np.zeros((1, 64, 64), np.float32)
    image[:, :, 32:] = 1
    residuals = [np.subtract(*epoch_of(image, e, noise_level=0.5, crop=16)[::-1]) for e in range(50)]
    assert np.std(residuals) == pytest.approx(0.5 * np.std(image, ddof=1), rel=0.02)


def test_crops_are_pieces_of_the_image_flipped_or_not_anywhere():
    image = pictures(1, 40)
    places, flips = set(), []
    for epoch in range(300):
        crop = epoch_of(image, epoch, crop=32, flips=True)[0][0]
        assert crop.shape == (32, 32)
        flips.append(crop[0, 0] > crop[0, -1])
        top, left = divmod(int(crop[0].min()), 40)
        expected = image[0, top : top + 32, left : left + 32]
        np.testing.assert_array_equal(crop, expected[:, ::-1] if flips[-1] else expected)
        places.add((top, left))
    assert {t for t, _ in places} == set(range(9)) == {c for _, c in places}, "up to every edge"
    assert 0.4 < np.mean(flips) < 0.6


def test_a_crop_larger_than_the_image_is_the_image():
    image = pictures(1, 20)
    np.testing.assert_array_equal(epoch_of(image, crop=32)[0], image)


def test_an_epoch_shows_one_view_of_each_image():
    views = np.stack([pictures(4), pictures(4) + 10_000, pictures(4) + 20_000], axis=1)
    seen = set()
    for epoch in range(20):
        firsts = epoch_of(views, epoch, noise_kind="absolute")[0][:, 0, 0]
        assert sorted(firsts % 10_000) == list(views[:, 0, 0, 0]), "every image once"
        seen |= set(firsts)
    assert seen == set(views[:, :, 0, 0].ravel()), "every view now and then"
    one, plain = epoch_of(views[:, :1]), epoch_of(views[:, 0])
    for part, same in zip(one, plain, strict=True):
        np.testing.assert_array_equal(part, same)


def test_relative_noise_is_that_of_the_view():
    flat, rough = np.zeros((1, 1, 64, 64), np.float32), np.zeros((1, 1, 64, 64), np.float32)
    flat[..., 32:], rough[..., 32:] = 0.1, 1
    views = np.concatenate([flat, rough], axis=1)
    for epoch in range(10):
        clean, noisy = epoch_of(views, epoch, noise_level=0.5)
        assert np.std(noisy - clean) == pytest.approx(0.5 * np.std(clean, ddof=1), rel=0.1)
