"""Tests of paired differences against enumeration, a published example and simulation."""

import itertools
import math

import numpy as np
import pytest

from tvmap.significance import difference_by_chance, effect_size, holm, signed_rank_p


@pytest.mark.parametrize("differences", ([1.5, 2.5, -0.5, 4], [0.1, -0.2, 0.3, -0.4, 0.5, 0.6, 0.75], [3, 2, 1]))
def test_signed_rank_p_is_the_share_of_signs_that_are_as_extreme(differences):
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    centre = ranks.sum() / 2
    seen = abs(ranks[np.array(differences) > 0].sum() - centre)
    signs = itertools.product((0, 1), repeat=len(ranks))
    extreme = [abs(np.dot(sign, ranks) - centre) >= seen - 1e-9 for sign in signs]
    assert signed_rank_p(differences) == pytest.approx(np.mean(extreme))


def test_signed_rank_p_of_chance_is_uniform():
    random = np.random.default_rng(0)
    p = [signed_rank_p(random.normal(size=30)) for _ in range(400)]
    assert np.quantile(p, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.06)


def test_zeros_say_nothing():
    assert signed_rank_p([0, 0, 1, 2, -3, 4]) == signed_rank_p([1, 2, -3, 4])
    assert math.isnan(signed_rank_p([0, 0, 0])) and math.isnan(signed_rank_p([1.0])) and math.isnan(effect_size([1.0]))


def test_holm_by_hand():
    """0.01·4, max with 0.02·3, max with 0.03·2, max with 0.04·1, in the order given."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1, 1]) and holm([]).shape == (0,)
    assert holm([0.01, math.nan]) == pytest.approx([0.01, math.nan], nan_ok=True)


def test_holm_keeps_the_chance_of_any_false_alarm():
    random = np.random.default_rng(1)
    alarms = [(holm(random.uniform(size=10)) < 0.05).any() for _ in range(2000)]
    assert 0.03 < np.mean(alarms) < 0.065


def test_effect_size():
    assert effect_size([1, 2, 3]) == pytest.approx(2) and effect_size([-1, 1]) == 0
    assert math.isnan(effect_size([2, 2]))


def test_two_further_values_differ_by_less_than_what_chance_allows_as_often_as_said():
    random = np.random.default_rng(0)
    draws = random.normal(3, 0.2, size=(4000, 5))
    within = [abs(a - b) < difference_by_chance(known, 0.9) for *known, a, b in draws]
    assert np.mean(within) == pytest.approx(0.9, abs=0.02)
    assert difference_by_chance([1.0, 1.1], 0.95) == pytest.approx(
        12.7062 * 0.1, rel=1e-4
    )  # t of one degree of freedom
