"""A study and its variants: the rows of their table by hand, and a small study with some, run by Snakemake."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import smoke
import yaml

import publish_study
from tvmap import courses, dissertation, stacks
from tvmap import variants as compare
from tvmap.study import comparable, iterations, merge

OPTIONS = {"resamples": 500, "confidence": 0.95, "seed": 1}
IDS = ["a1", "a2", "b1", "c1"]


def table(psnr, oracle=None, ids=IDS, protocol="low"):
    """Measurements of the map with these PSNRs, and of both oracles if `oracle` is given; SSIM = PSNR / 40."""
    methods = {"map": psnr}
    if oracle is not None:
        methods |= {"scalar-oracle-psnr": oracle, "scalar-oracle-ssim": oracle}
    rows = [
        {"protocol": protocol, "draw": 0, "id": name, "patient": name[0], "method": method, "psnr": value}
        for method, values in methods.items()
        for name, value in zip(ids, values, strict=True)
    ]
    return pd.DataFrame(rows).assign(ssim=lambda found: found["psnr"] / 40)


def row(found, variant, metric="psnr"):
    return found[(found["variant"] == variant) & (found["metric"] == metric)].iloc[0]


def test_rows_by_hand():
    images = {
        "": table([30, 31, 32, 33], oracle=[29, 30, 31, 31]),
        "better": table([30.5, 31.5, 32.5, 33.5]),
        "own": table([28, 28, 28, 28], oracle=[27, 27, 27, 28]),
        "others": table([20, 22], oracle=[20, 20], ids=["x1", "y1"]),
    }
    same = {"": ["low"], "better": ["low"], "own": ["low"], "others": ["low"], "noise": []}
    images["noise"] = images["own"]
    found = compare.compare(images, same, OPTIONS)
    assert np.isnan(row(found, "noise")["difference"]) and row(found, "noise")["gain"] == row(found, "own")["gain"]
    study, better, own, others = (row(found, name) for name in ("", "better", "own", "others"))
    assert (study["mean"], study["oracle"], study["gain"], study["n"]) == (31.5, 30.25, 1.25, 4)
    assert np.isnan(study["difference"])
    assert (better["oracle"], better["gain"], better["difference"]) == (30.25, 1.75, 0.5)
    assert (better["difference_low"], better["difference_high"]) == (0.5, 0.5)
    assert (own["oracle"], own["gain"], own["difference"]) == (27.25, 0.75, -3.5)
    assert (others["gain"], others["n"]) == (1, 2) and np.isnan(others["difference"])
    assert row(found, "better", "ssim")["gain"] == pytest.approx(1.75 / 40)
    # Two tests of the PSNR, each with the smallest p of three patients, 1/4: Holm doubles both.
    assert (better["p_value"], better["p_holm"], own["p_holm"]) == (0.25, 0.5, 0.5)


@pytest.mark.parametrize(
    ("overlay", "protocols"),
    [
        (
            {"training": {"epochs": 9}, "solver": {"iterations": 8}, "noise": {"train_level": 0.5}},
            ["fixed0.5", "uniform"],
        ),
        ({"noise": {"protocols": {"fixed0.5": 0.4, "new": 0.1}}}, ["uniform"]),
        ({"noise": {"kind": "absolute"}}, []),
        ({"data": {"fold": {"number": 2, "of": 5}}}, []),
        ({"report": {"clamp": True}}, ["fixed0.5", "uniform"]),  # the difference is what the measure does
        ({"report": {"ssim_window": "uniform"}}, ["fixed0.5", "uniform"]),
        ({"seed": 4}, []),
    ],
)
def test_what_measures_other_images_is_not_compared(overlay, protocols):
    study = yaml.safe_load((smoke.ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert sorted(comparable(study, merge(study, overlay))) == protocols


def test_repetitions_are_put_together():
    images = {
        "": table([30, 31], [29, 29], ["a1", "b1"]),
        "fold-2": table([30, 34, 34], [29, 29, 29], ["c1", "d1", "e1"]),
    }
    found = compare.together(images, OPTIONS)
    whole = row(found, compare.REPEATS)
    assert (whole["n"], whole["gain"]) == (5, pytest.approx(2.8))
    assert whole["gain_std_between"] == pytest.approx(np.std([1.5, 11 / 3], ddof=1))


@pytest.mark.parametrize(
    ("overlay", "text", "repeats"),
    [
        ({"data": {"fold": {"number": 2}}}, "data.fold.number: 2", True),
        ({"training": {"seed": 2}}, "training.seed: 2", True),
        ({"training": {"seed": 2, "crop": None}}, "training.seed: 2, training.crop: null", False),
        ({"network": {"weights": "results/a/last.safetensors"}}, "network.weights: last.safetensors", False),
        ({"network": {"weights": None}, "training": {"seed": 2}}, "network.weights: null, training.seed: 2", True),
        ({"network": {"weights": None, "maps": 2}}, "network.weights: null, network.maps: 2", False),
        ({"noise": {"protocols": {"low": [0.1, 0.2]}}}, "noise.protocols.low: [0.1, 0.2]", False),
        ({"seed": 4}, "seed: 4", False),
    ],
)
def test_what_differs_is_said(overlay, text, repeats):
    assert compare.described(overlay) == text
    assert compare.repeats(overlay) == repeats


def test_courses_end_with_the_time_of_the_training_and_gain_over_the_oracle(tmp_path):
    history, grid = tmp_path / "history.csv", tmp_path / "grid.csv"
    history.write_text("epoch,val_psnr\n1,\n2,30\n3,\n4,31\n")
    grid.write_text("id,weight,psnr\na,0.1,28\na,0.2,30\nb,0.1,29\nb,0.2,27\n")  # best: 30 and 29
    paths, grids = ({"": path, "other": path} for path in (history, grid))
    found = courses.courses(paths, {"": 8.0, "other": 2.0}, grids)
    assert found["minutes"].tolist() == [4, 8, 1, 2] and found["val_psnr"].tolist() == [30, 31] * 2
    assert found["val_gain"].tolist() == [0.5, 1.5] * 2
    assert courses.minutes_to(dissertation.GAIN, found) == {"": 8, "other": 2}
    assert courses.minutes_to(0.5, found) == {"": 4, "other": 1} and courses.minutes_to(2, found) == {}
    steps = {"variant": ["", "other"], "iterations": 8, "milliseconds": [1200, 300], "low": 1, "high": 2, "size": 4}
    steps = pd.DataFrame(steps).assign(threads=1, precision="float32", device="a machine")
    steps.to_csv(tmp_path / "steps.csv", index=False)
    (tmp_path / "training.json").write_text('{"steps": 400, "seconds": 7}')
    trainings = dict.fromkeys(("", "other"), tmp_path / "training.json")
    assert courses.training_minutes(trainings, tmp_path / "steps.csv") == {"": 8, "other": 2}
    found.to_csv(tmp_path / "courses.csv", index=False)
    assert courses.read(tmp_path / "courses.csv")["variant"].tolist() == ["", "", "other", "other"]


def settings(variants, weights=None):
    """Of a study with these variants, as far as the numbers of iterations matter."""
    sections = {"training": {"iterations": 64}, "solver": {"iterations": 256}, "network": {"weights": weights}}
    return sections | {"variants": variants}


def test_variants_that_differ_in_the_number_of_iterations_alone():
    own = {"network": {"weights": "study"}}
    variants = {
        "T-8": own | {"solver": {"iterations": 8}},
        "T-8-image": own | {"solver": {"iterations": 8, "dual_start": "image"}},
        "retrained": {"solver": {"iterations": 8}},
        "train-16": {"training": {"iterations": 16}},
        "train-16-longer": {"training": {"iterations": 16, "epochs": 9}},
        "seed-2": {"training": {"seed": 2}},
    }
    assert iterations(settings(variants)) == ({"": 64, "train-16": 16}, {"": 256, "T-8": 8})
    assert iterations(settings(variants, "a/last.safetensors")) == ({}, {"": 256, "retrained": 8})
    assert iterations(settings({"seed-2": variants["seed-2"]})) == ({}, {})
    assert iterations({name: part for name, part in settings({}).items() if name != "variants"}) == ({}, {})


VARIANTS = {
    "seed-2": {"training": {"seed": 2}},
    "given": {"network": {"weights": "study"}, "solver": {"iterations": 4}},
    "short": {"training": {"iterations": 4}},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = smoke.fresh(tmp_path_factory.mktemp("variants"))
    change = {"variants": VARIANTS, "noise": {"protocols": {"uniform": None}}, "data": {"fold": {"number": 1, "of": 3}}}
    change |= {"baselines": ["unet-direct", "map-oracle"]}
    run = smoke.snakemake(folder, change=change)
    assert run.returncode == 0, run.stdout[-5000:]
    again = smoke.snakemake(folder, "--dry-run", change=change)
    assert "Nothing to be done" in again.stdout, again.stdout[-2000:]
    assert smoke.asked(folder, change=change) == smoke.made(folder)
    return folder / smoke.RESULTS


def test_variants_are_run_and_compared(results):
    found = pd.read_csv(results / "tables/variants.csv", keep_default_na=False)
    assert sorted(found["variant"].unique()) == ["", "given", "seed-2", "short"]  # smoke.py sorts the keys of a change
    assert row(found, "given")["training_minutes"] == "" and float(row(found, "seed-2")["training_minutes"]) > 0
    own = pd.read_csv(results / "metrics/test_fixed0.5_0.csv")
    mean = own[own["method"] == "map"]["psnr"].mean()
    assert float(row(found, "")["mean"]) == pytest.approx(mean)
    other = pd.read_csv(results.with_name("smoke.seed-2") / "metrics/map_fixed0.5_0.csv")
    assert float(row(found, "seed-2")["difference"]) == pytest.approx(other["psnr"].mean() - mean)
    page = (results / "report.html").read_text(encoding="utf-8")
    assert ">nan<" not in page and "4.11 Variants" in page and "fold 1 of 3" in page
    assert "solver.iterations: 4" in page and "in the training; the largest, " in page
    steps = pd.read_csv(results / "tables/steps.csv", keep_default_na=False)
    assert steps["variant"].tolist() == ["", "seed-2", "short"] and steps["iterations"].tolist() == [8, 8, 4]
    assert (0 < steps["low"]).all() and (steps["low"] <= steps["milliseconds"]).all()
    assert (steps["milliseconds"] <= steps["high"]).all()
    assert f"ms with T = 4 and {steps['milliseconds'].iloc[0]:.0f} ms with T = 8" in page
    n_steps = json.loads((results.with_name("smoke.short") / "model/training.json").read_text())["steps"]
    minutes = n_steps * steps["milliseconds"].iloc[2] / 60000
    assert float(row(found, "short")["training_minutes"]) == pytest.approx(minutes, rel=1e-12)
    course = pd.read_csv(results / "tables/courses.csv", keep_default_na=False)
    assert course["variant"].tolist() == [name for name in ("", "seed-2", "short") for _ in range(3)]
    grid = pd.read_csv(results / "grid/val_fixed0.5_0.csv")
    oracle = grid.groupby("id")["psnr"].max().mean()
    np.testing.assert_allclose(course["val_psnr"] - course["val_gain"], oracle, rtol=1e-12)
    history = pd.read_csv(results.with_name("smoke.short") / "model/history.csv")
    short = course[course["variant"] == "short"]
    assert short["val_psnr"].tolist() == history["val_psnr"].tolist()
    assert short["minutes"].iloc[-1] == pytest.approx(minutes, rel=1e-12)


def test_the_checks_count_the_maps_of_variants_that_have_no_others(results):
    """These are seed-2 and short; given, with another solver, is a study of its own with its own checks."""
    counted = pd.read_csv(results / "checks/checks.csv").set_index("check")["number"]
    own, part = (len(pd.read_csv(results / name)) for name in ("tables/per_image.csv", "metrics/test_fixed0.5_0.csv"))
    assert (
        own == part
        and counted["every method on every test image"] == own + 2 * counted["the grid covers every test image"]
    )
    assert (results.with_name("smoke.given") / "checks/checks.csv").is_file()


def test_provenance_has_the_training_of_every_variant_that_has_one(results):
    found = json.loads((results / "provenance.json").read_text())["variants"]
    folders = {name: results.with_name(f"smoke.{name}") for name in ("seed-2", "short")}
    assert found == {name: json.loads((folder / "model/training.json").read_text()) for name, folder in folders.items()}


def test_given_weights_are_used_and_nothing_is_trained(results):
    given = results.with_name("smoke.given")
    assert not (given / "model").exists()
    maps = [stacks.load(folder / "weights/test_fixed0.5_0_map.npz")["weight"] for folder in (results, given)]
    assert np.array_equal(*maps)
    images = [stacks.load(folder / "denoised/test_fixed0.5_0_map.npz")["images"] for folder in (results, given)]
    assert not np.array_equal(*images)


def test_another_seed_trains_another_network_on_the_same_images(results):
    other = results.with_name("smoke.seed-2")
    for name in ("manifest.csv", "noisy/test_fixed0.5_0.npz"):
        assert (results / name).read_bytes() == (other / name).read_bytes()
    assert (results / "model/last.safetensors").read_bytes() != (other / "model/last.safetensors").read_bytes()


def test_direct_network_is_trained_on_the_same_and_predicts_images(results):
    direct, ours = (json.loads((results / f"{name}/training.json").read_text()) for name in ("model_direct", "model"))
    assert direct["steps"] == ours["steps"] and direct["fingerprint"] != ours["fingerprint"]
    noisy, denoised = (
        stacks.load(results / name)["images"]
        for name in ("noisy/test_fixed0.5_0.npz", "denoised/test_fixed0.5_0_unet-direct.npz")
    )
    assert noisy.shape == denoised.shape and not np.array_equal(noisy, denoised)


def test_shares_of_the_way_to_the_oracle_map(results):
    summary = pd.read_csv(results / "tables/summary.csv").set_index("method")
    assert summary.loc["scalar-oracle-psnr", "share"] == 0 and summary.loc["map-oracle", "share"] == 1
    way = summary.loc["map-oracle", "psnr_mean"] - summary.loc["scalar-oracle-psnr", "psnr_mean"]
    gone = summary.loc["map", "psnr_mean"] - summary.loc["scalar-oracle-psnr", "psnr_mean"]
    assert summary.loc["map", "share"] == pytest.approx(gone / way)


def test_a_study_of_given_weights_reports_their_training(results):
    folder = results.parents[1]
    shutil.copytree(results / "model", folder / "given")
    shutil.copytree(results / "model_direct", folder / "direct")
    given = {"weights": str(folder / "given/last.safetensors")}
    given["weights_direct"] = str(folder / "direct/last.safetensors")
    same = {key: yaml.safe_load((folder / "change.yaml").read_text())[key] for key in ("data", "noise")}
    change = {"study": "later", "network": given, "baselines": ["unet-direct"], **same}
    run = smoke.snakemake(folder, change=change)
    assert run.returncode == 0, run.stdout[-5000:]
    later = folder / "results/later"
    assert not (later / "model").exists() and not (later / "model_direct").exists()
    images = [study / "denoised/test_fixed0.5_0_unet-direct.npz" for study in (later, results)]
    assert np.array_equal(*(stacks.load(path)["images"] for path in images))
    history = (later / "tables/training_history.csv").read_text()
    assert history == (results / "tables/training_history.csv").read_text()
    provenance = json.loads((later / "provenance.json").read_text())
    assert provenance["config"]["network"]["weights"] == "last.safetensors"
    assert provenance["training"]["weights_sha256"] in (later / "report.html").read_text()
    direct = provenance["training_direct"]
    assert direct["fingerprint"] == json.loads((results / "model_direct/training.json").read_text())["fingerprint"]
    assert direct["weights_sha256"] in (later / "report.html").read_text()
    assert str(folder) not in (later / "provenance.json").read_text()
    assert not {"train", "train_direct"} & set(pd.read_csv(later / "tables/times.csv")["step"])
    publish_study.main(later, folder / "published")
    assert not list((folder / "published").glob("model*")) and not (later / "tables/courses.csv").exists()

    (folder / "given/history.csv").rename(folder / "history.csv")
    run = smoke.snakemake(folder, "--dry-run", "--forceall", change=change)
    assert run.returncode != 0 and "given/history.csv is missing" in run.stdout
    (folder / "history.csv").rename(folder / "given/history.csv")

    for key, other, said in (("weights", "direct", "the image"), ("weights_direct", "given", "maps")):
        swapped = given | {key: str(folder / other / "last.safetensors")}
        run = smoke.snakemake(folder, "results/later/tables/summary.csv", change=change | {"network": swapped})
        assert run.returncode != 0 and "Traceback" not in run.stdout
        assert f"{other}/last.safetensors: weights of a network that predicts {said}" in run.stdout
