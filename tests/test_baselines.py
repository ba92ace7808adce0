"""The baselines in the workflow: a small study with all kinds of them, against its own grids and files."""

import importlib.util
import inspect
import itertools
import re

import numpy as np
import pandas as pd
import pytest
import smoke
import yaml

import collect_tuning
import publish_study
import redraw_figures
from tvmap import classical, features, methods, oracle, parameter_choice, rivals, stacks, tgv

NAMES = ("scalar-train", "scalar-features", "scalar-sure", "scalar-discrepancy-blind", "map-oracle")
NAMES += ("scalar-oracle-fine", "tgv-oracle")
NAMES += ("tv-isotropic", "tgv", "nlm-blind", "wavelet")
NAMES += ("bm3d",) if importlib.util.find_spec("bm3d") else ()  # an extra, which .ci/run installs
PROTOCOL = "fixed0.5"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = smoke.fresh(tmp_path_factory.mktemp("baselines"))
    change = {"baselines": list(NAMES), "noise": {"protocols": {"uniform": None}}}
    run = smoke.snakemake(folder, change=change)
    assert run.returncode == 0, run.stdout[-5000:]
    assert smoke.asked(folder, change=change) == smoke.made(folder)
    return folder / smoke.RESULTS


@pytest.fixture(scope="module")
def per_image(results):
    return pd.read_csv(results / "tables/per_image.csv").pivot(index="id", columns="method")


def weight(results, name):
    stack = stacks.load(results / f"weights/test_{PROTOCOL}_0_{name}.npz")
    return pd.Series(stack["weight"].reshape(len(stack["ids"]), -1).mean(1), stack["ids"])


def test_every_method_is_in_every_table(results):
    chosen = methods.chosen(NAMES)
    assert list(pd.read_csv(results / "tables/summary.csv")["method"]) == chosen
    gains = pd.read_csv(results / "tables/gains.csv")
    assert list(gains["baseline"].unique()) == [name for name in chosen if name != "map"]
    solved = [name for name in chosen if methods.solves(name) and name != "noisy"]
    assert list(pd.read_csv(results / "tables/gaps.csv")["method"]) == solved
    page = (results / "report.html").read_text(encoding="utf-8")
    assert all(methods.LABELS[name] in page for name in chosen)


def test_methods_without_a_weight_have_no_gap(per_image):
    for name in methods.chosen(NAMES):
        assert per_image["gap"][name].isna().all() == per_image["weight_mean"][name].isna().all()
        assert per_image["gap"][name].isna().all() == (not methods.solves(name))
    assert np.isfinite(per_image["psnr"]).all(axis=None)


def test_scalar_of_the_training_images_is_the_best_of_their_grid(results):
    grid = pd.read_csv(results / f"grid/train_{PROTOCOL}_0.csv")
    assert grid["id"].nunique() == 6
    best = grid.groupby("weight")["psnr"].mean().idxmax()
    assert (weight(results, "scalar-train") == best).all()


def test_scalars_by_image_lie_within_the_grid_and_differ(results):
    for name in ("scalar-features", "scalar-sure", "scalar-discrepancy-blind"):
        found = weight(results, name)
        assert found.nunique() == len(found) and found.between(1e-3, 0.3).all()


def test_no_scalar_beats_the_oracle_and_the_oracle_map_does(per_image):
    psnr = per_image["psnr"]
    for name in ("scalar-fixed", "scalar-train"):
        assert (psnr[name] <= psnr["scalar-oracle-psnr"] + 1e-9).all()
    assert (psnr["map-oracle"] > psnr["scalar-oracle-psnr"]).all()


def test_classical_methods_take_the_parameters_that_were_best_on_validation(results):
    noisy = stacks.load(results / f"noisy/test_{PROTOCOL}_0.npz")
    for name in ("wavelet", "tv-isotropic", "tgv"):
        tuning = pd.read_csv(results / f"classical/{PROTOCOL}_{name}.csv")
        names = [*classical.PARAMETERS[name]]
        pairs = itertools.product(*classical.PARAMETERS[name].values())
        assert list(tuning[names].itertuples(index=False, name=None)) == list(pairs)
        chosen = tuning.loc[tuning["psnr"].idxmax(), names]
        options = {"solver": {"iterations": 16}, **chosen}
        expected = classical.denoise(name, noisy["images"][0], noisy["noise_std"][0], **options)
        found = stacks.load(results / f"denoised/test_{PROTOCOL}_0_{name}.npz")["images"][0]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_each_rival_says_how_it_was_tuned():
    said = dict(rivals.described(["tgv", "tgv-blind", "nlm-blind", "scalar-sure", "map-oracle"]))
    assert list(said) == ["scalar-sure", "tgv", "nlm", "map-oracle"]
    assert said["tgv"].endswith("Both factors were chosen, among all pairs, by the mean PSNR of the validation images.")
    assert said["nlm"].endswith(
        "The factor, the width of the patches and how far they are sought were chosen, among all combinations, by the "
        "mean PSNR of the validation images."
    )
    assert not any("was chosen" in said[name] for name in ("scalar-sure", "map-oracle"))


