"""The workflow run for real on tiny images: its results, what reruns and what does not, kills, bad input, its form."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from datetime import datetime

import crash
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
import yaml
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from smoke import ENVIRONMENT, RESULTS, ROOT, asked, command, copy, finished, fresh, made, snakemake

import train
from tvmap import figures, files, fingerprint, machine, network
from tvmap.methods import METHODS

SCRIPTS = ROOT / "workflow/scripts"
PROTOCOLS = ("fixed0.5", "uniform")
SCALARS = METHODS[1:4]
N_TEST, N_WEIGHTS = 4, 5
COLUMNS = {
    "per_image": "protocol,draw,id,patient,noise_level,method,weight_mean,psnr,ssim,gap,relative_gap",
    "grid": "protocol,draw,id,weight,psnr,ssim",
    "scalar_choice": "protocol,draw,id,weight_fixed,psnr_edge,weight_psnr,weight_psnr_fine,psnr_gain_fine,"
    "ssim_edge,weight_ssim,weight_ssim_fine,ssim_gain_fine",
    "summary": "protocol,method,n,psnr_mean,psnr_std,psnr_low,psnr_high,ssim_mean,ssim_std,ssim_low,ssim_high"
    ",gain,gain_low,gain_high,share,share_low,share_high",
    "gains": "protocol,baseline,metric,n,mean,std,low,high,win_rate,effect_size,p_value,p_holm",
    "gaps": "protocol,method,n,relative_gap_median,relative_gap_max,rms_bound,bound_to_error_median,bound_to_error_max",
    "by_level": "protocol,group,baseline,level_low,level_high,n,mean,low,high,win_rate",
    "training_history": "epoch,learning_rate,train_loss,val_loss,val_psnr,val_ssim",
    "times": "step,jobs,seconds,max_rss_mib,machine,versions,start,end",
    "convergence": "protocol,method,dual_start,iterations,psnr,relative_gap",
    "learned": "protocol,map,noise_std,detail,weight_low,weight,weight_high,n",
    "failures": "protocol,method,bin,detail,mse,n",
    "contrasts": "protocol,draw,id,contrast,noise_std",
    "steps": "variant,iterations,milliseconds,low,high,size,threads,precision,device",
    "courses": "variant,epoch,minutes,val_psnr,val_gain",
    "examples": "protocol,kind,id,noise_level,gain_db,psnr_noisy,psnr_scalar,psnr_map,weight_scalar",
}
ROWS = {
    "per_image": 2 * N_TEST * len(METHODS),
    "grid": 2 * N_TEST * N_WEIGHTS,
    "scalar_choice": 2 * N_TEST,
    "summary": 2 * len(METHODS),
    "gains": 2 * 4 * 2,
    "gaps": 2 * 4,
    "by_level": 4,  # one group of four images
    "training_history": 3,
    "times": 11,
    "examples": 2 * 3,
    "convergence": 2 * 2 * 2 * 7,  # 1, 2, 4, … 64 iterations
    "failures": 2 * 2 * 12,
    "contrasts": 2 * N_TEST,
    "steps": 1,
    "courses": 3,
    "learned": 2 * 3 * 12,  # relative noise: the levels of the images differ in both protocols
}
DIRECTIVES = (
    "input",
    "output",
    "log",
    "benchmark",
    "wildcard_constraints",
    "retries",
    "localrule",
    "conda",
    "threads",
    "resources",
    "params",
    "message",
    "script",
)
OPTIONAL = {"input", "wildcard_constraints", "retries", "localrule"}


@pytest.fixture
def results(tmp_path_factory):
    return finished(tmp_path_factory) / RESULTS


@pytest.fixture
def study(tmp_path_factory):
    return copy(tmp_path_factory)


def table(results, name):
    return pd.read_csv(results / f"tables/{name}.csv", dtype={"id": str, "patient": str})


def arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def jobs(run):
    """{rule: number of jobs} of a dry run."""
    assert run.returncode == 0, run.stdout
    if "Nothing to be done" in run.stdout:
        return {}
    stats = run.stdout.split("Job stats:\n")[1].split("\n\n")[0].splitlines()[2:]
    counts = {name: int(count) for name, count in map(str.split, stats)}
    assert counts.pop("total") == sum(counts.values())
    return counts


# --- results


def test_every_file_is_there_and_none_is_empty(results):
    config = json.loads((results / "provenance.json").read_text())["config"]
    names = [f"figures/{name}.{ending}" for name in figures.figures(config) for ending in ("png", "pdf")]
    names += [f"tables/{name}.csv" for name in COLUMNS]
    without = ("per_image", "grid", "convergence", "learned", "failures", "contrasts", "steps", "courses")
    names += [f"tables/{name}.md" for name in COLUMNS if name not in without]
    names += ["report.html", "explorer.html", "checks/checks.csv", "provenance.json", "manifest.csv"]
    names += [f"model/{name}" for name in ("last.safetensors", "best.safetensors", "history.csv", "training.json")]
    names += [f"examples/{protocol}.npz" for protocol in PROTOCOLS]
    assert len(names) == 2 * 18 + 16 + 8 + 5 + 4 + 2
    assert [name for name in names if not (results / name).is_file() or not (results / name).stat().st_size] == []


@pytest.mark.parametrize("name", COLUMNS)
def test_tables_have_their_columns_and_rows(results, name):
    found = table(results, name)
    assert set(found.columns) == set(COLUMNS[name].split(","))
    assert len(found) == ROWS[name]


def test_every_protocol_method_and_image_once(results):
    per_image, manifest = table(results, "per_image"), pd.read_csv(results / "manifest.csv", dtype=str)
    ids = manifest[manifest["split"] == "test"]["id"]
    expected = {(protocol, method, image_id) for protocol in PROTOCOLS for method in METHODS for image_id in ids}
    assert set(zip(per_image["protocol"], per_image["method"], per_image["id"], strict=True)) == expected
    assert manifest["split"].value_counts().to_dict() == {"train": 6, "val": 2, "test": 4}


def test_checks_hold_and_the_page_shows_every_figure(results):
    checks = pd.read_csv(results / "checks/checks.csv")
    assert checks["holds"][:-1].all() and checks["check"].iloc[-1].startswith("relative gap")  # for 16 steps too large
    page = (results / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(list((results / "figures").glob("*.png"))) == 18


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_psnr_and_ssim_are_those_of_scikit_image(results, protocol, method):
    clean = arrays(results / "clean/test.npz")
    denoised = arrays(results / f"denoised/test_{protocol}_0_{method}.npz")
    assert np.array_equal(clean["ids"], denoised["ids"])
    rows = table(results, "per_image").query("protocol == @protocol and method == @method").set_index("id")
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for image_id, x, y in zip(clean["ids"], clean["images"], denoised["images"], strict=True):
        x, y = x.astype(np.float64), y.astype(np.float64)
        assert rows.loc[image_id, "psnr"] == pytest.approx(peak_signal_noise_ratio(x, y, data_range=1), abs=1e-9)
        expected = structural_similarity(x, y, data_range=1, **window)
        assert rows.loc[image_id, "ssim"] == pytest.approx(expected, abs=1e-9)
        assert rows.loc[image_id, "gap"] == denoised["gap"][list(clean["ids"]).index(image_id)]


def test_noisy_is_the_noisy_image_and_weight_zero_of_the_grid(results):
    grid, per_image = table(results, "grid"), table(results, "per_image").query("method == 'noisy'")
    zero = grid[grid["weight"] == 0].merge(per_image, on=["protocol", "draw", "id"], suffixes=("", "_noisy"))
    assert len(zero) == 2 * N_TEST
    np.testing.assert_allclose(zero["psnr"], zero["psnr_noisy"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(zero["ssim"], zero["ssim_noisy"], rtol=0, atol=1e-9)
    for protocol in PROTOCOLS:
        noisy, same = (results / f"{folder}/test_{protocol}_0" for folder in ("noisy", "denoised"))
        assert np.array_equal(arrays(f"{noisy}.npz")["images"], arrays(f"{same}_noisy.npz")["images"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_fixed_weight_is_one_and_the_best_of_the_validation_grid(results, protocol):
    grid = pd.read_csv(results / f"grid/val_{protocol}_0.csv")
    assert grid["id"].nunique() == 2 and grid["weight"].nunique() == N_WEIGHTS
    best = grid.groupby("weight")["psnr"].mean().idxmax()
    weights = arrays(results / f"weights/test_{protocol}_0_scalar-fixed.npz")["weight"]
    assert weights.tolist() == [best] * N_TEST
    assert set(table(results, "scalar_choice").query("protocol == @protocol")["weight_fixed"]) == {best}


@pytest.mark.parametrize("metric", ["psnr", "ssim"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_oracles_are_the_best_of_each_image(results, protocol, metric):
    grid = table(results, "grid").query("protocol == @protocol")
    stack = arrays(results / f"weights/test_{protocol}_0_scalar-oracle-{metric}.npz")
    choice = table(results, "scalar_choice").query("protocol == @protocol").set_index("id")
    for image_id, weight in zip(stack["ids"], stack["weight"], strict=True):
        curve = grid[grid["id"] == image_id].set_index("weight")[metric]
        assert weight == curve.idxmax() == choice.loc[image_id, f"weight_{metric}"]
        assert choice.loc[image_id, f"{metric}_edge"] == (weight in (curve.index.min(), curve.index.max()))
        assert choice.loc[image_id, f"{metric}_gain_fine"] >= -1e-9
    assert len(set(stack["weight"])) > 1, "these images do not tell an oracle from one weight for all"


def test_scalars_score_what_the_grid_says(results):
    grid, per_image = table(results, "grid"), table(results, "per_image")
    scalars = per_image[per_image["method"].isin(SCALARS)].rename(columns={"weight_mean": "weight"})
    both = scalars.merge(grid, on=["protocol", "draw", "id", "weight"], suffixes=("", "_grid"))
    assert len(both) == 2 * N_TEST * len(SCALARS)
    np.testing.assert_allclose(both["psnr"], both["psnr_grid"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(both["ssim"], both["ssim_grid"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_maps_are_those_of_the_trained_network(results, protocol):
    noisy = arrays(results / f"noisy/test_{protocol}_0.npz")
    model = network.load_network(results / "model/last.safetensors")
    expected = network.predict(model, torch.from_numpy(noisy["images"])[:, None]).numpy()
    found = arrays(results / f"weights/test_{protocol}_0_map.npz")
    assert found["weight"].shape == (N_TEST, 1, 32, 32) and np.array_equal(found["ids"], noisy["ids"])
    assert found["weight"].std() > 0
    np.testing.assert_allclose(found["weight"], expected, rtol=1e-4, atol=1e-7)
    untrained = network.predict(network.build(seed=42), torch.from_numpy(noisy["images"])[:, None]).numpy()
    assert not np.allclose(found["weight"], untrained, rtol=1e-3), "the training changed nothing"


def test_summary_is_what_pandas_says(results):
    groups = table(results, "per_image").groupby(["protocol", "method"])
    summary = table(results, "summary").set_index(["protocol", "method"])
    assert (summary["n"] == N_TEST).all()
    for metric in ("psnr", "ssim"):
        mean, low, high = (summary[f"{metric}_{name}"] for name in ("mean", "low", "high"))
        np.testing.assert_allclose(mean, groups[metric].mean()[summary.index], rtol=1e-12)
        np.testing.assert_allclose(summary[f"{metric}_std"], groups[metric].std()[summary.index], rtol=1e-12)
        assert ((low <= mean) & (mean <= high) & (low < high)).all()


def test_gains_are_paired_differences(results):
    per_image = table(results, "per_image")
    values = per_image.pivot(index=["protocol", "id"], columns="method")
    patients = per_image.drop_duplicates("id").set_index("id")["patient"]
    gains = table(results, "gains")
    for row in gains.itertuples():
        difference = (values[row.metric]["map"] - values[row.metric][row.baseline])[row.protocol]
        assert row.n == len(difference)
        assert (row.mean, row.std) == pytest.approx((difference.mean(), difference.std()), rel=1e-9)
        assert row.win_rate == (difference > 0).mean()
        of_patients = difference.groupby(patients).mean()
        assert row.effect_size == pytest.approx(of_patients.mean() / of_patients.std())
        assert row.p_value == pytest.approx(scipy.stats.wilcoxon(of_patients).pvalue)
        assert row.p_value <= row.p_holm <= min(1, len(PROTOCOLS) * row.p_value)


def test_every_solution_has_a_gap_that_is_not_negative(results):
    per_image = table(results, "per_image")
    assert (per_image["gap"] >= 0).all()
    assert (per_image.query("method != 'noisy' and weight_mean > 0")["gap"] > 0).all()
    assert np.allclose(per_image.query("method == 'noisy'")["gap"], 0, atol=1e-6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_examples_are_the_median_best_and_worst_gain(results, protocol):
    psnr = table(results, "per_image").query("protocol == @protocol").pivot(index="id", columns="method", values="psnr")
    gain = psnr["map"] - psnr["scalar-oracle-psnr"]
    rows = table(results, "examples").query("protocol == @protocol").set_index("kind")
    assert rows.loc["best", "id"] == gain.idxmax() and rows.loc["worst", "id"] == gain.idxmin()
    assert rows.loc["median", "id"] in gain.sort_values().index[1:3]
    np.testing.assert_allclose(rows["gain_db"], gain[rows["id"]], rtol=1e-9)
    pixels = arrays(results / f"examples/{protocol}.npz")
    assert pixels["kinds"].tolist() == ["median", "best", "worst"]
    assert pixels["ids"].tolist() == rows.loc[pixels["kinds"], "id"].tolist()
    clean = arrays(results / "clean/test.npz")
    position = [list(clean["ids"]).index(image_id) for image_id in pixels["ids"]]
    assert np.array_equal(pixels["clean"], clean["images"][position])


def test_no_place_of_this_machine_is_in_the_results(results):
    names = ["provenance.json", "manifest.csv", "report.html", *(f"tables/{name}.csv" for name in COLUMNS)]
    for name in names:
        text = (results / name).read_text(encoding="utf-8")
        assert str(results.parents[1]) not in text and str(ROOT) not in text, name


def test_provenance_says_by_which_code_from_which_seed_when_and_where(results):
    found = json.loads((results / "provenance.json").read_text())
    scripts = {*rules(), *(figure.script for figure in figures.figures(found["config"]).values())}
    assert found["code"] == {
        "scripts": fingerprint.common_version(SCRIPTS / f"{name}.py" for name in scripts),
        "commit": None,  # a copy of the files
        "changed": None,
    }
    training = found["training"]
    assert training["code_version"] == fingerprint.code_version(SCRIPTS / "train.py")
    assert training["machine"] == machine.description()
    assert found["seed"] == 42
    times = table(results, "times")
    assert found["machines"] == {machine.in_words(machine.description()): times["step"].tolist()}
    of_rivals = {"bm3d", "pywt", "sklearn"}  # of which there is none
    assert found["versions"] == machine.versions({*machine.PACKAGES.values()} - of_rivals)
    torch = times.set_index("step")["versions"].str.contains("torch")
    assert torch["train"] and torch["search_grid"] and not torch["add_noise"]  # as their environments
    chosen, collected = (os.stat(results / name).st_mtime for name in ("manifest.csv", "tables/times.csv"))
    first, ended, last = (
        datetime.fromisoformat(time).timestamp()
        for time in (found["times"]["start"], training["ended"], found["times"]["end"])
    )
    assert chosen - 900 < first < chosen < ended < last < collected


# --- what reruns


def test_second_run_has_nothing_to_do(study):
    before = {path: path.stat().st_mtime_ns for path in (study / RESULTS).rglob("*")}
    run = snakemake(study)
    assert run.returncode == 0 and "Nothing to be done" in run.stdout
    assert {path: path.stat().st_mtime_ns for path in (study / RESULTS).rglob("*")} == before


def test_comments_and_docstrings_of_modules_rerun_nothing(study):
    modules = sorted((study / "workflow/scripts/tvmap").glob("*.py"))
    for path in [*modules, *(study / "workflow/scripts").glob("draw_[!f]*.py")]:  # what scripts import
        text = path.read_text()
        assert text.startswith('"""')
        path.write_text(text.replace('"""', '"""In other words: ', 1) + "\n# a comment\n")
    assert len(modules) > 20
    assert jobs(snakemake(study, "--dry-run")) == {}


