"""The random numbers: Random123's known answers, the normal distribution, nothing counts but the key."""

import pytest
import scipy.stats
import torch

from tvmap import philox

# https://github.com/DEShawResearch/random123, tests/kat_vectors: philox4x32 10
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize("counter,key,words", KNOWN)
def test_known_answers(counter, key, words):
    counter, key, words = ([int(word, 16) for word in text.split()] for text in (counter, key, words))
    assert [word.item() for word in philox.philox4x32([torch.tensor([word]) for word in counter], key)] == words


def draw(stream, substream=0, key=(1, 2), shape=(250, 400)):
    return philox.standard_normal(key, torch.tensor(stream), torch.tensor([substream]), shape)


def test_the_numbers_are_normal():
    numbers = draw([0])
    assert numbers.dtype == torch.float32 and numbers.isfinite().all()
    assert scipy.stats.kstest(numbers.flatten().double().numpy(), "norm").pvalue > 0.01
    assert scipy.stats.kurtosis(numbers.flatten().numpy()) == pytest.approx(0, abs=0.05)
    neighbours = torch.stack([numbers[0, :, :-1].flatten(), numbers[0, :, 1:].flatten()])
    assert abs(torch.corrcoef(neighbours)[0, 1]) < 0.01


def test_the_extreme_words_give_finite_numbers(monkeypatch):
    for word in (0, philox.WORD):
        monkeypatch.setattr(philox, "philox4x32", lambda *_, word=word: [torch.full((1, 1), word)] * 4)
        assert draw([0], shape=(2, 2)).isfinite().all()


def test_streams_are_their_own_whatever_is_drawn_beside_them():
    together = draw([5, 3, 5])
    assert torch.equal(together[0], together[2])
    assert torch.equal(together[1], draw([3])[0])
    for other in (draw([4]), draw([3], substream=1), draw([3], key=(1, 3))):
        assert abs(torch.corrcoef(torch.stack([together[1].flatten(), other.flatten()]))[0, 1]) < 0.015


def test_a_smaller_image_has_the_first_numbers():
    assert torch.equal(draw([3], shape=(3, 5)).flatten(), draw([3]).flatten()[:15])


def test_keys_differ_in_every_part():
    keys = {philox.key_words(*parts) for parts in ((1, "a"), (2, "a"), (1, "b"), (12, "a"), ("1", "2a"))}
    assert len(keys) == 5 and all(0 <= word <= philox.WORD for key in keys for word in key)