def test_the_numbers_in_what_is_said_of_rivals_are_those_of_the_code():
    def default(function, name):
        return inspect.signature(function).parameters[name].default

    exponent = f"{default(parameter_choice.choose_by_sure, 'gap'):.0e}".partition("e")[2]
    said = {
        "scalar-features": [f"{len(features.FEATURES)} numbers"],
        "scalar-sure": ["10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))],
        "wavelet": [f"{classical.SHIFTS**2} shifts"],
        "tgv-oracle": [f"{len(oracle.OF_SLOPE)} × {len(oracle.OF_CHANGE)} pairs"],
        "map-oracle": [f"{default(oracle.oracle_map, 'steps')} steps"],
    }
    for name, text in rivals.DESCRIPTIONS.items():
        text = re.sub(r"\[\d+\]|Table \d+", "", text)  # the report's own
        for numbers in said.get(name, []):
            assert numbers in text, name
            text = text.replace(numbers, "")
        assert re.findall(r"\b\d+", text) == [], f"{name}: compare it with the code here"
    assert tgv.RATIO == 0.5 and "from half of it" in rivals.DESCRIPTIONS["map-oracle"]


def test_the_table_of_tuning_holds_every_candidate_and_what_was_chosen(results):
    found = pd.read_csv(results / "tables/tuning.csv")
    tuned = [name for name in NAMES if name in methods.LEARNED or methods.base(name) in methods.CLASSICAL]
    tuned.append("scalar-fixed")
    assert sorted(found["method"].unique()) == sorted(tuned)
    chosen = found[found["chosen"]].set_index("method")
    assert sorted(chosen.index) == sorted(tuned)
    for name in tuned:
        part = found[found["method"] == name]
        best = part["error"].idxmin() if name == "scalar-features" else part["psnr"].idxmax()
        assert chosen.loc[name, "candidate"] == part.loc[best, "candidate"]
        for factor in rivals.FACTORS:
            if factor in classical.PARAMETERS.get(methods.base(name), ()):
                assert chosen.loc[name, factor] == part.loc[best, factor] and part[factor].notna().all()
            else:
                assert part[factor].isna().all()
    for name in ("scalar-fixed", "scalar-train"):
        assert (weight(results, name) == float(chosen.loc[name, "candidate"])).all()
    grid = pd.read_csv(results / f"grid/train_{PROTOCOL}_0.csv").groupby("weight")["psnr"].mean()
    assert chosen.loc["scalar-train", "psnr"] == pytest.approx(grid.max())
    edges = found[found["on_edge"].notna()]
    assert edges["chosen"].all() and set(edges["method"].map(methods.base)) <= set(methods.CLASSICAL)
    said = pd.read_csv(results / "checks/checks.csv").set_index("check")["number"].filter(like="rivals at the edge")
    assert said.tolist() == [len(edges)]
    assert all(f"{row.method} ({row.on_edge}, {PROTOCOL})" in said.index[0] for row in edges.itertuples())
    errors = found[found["method"] == "scalar-features"]
    assert list(errors["candidate"]) == list(features.candidates()) and (errors["error"] > 0).all()


def test_the_fixed_scalar_is_marked_over_all_draws(tmp_path):
    """λ = 0.1 is the best of the first draw, λ = 0.2 that of both, as `choose_scalars` fixes it."""
    grids = [tmp_path / "val_0.csv", tmp_path / "val_1.csv"]
    for path, scores in zip(grids, ([30.0, 29.9, 29.0], [27.0, 29.0, 29.3]), strict=True):
        curve = {"id": "a", "weight": [0.1, 0.2, 0.3], "psnr": scores, "ssim": 0.8}
        pd.DataFrame(curve).to_csv(path, index=False)
    collect_tuning.main({"scalar-fixed": {PROTOCOL: grids}}, tmp_path / "tuning.csv")
    found = pd.read_csv(tmp_path / "tuning.csv")
    assert found.loc[found["chosen"], "candidate"].tolist() == [0.2]
    assert found["psnr"].tolist() == pytest.approx([28.5, 29.45, 29.15])


def test_every_factor_beside_a_strength_has_a_panel():
    assert {name for numbers in classical.PARAMETERS.values() for name in numbers} == {"strength", *rivals.FACTORS}


def test_figures_of_the_rivals_are_drawn_again_from_the_published_tables(results, tmp_path):
    publish_study.main(results, tmp_path / "published")
    names = redraw_figures.main(tmp_path / "published", tmp_path / "again")
    assert {"tuning", "failures", "courses"} <= set(names)
    for name in names:
        assert (tmp_path / f"again/{name}.png").read_bytes() == (results / f"figures/{name}.png").read_bytes()


def test_the_list_of_baselines_is_that_of_the_schema():
    schema = yaml.safe_load((smoke.ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
    assert tuple(schema["properties"]["baselines"]["items"]["enum"]) == methods.BASELINES