def test_scripts_that_are_younger_but_the_same_rerun_nothing_where_their_age_is_left_out(study):
    """As after `git switch` to another commit and back; the other reasons still tell changed code."""
    readme = (study / "README.md").read_text(encoding="utf-8")
    triggers = re.search(r"`(--rerun-triggers [\w -]+)`", readme)[1].split()
    for path in (study / "workflow/scripts").rglob("*.py"):
        path.touch()
    assert "search_grid" in jobs(snakemake(study, "--dry-run"))
    assert jobs(snakemake(study, "--dry-run", *triggers)) == {}
    path = study / "workflow/scripts/search_grid.py"
    path.write_text(path.read_text() + "\n\nLATER = 1\n")
    assert jobs(snakemake(study, "--dry-run", *triggers))["search_grid"] > 0
    for profile in ("slurm", "generic"):
        settings = yaml.safe_load((study / f"workflow/profiles/{profile}/config.yaml").read_text(encoding="utf-8"))
        assert settings["rerun-triggers"] == triggers[1:]


TABLES = {"collect_tables": 1, "pick_examples": 1, "check_study": 1, "draw_figure": 11, "build_report": 1, "all": 1}
TABLES |= {"sweep_examples": 2, "build_explorer": 1}
MEASURED = {**TABLES, "draw_figure": 12, "measure_images": 2, "collect_times": 1}  # the twelfth figure shows the times
MEASURED |= {"write_provenance": 1}  # which says when and where
EXPLAINED = {**MEASURED, "explain_study": 1, "draw_figure": 14}  # two figures show convergence and the maps
CHOSEN = {**EXPLAINED, "choose_scalars": 2, "denoise_images": 8}
TRAINED = {**EXPLAINED, "train": 1, "predict_maps": 2, "denoise_images": 2}
TRAINED |= {"collect_courses": 1, "draw_figure": 15}
CHANGED_CODE = [
    (
        "tvmap/metrics.py",
        "0.01 * data_range",
        "0.02 * data_range",
        {
            **CHOSEN,
            **TRAINED,
            "time_steps": 1,
            "search_grid": 8,
            "gather_grid": 4,
            "refine_grid": 2,
            "denoise_images": 10,
        },
    ),
    ("tvmap/intervals.py", '"bootstrap"', '"intervals"', TABLES),
    ("tvmap/page.py", "import base64", "import base64\n\nEXTRA = 1", {"build_report": 1, "all": 1}),
    ("draw_boxes.py", "from tvmap", "import json\n\nfrom tvmap", {"draw_figure": 1, "build_report": 1, "all": 1}),
    (
        "tvmap/grid.py",
        "round(10)",
        "round(9)",
        {**CHOSEN, "search_grid": 8, "gather_grid": 4, "refine_grid": 2, "collect_courses": 1, "draw_figure": 15},
    ),
]
CHANGED_SETTINGS = [
    ({"report": {"bootstrap": 300}}, {**TABLES, "write_provenance": 1}),
    ({"grid": {"refine": 8}}, {**CHOSEN, "refine_grid": 2, "write_provenance": 1}),
    ({"training": {"epochs": 4}}, {**TRAINED, "time_steps": 1}),
    ({"training": {"checkpoint_seconds": 9}}, {"write_provenance": 1, "build_report": 1, "all": 1}),
    (
        {"noise": {"protocols": {"uniform": [0.1, 0.4]}}},  # the training validates with the other one
        {
            **EXPLAINED,
            "add_noise": 2,
            "search_grid": 4,
            "gather_grid": 2,
            "refine_grid": 1,
            "choose_scalars": 1,
            "predict_maps": 1,
            "denoise_images": 5,
            "measure_images": 1,
        },
    ),
    (
        {"noise": {"protocols": {"fixed0.5": 0.4}}},
        {
            **TRAINED,
            "add_noise": 2,
            "search_grid": 4,
            "gather_grid": 2,
            "refine_grid": 1,
            "choose_scalars": 1,
            "denoise_images": 6,
        },
    ),
]


