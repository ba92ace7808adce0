"""The profiles for clusters, without one: what is submitted, and the script that asks what became of a job."""

import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
import yaml
from smoke import ROOT, fresh, planned, snakemake

import time_steps

START = 4  # seconds that a job takes to start on Slurm
SOLVE = 0.01  # of one image with T = 256, by `make bench` (results/reference/bench), a fast CPU's
STATUS = ROOT / "workflow/profiles/generic/status.sh"
IMAGES = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["data"]["images"]
QUICK = "workflow/studies/quickstart.yaml"  # 16 test images asked for, of which there are 11


def seconds_an_image():
    """{rule: seconds that it took for each image}, of the published study on as many images of the same size."""
    times = pd.read_csv(ROOT / "results/reference/xray-fast/tables/times.csv").set_index("step")
    images = pd.Series(dict.fromkeys(times.index, IMAGES["test"])) * times["jobs"]
    images["prepare_images"] = sum(IMAGES.values())
    images["add_noise"] = images["search_grid"] = 2 * (IMAGES["val"] + IMAGES["test"])  # two protocols
    images["train"] = IMAGES["train"]
    each = times["seconds"] / images
    each["sweep_examples"] = each["search_grid"]  # the same solutions, of three images
    n_steps = json.loads((ROOT / "results/reference/xray-fast/model/training.json").read_text())["steps"]
    each["time_steps"] = (time_steps.WARM_UP + time_steps.ROUNDS) * times["seconds"]["train"] / n_steps
    each["explain_study"] = 2 * 8 * 4 * SOLVE  # 1, 2, 4, … 4T steps from two starts, λ and map, two protocols
    return each


def images_of(job, images=IMAGES):
    """Images that a job takes: those of its split, or its shard of them."""
    if job["rule"] in ("sweep_examples", "time_steps"):
        return {"sweep_examples": 3, "time_steps": 1}[job["rule"]]
    split = {"train": "train"}.get(job["rule"], job["wildcards"].get("split", "test"))
    return images[split] // int(job["wildcards"].get("scatteritem", "1-of-1").split("-of-")[1])


@pytest.mark.parametrize("profile", ["slurm", "generic"])
def test_no_job_of_the_dissertations_study_is_shorter_than_its_start(tmp_path, profile):
    settings = yaml.safe_load((ROOT / f"workflow/profiles/{profile}/config.yaml").read_text(encoding="utf-8"))
    jobs = planned(fresh(tmp_path), "--set-scatter", f"shard={settings['set-scatter']['shard']}")
    each = seconds_an_image()
    submitted = [(job["rule"], images_of(job), images_of(job) * each[job["rule"]]) for job in jobs if not job["local"]]
    assert {"train", "search_grid", "denoise_images", "explain_study"} <= {rule for rule, _, _ in submitted}
    assert [job for job in submitted if job[2] < START] == []
    assert sum(rule == "search_grid" for rule, _, _ in submitted) == 2 * (8 + 1), "and no fewer than are worth it"


def test_what_a_study_of_few_images_submits_is_no_shorter_than_its_start(tmp_path):
    """And what it does where Snakemake runs is short, if not always as short as that."""
    jobs = planned(fresh(tmp_path), "--configfile", QUICK)
    images = IMAGES | yaml.safe_load((ROOT / QUICK).read_text(encoding="utf-8"))["data"]["images"]
    each = seconds_an_image()
    took = [
        (job["rule"], job["local"], images_of(job, images) * each[job["rule"]]) for job in jobs if job["rule"] in each
    ]
    submitted = {rule for rule, local, _ in took if not local}
    assert submitted == {"train", "time_steps", "search_grid", "refine_grid", "explain_study"}
    assert submitted == {job["rule"] for job in jobs if not job["local"]}
    assert [job for job in took if job[0] in submitted and job[2] < START] == []
    assert [job for job in took if job[0] not in submitted and job[2] > 2 * START] == []


