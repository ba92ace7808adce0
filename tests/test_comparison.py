"""The map against the others: pairs, intervals over patients, groups of noise levels, and what is said of them."""

import numpy as np
import pandas as pd
import pytest

from tvmap import comparison, findings
from tvmap.methods import METHODS

OPTIONS = {"resamples": 200, "confidence": 0.95, "seed": 1}
NAMES = ("noisy", "scalar-oracle-psnr", "bm3d", "map")


def measurements(n=20, draws=2):
    """The map is 1 dB above `bm3d` at the highest level and 1 dB below it at the lowest, linearly in between."""
    rows = []
    for draw in range(draws):
        for image in range(n):
            level = 0.1 + 0.4 * ((7 * image + 3 * draw) % n) / (n - 1)
            psnr = {"noisy": 20.0, "scalar-oracle-psnr": 33.0, "bm3d": 30 - (level - 0.3) / 0.2, "map": 30.0}
            for name in NAMES:
                row = {"protocol": "uniform", "draw": draw, "id": f"i{image}", "patient": f"p{image // 2}"}
                rows.append(row | {"noise_level": level, "method": name, "psnr": psnr[name]})
    return pd.DataFrame(rows)


def test_groups_hold_all_pairs_once_in_the_order_of_their_levels():
    table = measurements()
    found = comparison.by_level(table, OPTIONS)
    groups = found.drop_duplicates("group")
    assert list(groups["group"]) == [1, 2, 3, 4] and groups["n"].sum() == 40 and groups["n"].max() == 10
    assert (groups["level_high"].to_numpy()[:-1] <= groups["level_low"].to_numpy()[1:]).all()
    assert groups["level_low"].iloc[0] == table["noise_level"].min()
    assert groups["level_high"].iloc[-1] == table["noise_level"].max()


def test_differences_are_those_of_the_same_image_and_draw():
    table = measurements()
    found = comparison.by_level(table, OPTIONS).set_index(["baseline", "group"])
    for group in range(1, 5):
        low, high = found.loc[("bm3d", group), ["level_low", "level_high"]]
        levels = table[(table["method"] == "map") & table["noise_level"].between(low, high)]["noise_level"]
        row = found.loc["bm3d", group]
        assert row["mean"] == pytest.approx(((levels - 0.3) / 0.2).mean(), abs=0.06)  # a level may be in two groups
        assert row["low"] < row["mean"] < row["high"]
    assert found.loc[("bm3d", 1), "win_rate"] == 0 and found.loc[("bm3d", 4), "win_rate"] == 1
    assert np.allclose(found.loc["noisy", "mean"], 10) and "map" not in found.index


def test_what_is_ahead_of_the_map_is_said_with_its_levels_and_oracles_are_not_counted():
    (said,) = findings.level_failures(comparison.by_level(measurements(), OPTIONS), {"uniform": [0.1, 0.5]})
    assert said.startswith(
        "Under noise level from U[0.1, 0.5] BM3D is ahead of the map at levels from 0.10 to 0.18 by 0."
    )
    assert "at levels from 0.21 to 0.29" in said and "0.50" not in said and "oracle" not in said


@pytest.mark.parametrize("n, groups", [(3, 1), (9, 1), (10, 2), (100, 4)])
def test_few_images_make_few_groups(n, groups):
    assert comparison.by_level(measurements(n, 1), OPTIONS)["group"].max() == groups


def test_one_level_for_all_has_no_groups():
    found = comparison.by_level(measurements().assign(noise_level=0.5), OPTIONS)
    assert not len(found) and list(found.columns) == list(comparison.BY_LEVEL)
    assert findings.level_failures(found, {"uniform": 0.5}) == []


def test_the_bound_of_the_distance_is_compared_with_the_error():
    table = pd.DataFrame({"protocol": "a", "method": "map", "gap": [0.0, 2.0], "psnr": [20.0, 40.0]})
    (row,) = comparison.gaps(table.assign(relative_gap=table["gap"]), 10_000).itertuples()
    assert row.rms_bound == pytest.approx(0.02)  # √(2 · 2 / 10⁴)
    assert row.bound_to_error_max == pytest.approx(2) and row.bound_to_error_median == pytest.approx(1)  # error 0.01


def per_image(gains, difficulty=0):
    """A table of one protocol: {patient: [gain of the map of each of its images]}; all other methods score the same."""
    rows = []
    for patient, values in gains.items():
        for index, gain in enumerate(values):
            for method in METHODS:
                psnr = 30.0 + difficulty * (len(rows) // len(METHODS)) + (gain if method == "map" else 0)
                key = {"protocol": "p", "draw": 0, "id": f"{patient}-{index}", "patient": patient}
                rows.append({**key, "method": method, "psnr": psnr, "ssim": psnr / 100, "gap": 0.0})
    return pd.DataFrame(rows)


def test_gains_are_paired_by_image_whatever_the_order():
    table = per_image({"A": [1.0, 2.0], "B": [-1.0], "C": [4.0]}, difficulty=7)
    shuffled = table.sample(frac=1, random_state=0)
    rows = comparison.paired_gains(shuffled, OPTIONS).query("metric == 'psnr'")
    assert list(rows["baseline"]) == list(METHODS[:4])
    for row in rows.itertuples():
        assert (row.n, row.mean, row.win_rate) == (4, pytest.approx(1.5), 0.75)
        assert row.std == pytest.approx(np.std([1, 2, -1, 4], ddof=1))
        assert -1 <= row.low < row.mean < row.high <= 4


def test_the_summary_has_what_each_method_gains_over_the_oracle():
    table = per_image({"A": [1.0, 2.0], "B": [-1.0], "C": [4.0]}, difficulty=7).sample(frac=1, random_state=0)
    gained = comparison.summarise(table, OPTIONS).set_index("method")[["gain", "gain_low", "gain_high"]]
    gains = comparison.paired_gains(table, OPTIONS).query("metric == 'psnr'").set_index("baseline")
    assert list(gained.loc["map"]) == list(gains.loc["scalar-oracle-psnr", ["mean", "low", "high"]])
    assert (gained.drop("map") == 0).all(axis=None)


def test_intervals_resample_patients_not_images():
    """One patient with many alike images: the interval of its images alone would be far too narrow."""
    alone = comparison.summarise(per_image({f"P{k}": [k % 2] for k in range(40)}), OPTIONS)
    together = comparison.summarise(per_image({"A": [0.0] * 20, "B": [1.0] * 20}), OPTIONS)
    width = {name: (t["psnr_high"] - t["psnr_low"]).iloc[-1] for name, t in (("a", alone), ("t", together))}
    assert width["t"] > 2 * width["a"] > 0