@pytest.mark.parametrize(("name", "old", "new", "expected"), CHANGED_CODE)
def test_changed_code_reruns_exactly_what_depends_on_it(study, name, old, new, expected):
    path = study / "workflow/scripts" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = jobs(snakemake(study, "--dry-run"))
    expected = expected | {"write_provenance": 1}  # names the code of the study
    if "draw_figure" in expected and name.startswith("tvmap"):  # which figures use a module is not the point here
        assert found.pop("draw_figure") >= expected["draw_figure"]
        expected = {rule: count for rule, count in expected.items() if rule != "draw_figure"}
    assert found == expected


@pytest.mark.parametrize(("change", "expected"), CHANGED_SETTINGS)
def test_changed_setting_reruns_exactly_what_depends_on_it(study, change, expected):
    found = jobs(snakemake(study, "--dry-run", change=change))
    if "noise" in change:  # three figures name the level in their titles whatever is measured
        assert found.pop("draw_figure") >= 9
        expected = {rule: count for rule, count in expected.items() if rule != "draw_figure"}
    assert found == expected


def test_other_shards_make_other_shards_only(tmp_path):
    """Two protocols, three shards of the test images, no more than the two images of val: ten searches, either way."""
    folder = fresh(tmp_path)
    for arguments, change in ((["--set-scatter", "shard=3"], None), ([], {"grid": {"shards": 3}})):
        assert jobs(snakemake(folder, "--dry-run", *arguments, change=change))["search_grid"] == 10