def test_what_a_study_of_rivals_submits_is_no_shorter_than_its_start_on_average(tmp_path):
    """As they took in the published study. Single jobs may be shorter: non-local means takes 4 s, BM3D 360."""
    files = ("workflow/studies/xray-tgv.yaml", "workflow/studies/evidence.yaml")
    folder = fresh(tmp_path)
    for model in ("xray-tgv/model", "unet-direct/model_direct"):  # the weights that the study is given
        shutil.copytree(ROOT / "results/reference" / model, folder / "results/reference" / model)
    jobs = planned(folder, "--configfile", *files)
    times = pd.read_csv(ROOT / "results/reference/evidence/tables/times.csv").set_index("step")
    submitted = {job["rule"] for job in jobs if not job["local"]}
    assert {"tune_classical", "denoise_classical", "choose_by_noise", "fit_oracle_maps", "denoise_direct"} <= submitted
    assert submitted <= {*times.index}
    assert not {"learn_scalars", "add_noise", "choose_scalars"} & submitted
    each = (times["seconds"] / times["jobs"])[sorted(submitted)]
    assert each[each < START].empty


def test_what_needs_a_gpu_is_submitted_however_short(tmp_path):
    (tmp_path / "gpu.yaml").write_text("device: auto")
    jobs = planned(fresh(tmp_path), "--configfile", QUICK, "gpu.yaml")
    assert {"predict_maps", "denoise_images"} <= {job["rule"] for job in jobs if not job["local"]}
    assert not any(job["local"] for job in jobs if "gpu" in job["resources"])


def test_a_large_study_is_not_prepared_where_snakemake_runs(tmp_path):
    (tmp_path / "large.yaml").write_text("data: { size: 512, images: { train: 5216, val: 16, test: 624 } }")
    jobs = planned(fresh(tmp_path), "--configfile", "large.yaml")
    of = {job["rule"]: job["local"] for job in jobs}
    assert not of["prepare_images"] and not of["add_noise"] and of["select_images"]


def test_a_job_that_is_submitted_again_may_take_longer_and_more_memory(tmp_path):
    """It may have run out of either: as that leaves no trace, each further try asks for as much again."""
    rules = fresh(tmp_path) / "workflow/rules/data.smk"
    rules.write_text(re.sub(r"^    message:\n        .*\n", "", rules.read_text(), flags=re.MULTILINE))
    (tmp_path / "workflow/scripts/prepare_images.py").write_text("raise SystemExit(1)\n")
    run = snakemake(tmp_path, "results/smoke/clean/val.npz", "--retries", "2")
    asked = re.findall(
        r"^localrule prepare_images:\n(?:    .*\n)*?    resources: .*runtime=(\d+), mem_mb=(\d+),",
        run.stdout,
        re.MULTILINE,
    )
    assert run.returncode == 1
    assert asked == [("30", "1000"), ("60", "2000"), ("90", "3000")], run.stdout[-3000:]


def status(path):
    """What status.sh says of a job where `path` is all of PATH."""
    return subprocess.run(["/bin/sh", STATUS, "7"], env={"PATH": str(path)}, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("printed", "code", "expected"),
    [
        ("echo COMPLETED", 0, "success"),
        ("echo PENDING", 0, "running"),
        ("echo RUNNING", 0, "running"),
        ("echo COMPLETING", 0, "running"),
        ("echo REQUEUE_HOLD", 0, "running"),
        ("echo CANCELLED", 0, "failed"),
        ("echo OUT_OF_MEMORY", 0, "failed"),
        ("echo NODE_FAIL", 0, "failed"),
        ("true", 0, "failed"),
        ("echo slurm_load_jobs error: Invalid job id specified >&2", 1, "failed"),
        ("echo slurm_load_jobs error: Unable to contact slurm controller >&2", 1, "running"),
    ],
)
def test_status_of_a_job(tmp_path, printed, code, expected):
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n{printed}\nexit {code}\n")
    (tmp_path / "squeue").chmod(0o755)
    run = status(tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"{expected}\n", "")


def test_without_squeue_no_job_counts_as_failed(tmp_path):
    run = status(tmp_path)
    assert run.returncode == 1 and run.stdout == ""
    assert "no squeue here" in run.stderr and "take cluster-generic-status-cmd out of the profile" in run.stderr
