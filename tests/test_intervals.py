"""The bootstrap interval: coverage, clusters, determinism."""

import numpy as np
import pytest

from tvmap.intervals import bootstrap_interval, bootstrap_ratio

OPTIONS = {"resamples": 1000, "confidence": 0.95, "seed": 1}


def test_width_is_that_of_the_normal_interval_for_many_independent_values():
    values = np.random.default_rng(0).normal(3.0, 2.0, 2000)
    low, high = bootstrap_interval(values, np.arange(2000), **{**OPTIONS, "resamples": 4000})
    half = 1.96 * values.std(ddof=1) / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_coverage():
    """Nine in ten 90 % intervals hold the true mean."""
    random = np.random.default_rng(0)
    hits = 0
    for k in range(200):
        values = random.normal(1.0, 1.0, 40)
        low, high = bootstrap_interval(values, np.arange(40), resamples=400, confidence=0.9, seed=k)
        hits += low <= 1.0 <= high
    assert 165 <= hits <= 193


def test_images_of_one_patient_count_as_one():
    """The same values four times over, in clusters, say no more than once; taken for independent they would."""
    values = np.random.default_rng(0).normal(size=30)
    once = bootstrap_interval(values, np.arange(30), **OPTIONS)
    clustered = bootstrap_interval(np.repeat(values, 4), np.repeat(np.arange(30), 4), **OPTIONS)
    independent = bootstrap_interval(np.repeat(values, 4), np.arange(120), **OPTIONS)
    assert clustered == pytest.approx(once, abs=1e-12)
    assert independent[1] - independent[0] < 0.6 * (once[1] - once[0])


def test_clusters_of_unequal_size_are_weighted_by_their_images():
    low, high = bootstrap_interval(np.array([0.0, 0.0, 0.0, 4.0]), ["a", "a", "a", "b"], **OPTIONS)
    assert (low, high) == (0.0, 4.0)


def test_same_seed_same_interval_and_order_of_clusters_does_not_matter():
    values = np.random.default_rng(0).normal(size=60)
    clusters = np.repeat([f"p{k:02d}" for k in range(20)], 3)
    expected = bootstrap_interval(values, clusters, **OPTIONS)
    assert bootstrap_interval(values, clusters, **OPTIONS) == expected
    assert bootstrap_interval(values[::-1], clusters[::-1], **OPTIONS) == pytest.approx(expected)
    assert bootstrap_interval(values, clusters, **{**OPTIONS, "seed": 2}) != expected


def test_one_cluster_has_no_interval():
    assert np.isnan(bootstrap_interval(np.array([2.5, 3.5]), ["a", "a"], **OPTIONS)).all()


def test_ratio_resamples_numerator_and_divisor_together():
    random = np.random.default_rng(4)
    ways = random.uniform(1, 3, 60)
    clusters = np.arange(60) // 2
    low, high = bootstrap_ratio(0.4 * ways, ways, clusters, **OPTIONS)
    assert abs(low - 0.4) < 1e-12 and abs(high - 0.4) < 1e-12
    gone = 0.4 * ways + random.normal(0, 0.3, 60)
    low, high = bootstrap_ratio(gone, ways, clusters, **OPTIONS)
    error = (gone - gone.mean() / ways.mean() * ways).reshape(30, 2).sum(1)  # the linearised ratio, by cluster
    half = 1.96 * np.sqrt((error**2).sum()) / ways.sum()
    assert abs((high - low) / (2 * half) - 1) < 0.15
    assert low < gone.mean() / ways.mean() < high