def test_a_run_on_one_core_with_other_shards_gives_the_same_bytes(tmp_path, results):
    """The whole study, all but what says how long things took: the network computes on two threads all the same."""
    folder = fresh(tmp_path)
    run = snakemake(folder, "--set-scatter", "shard=3", cores=1)
    assert run.returncode == 0, run.stdout[-5000:]
    assert "training.threads is 2, and as many run on 1 core(s)" in run.stdout
    made = {path.relative_to(folder / RESULTS) for path in (folder / RESULTS).rglob("*") if path.is_file()}
    skipped, timed = {"logs", "benchmarks", "trained", "shards"}, {"training.json", "provenance.json", "report.html"}
    made = {path for path in made if path.stem not in ("times", "steps", "courses") and path.name not in timed}
    compared = {path for path in made if not set(path.parts) & skipped}
    assert len(list((folder / RESULTS / "grid/shards").glob("test_*.csv"))) == 6
    assert len(compared) > 90 and {path.suffix for path in compared} >= {
        ".npz",
        ".csv",
        ".safetensors",
        ".png",
        ".html",
    }
    assert [path for path in compared if (folder / RESULTS / path).read_bytes() != (results / path).read_bytes()] == []


def test_tables_made_again_on_one_core_have_the_same_bytes(study, results):
    names = [f"{RESULTS}/tables/{name}" for name in ("summary.csv", "examples.csv", "learned.csv")]
    rules = ["measure_images", "collect_tables", "pick_examples", "explain_study"]
    run = snakemake(study, *names, "--forcerun", *rules, cores=1)
    assert run.returncode == 0, run.stdout[-5000:]
    again = [path for path in (study / RESULTS / "tables").iterdir() if path.stem not in ("times", "steps", "courses")]
    assert len(again) == 13 + 7
    for path in [*again, *(study / RESULTS / "examples").iterdir()]:
        original = results / path.relative_to(study / RESULTS)
        assert path.stat().st_mtime_ns > original.stat().st_mtime_ns and path.read_bytes() == original.read_bytes()


# --- nothing stale is used

DYING = """
import pathlib
if pathlib.Path("die").exists():
    raise SystemExit("dead")
"""


def test_all_that_a_study_has_made_is_asked_for(study):
    assert asked(study) == made(study)


def test_what_a_job_that_died_removed_is_made_again_and_all_that_came_of_it(study):
    """What came of the old file is still there, and newer than all that the job reads."""
    script = study / "workflow/scripts/choose_scalars.py"
    script.write_text(script.read_text() + DYING)
    (study / "die").touch()
    run = snakemake(study)
    assert run.returncode == 1 and "Error in rule choose_scalars" in run.stdout
    assert not list((study / RESULTS / "scalars").glob("*")) and (study / RESULTS / "report.html").exists()
    (study / "die").unlink()
    again = jobs(snakemake(study, "--dry-run"))
    assert again["choose_scalars"] == 2 and again["denoise_images"] == 8 and again["measure_images"] == 2
    assert "search_grid" not in again and "train" not in again


@pytest.mark.parametrize("source", ["archive", "mendeley"])
def test_an_archive_that_is_copied_or_touched_is_the_same_and_one_with_another_image_is_not(tmp_path, source):
    fresh(tmp_path)
    original = crash.archive()
    data = {"source": source, "val_ids": ["IM-0006-0001"], "images": {"train": 3, "val": 1, "test": 2}}
    if source == "archive":
        data["archive"] = "resources/images.zip"
    else:
        facts = {"bytes": len(original), "sha256": hashlib.sha256(original).hexdigest()}
        data["mendeley"] = {"url": "http://127.0.0.1:9/images.zip", "filename": "images.zip", **facts}
    (tmp_path / "resources").mkdir()
    path = tmp_path / "resources/images.zip"
    path.write_bytes(original)
    targets = [f"{RESULTS}/clean/{split}.npz" for split in ("train", "val", "test")]
    run = snakemake(tmp_path, *targets, change={"data": data})
    assert run.returncode == 0, run.stdout[-5000:]
    time.sleep(0.01)
    path.touch()
    assert jobs(snakemake(tmp_path, "--dry-run", *targets, change={"data": data})) == {}
    with zipfile.ZipFile(io.BytesIO(original)) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.infolist():
            pixels = old.read("chest_xray/train/NORMAL/IM-0003-0001.jpeg" if "0002" in member.filename else member)
            new.writestr(member, pixels)
    if source == "mendeley":
        data["mendeley"] |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    again = jobs(snakemake(tmp_path, "--dry-run", *targets, change={"data": data}))
    assert again["select_images"] == 1 and again["prepare_images"] == 3


@pytest.mark.parametrize("fact", ["bytes", "sha256", "record"])
def test_another_archive_where_the_download_lies_is_said(tmp_path, fact):
    folder, original = fresh(tmp_path), crash.archive()
    path = folder / "resources/images.zip"
    path.parent.mkdir()
    path.write_bytes(original)
    facts = {"bytes": None, "sha256": None, "url": "http://127.0.0.1:9/images.zip", "filename": path.name}
    of_another = {"bytes": len(original) + 1, "sha256": 64 * "0", "record": None}[fact]
    if fact == "record":
        (path.parent / "downloads").mkdir()
        (path.parent / "downloads/images.zip.sha256").write_text(64 * "0")  # where retrieve_archive leaves it
    else:
        facts[fact] = of_another
    change = {"data": {"source": "mendeley", "mendeley": facts, "val_ids": ["IM-0006-0001"]}}
    run = snakemake(folder, f"{RESULTS}/manifest.csv", change=change)
    said = {"record": "resources/downloads/images.zip.sha256"}.get(fact, f"config data.mendeley.{fact}")
    the_one_line(run, f"resources/images.zip: is another file than {said} says; delete it to download it anew")


# --- the training is never lost


MODEL = ("last.safetensors", "best.safetensors", "history.csv")


def contents(folder):
    return {name: (folder / RESULTS / "model" / name).read_bytes() for name in MODEL}


def test_a_finished_training_is_taken_from_the_store(study):
    before = contents(study)
    for path in (study / RESULTS / "model").iterdir():
        path.unlink()
    run = snakemake(study, f"{RESULTS}/model/last.safetensors")
    assert run.returncode == 0, run.stdout[-5000:]
    assert f"was finished before: taken from {RESULTS}/trained/" in run.stdout
    assert "was finished before" in (study / RESULTS / "logs/train.log").read_text()
    assert "epoch 1/" not in run.stdout and contents(study) == before


@pytest.mark.parametrize("harm", ["a byte", "cut", "missing", "the sums"])
def test_a_finished_training_that_was_damaged_in_the_store_is_not_used(tmp_path_factory, harm):
    study = copy(tmp_path_factory)
    before = contents(study)
    for path in (study / RESULTS / "model").iterdir():
        path.unlink()
    (kept,) = (study / RESULTS / "trained").glob("*/best.safetensors")
    data = kept.read_bytes()
    if harm == "a byte":
        kept.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    elif harm == "cut":
        kept.write_bytes(data[:-9])
    else:
        (kept if harm == "missing" else kept.with_name("sha256.json")).unlink()
    run = snakemake(study, f"{RESULTS}/model/last.safetensors")
    assert run.returncode == 0 and "Traceback" not in run.stdout, run.stdout[-5000:]
    folder = kept.parent.relative_to(study)
    assert f"{folder}: damaged since it was written; set aside as {folder}.damaged and trained anew" in run.stdout
    assert "resuming" in run.stdout and "was finished before" not in run.stdout and contents(study) == before
    assert (study / f"{folder}.damaged").is_dir() and files.is_intact(kept.parent, train.FILES)


def test_a_training_of_another_machine_without_snakemake_is_taken_from_the_store(tmp_path_factory):
    study = copy(tmp_path_factory)
    change = {"seed": 7}
    job = f"{RESULTS}/training_job.json"
    described = snakemake(study, job, change=change)
    assert described.returncode == 0, described.stdout[-5000:]
    elsewhere = [sys.executable, "workflow/scripts/train.py", job, "--device", "cpu"]
    trained = subprocess.run(elsewhere, cwd=study, env=ENVIRONMENT, capture_output=True, text=True)
    assert trained.returncode == 0 and "epoch 3/3" in trained.stderr, trained.stderr
    run = snakemake(study, f"{RESULTS}/model/last.safetensors", change=change)
    assert run.returncode == 0 and "was finished before" in run.stdout and "epoch 1/" not in run.stdout


def test_a_training_killed_with_its_workflow_goes_on_and_ends_with_the_same_bytes(tmp_path_factory):
    """Also what a user meets on the way: the lock that a kill leaves, and the message that tells how to remove it."""
    whole, killed = copy(tmp_path_factory), copy(tmp_path_factory)
    target, options = (
        f"{RESULTS}/model/last.safetensors",
        {"change": {"training": {"epochs": 30, "learning_rate": 0.0001}}},
    )
    process = subprocess.Popen(
        command(killed, target, **options),
        cwd=killed,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    store = killed / RESULTS / "trained"
    while process.poll() is None and not list(store.glob("*.unfinished/checkpoint.pt")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(list(store.glob("*.unfinished"))) == 1 and not (killed / target).exists()

    locked = snakemake(killed, target, **options)
    assert locked.returncode == 1 and "--unlock" in locked.stdout and "kill signal" in locked.stdout
    assert snakemake(killed, target, "--unlock", **options).returncode == 0
    resumed = snakemake(killed, target, "--rerun-incomplete", **options)
    assert resumed.returncode == 0, resumed.stdout[-5000:]
    step, steps = map(int, re.search(r"resuming after step (\d+) of (\d+)", resumed.stdout).groups())
    assert 0 < step < steps == 90
    assert not list(store.glob("*.unfinished"))

    undisturbed = snakemake(whole, target, **options)
    assert undisturbed.returncode == 0 and "resuming" not in undisturbed.stdout
    assert contents(killed) == contents(whole)
    assert len((whole / RESULTS / "model/history.csv").read_text().splitlines()) == 31


# --- bad input: one line that names the file or the key and says what to do


def the_one_line(run, *parts):
    """The line of the output with all `parts`; there must be exactly one, and no traceback."""
    assert run.returncode == 1, run.stdout
    assert "Traceback" not in run.stdout and "unexpected error" not in run.stdout, run.stdout
    lines = [line for line in run.stdout.splitlines() if all(part in line for part in parts)]
    assert len(lines) == 1, run.stdout
    assert not re.search(r"0x[0-9a-f]{6}", lines[0]), "an address in memory tells nobody anything"
    return lines[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A fresh copy of the repository for runs that fail."""
    return fresh(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"noise": {"train_level": float("nan")}}, ["noise.train_level", "nan", "give a finite one"]),
        ({"training": {"epoch": 3}}, ["training.epoch ", "did you mean training.epochs?"]),
        ({"noise": None}, ["noise: None", "the Gaussian noise"]),
        ({"noise": {"protocols": 0.5}}, ["noise.protocols: ", "named noise levels"]),
        ({"grid": {"values": 1}}, ["grid.values", "1 is less than", "at least 2"]),
        ({"data": {"source": "archive", "archive": "no.zip"}}, ["data.archive", "'no.zip'", "give it with"]),
        ({"data": {"source": "folder", "folder": "nowhere"}}, ["data.folder", "'nowhere'", "give it with"]),
    ],
)
def test_bad_configuration(place, change, parts):
    the_one_line(snakemake(place, "--dry-run", change=change), *parts)


def jpeg(seed):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (60, 50), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def archive(path, extra):
    """A zip with a few images a split and the members `extra`."""
    with zipfile.ZipFile(path, "w") as file:
        for split, count in (("train", 4), ("val", 2), ("test", 3)):
            for index in range(count):
                name = f"chest_xray/{split}/NORMAL/{split}{index}.jpeg"
                file.writestr(name, jpeg(seed=sum(map(ord, name))))
        for name, data in extra.items():
            file.writestr(f"chest_xray/{name}", data)


@pytest.mark.parametrize(
    ("study", "extra", "parts", "log"),
    [
        ("nozip", None, ["nozip.zip: is no readable zip archive", "fetch it again"], "select_images.log"),
        ("flipped", {}, ["flipped.zip: ", "cannot be unpacked", "fetch the archive again"], "select_images.log"),
        (
            "cut",
            {"test/NORMAL/cut.jpeg": jpeg(99)[:500]},
            ["test/NORMAL/cut.jpeg: ", "truncated", "replace it or leave it out"],
            "prepare_images/test.log",
        ),
        (
            "text",
            {"train/NORMAL/notes.jpeg": b"these are notes, no image"},
            ["train/NORMAL/notes.jpeg: cannot be read as an image", "replace it or leave it out"],
            "prepare_images/train.log",
        ),
    ],
)
def test_bad_archive(place, study, extra, parts, log):
    path = place / f"{study}.zip"
    if extra is None:
        path.write_text("this is text")
    else:
        archive(path, extra)
    if study == "flipped":
        data = bytearray(path.read_bytes())
        data[300] ^= 255
        path.write_bytes(data)
    change = {"study": study, "data": {"source": "archive", "archive": path.name}}
    targets = [f"results/{study}/clean/{split}.npz" for split in ("train", "test")]
    line = the_one_line(snakemake(place, *targets, change=change), *parts)
    assert line.split("ERROR ")[1] in (place / f"results/{study}/logs" / log).read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"source": "archive", "archive": "{a}.zip"}},
        {"data": {"manifest": "{a}.zip"}},
        {"network": {"weights": "{a}.zip"}},
        {"network": {"weights_direct": "{a}.zip"}},
    ],
)
def test_braces_in_a_path_that_is_given(place, change):
    archive(place / "{a}.zip", {})
    the_one_line(
        snakemake(place, "--dry-run", change=change),
        "{a}.zip: Snakemake takes braces in a name for a wildcard; rename it",
    )


def test_a_study_of_a_folder_reads_its_images_and_again_where_one_has_changed(tmp_path):
    folder, scans = fresh(tmp_path / "study"), tmp_path / "scans"
    scans.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(scans / f"IM-{number:04d}-0001.png")
    change, manifest = {"data": {"source": "folder", "folder": str(scans)}}, f"{RESULTS}/manifest.csv"
    assert jobs(snakemake(folder, "--dry-run", change=change))["search_grid"] == 8
    run = snakemake(folder, f"{RESULTS}/clean/train.npz", change=change)
    assert run.returncode == 0, run.stdout[-3000:]
    assert jobs(snakemake(folder, manifest, "--dry-run", change=change)) == {}
    scan = scans / "IM-0003-0001.png"
    for age in (0, 10**6):  # an older file is another image, too
        Image.fromarray(255 - pixels).save(scan)
        os.utime(scan, (time.time() - age,) * 2)
        assert jobs(snakemake(folder, manifest, "--dry-run", change=change)) == {"select_images": 1}


def test_folder_without_images(place):
    (place / "letters").mkdir()
    (place / "letters/a.txt").write_text("text")
    change = {"study": "letters", "data": {"source": "folder", "folder": "letters"}}
    run = snakemake(place, "results/letters/clean/test.npz", change=change)
    the_one_line(run, "data.folder", "letters holds no image")


@pytest.mark.parametrize(
    ("name", "target", "parts"),
    [
        ("clean/test.npz", "noisy/test_uniform_0.npz", ["not a readable array file", "delete it and run again"]),
        ("model/last.safetensors", "weights/test_uniform_0_map.npz", ["not the weights of this network", "train"]),
    ],
)
def test_damaged_file_of_the_study(study, name, target, parts):
    path = study / RESULTS / name
    path.write_bytes(path.read_bytes()[:3000])
    line = the_one_line(snakemake(study, f"{RESULTS}/{target}"), f"{RESULTS}/{name}: ", *parts)
    logs = "".join(log.read_text() for log in (study / RESULTS / "logs").rglob("*.log"))
    assert line.split("ERROR ")[1] in logs
    assert not (study / RESULTS / target).exists(), "no result of an earlier run may pass for one of this"


# --- Snakemake's own report, and the form of the rules


def test_report_of_snakemake(study):
    run = snakemake(study, "--report", "report.html")
    assert run.returncode == 0, run.stdout
    page = (study / "report.html").read_text(encoding="utf-8")
    for name in ("figure7_boxes", "summary.csv", "Figures", "Tables"):
        assert name in page
    assert len(page) > 1e6


def test_lint_finds_nothing(place):
    run = snakemake(place, "--lint")
    assert run.returncode == 0 and "Congratulations" in run.stdout, run.stdout


def rules():
    """{name: directives in their order} of every rule of the workflow."""
    found = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for name, body in re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", path.read_text(), re.MULTILINE):
            found[name] = re.findall(r"^    (\w+):", body, re.MULTILINE)
    return found


def test_directives_are_complete_and_in_one_order():
    assert len(rules()) == 34
    for name, directives in rules().items():
        assert directives == [directive for directive in DIRECTIVES if directive in directives], name
        assert set(DIRECTIVES) - set(directives) <= OPTIONAL, name


def test_snakefile_is_short():
    assert len((ROOT / "Snakefile").read_text().splitlines()) < 40


def test_smoke_settings_are_those_the_tests_count_on():
    config = yaml.safe_load((ROOT / "tests/smoke.yaml").read_text())
    assert (config["data"]["images"]["test"], config["grid"]["values"]) == (N_TEST, N_WEIGHTS)
    assert config["training"]["checkpoint_seconds"] == 0
    assert config["training"]["threads"] == 2, "more than the core of a test: the bits do not depend on the cores"
