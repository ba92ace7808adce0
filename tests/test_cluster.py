"""The small study on a real one-node Slurm (`slurm.sh`): where each job ran, the GPU, a job cancelled midway."""

import re
import shutil
import subprocess
import sys
import tempfile
import time

import pytest
import yaml
from smoke import ENVIRONMENT, RESULTS, ROOT, finished, fresh, program

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

SAME = ("tables/per_image.csv", "tables/grid.csv", "tables/summary.csv", "tables/training_history.csv")
ACCOUNT = "imaging"
LONG = {"device": "auto", "training": {"epochs": 40}}  # so that the training is still running when it is cancelled


@pytest.fixture(scope="module")
def cluster():
    folder = tempfile.mkdtemp(prefix="slurm-")  # pytest's own folders are closed to the user munge
    try:
        subprocess.run([ROOT / "tests/slurm.sh", "start", folder], check=True)
        yield
    finally:
        subprocess.run([ROOT / "tests/slurm.sh", "stop", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)  # a step of a job may still be writing there


def jobs():
    """What Slurm knows of every job, old ones included: {number: {field: value}}."""
    lines = subprocess.run(
        ["scontrol", "--details", "show", "jobs", "--oneliner"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = [dict(re.findall(r"(\w+(?:/\w+)?)=(\S*)", line)) for line in lines if line.startswith("JobId=")]
    return {int(job["JobId"]): job for job in found}


def rule_of(job):
    return re.sub(r"^rule_|_wildcards.*$", "", job.get("Comment", ""))


def submitted(folder, profile, change=None):
    """Arguments of Snakemake that submit the small study by a profile."""
    files = ["tests/smoke.yaml"]
    if change:
        (folder / "change.yaml").write_text(yaml.safe_dump(change))
        files.append("change.yaml")
    where = ["--profile", f"workflow/profiles/{profile}", "--configfile", *files]
    return [sys.executable, "-m", "snakemake", *where, "--set-scatter", "shard=2", "--latency-wait", "10"]


def wait_for(condition, seconds, process, log):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None and time.monotonic() < end, log.read_text()[-5000:]
        time.sleep(0.1)
    return found


def test_a_job_cancelled_midway_leaves_the_study_as_if_nothing_had_happened(cluster, tmp_path):
    undisturbed, folder = (fresh(tmp_path / name) for name in ("undisturbed", "submitted"))
    (undisturbed / "change.yaml").write_text(yaml.safe_dump(LONG))
    files = ["--configfile", "tests/smoke.yaml", "change.yaml"]
    run = program(undisturbed, sys.executable, "-m", "snakemake", "--cores", "2", *files)
    assert run.returncode == 0, run.stdout[-5000:]

    profile = folder / "workflow/profiles/slurm/config.yaml"
    text = profile.read_text()
    assert text.count("# slurm_account: NAME") == 1  # what the README tells its reader to put in
    profile.write_text(text.replace("# slurm_account: NAME", f"slurm_account: {ACCOUNT}"))
    log = tmp_path / "log.txt"
    with open(log, "w") as file:
        process = subprocess.Popen(
            submitted(folder, "slurm", LONG), cwd=folder, env=ENVIRONMENT, stdout=file, stderr=file
        )
        try:
            history = wait_for(
                lambda: next(iter((folder / RESULTS).glob("trained/*.unfinished/history.csv")), None), 300, process, log
            )
            wait_for(lambda: history.exists() and len(history.read_text().splitlines()) > 3, 60, process, log)
            (training,) = (
                number for number, job in jobs().items() if rule_of(job) == "train" and job["JobState"] == "RUNNING"
            )
            holds = jobs()[training]
            subprocess.run(["scancel", str(training)], env=ENVIRONMENT, check=True)
            assert process.wait(timeout=1200) == 0, log.read_text()[-5000:]
        finally:
            process.kill()

    # The training held the GPU, was cancelled before its end, and went on from its checkpoint in another job.
    assert holds["GRES"].startswith("gpu:fake:1") and holds["Partition"] == "gpu"
    ran = jobs()
    assert ran[training]["JobState"] == "CANCELLED" and {job["Account"] for job in ran.values()} == {ACCOUNT}
    second = [job for job in ran.values() if rule_of(job) == "train" and job["JobState"] == "COMPLETED"]
    assert len(second) == 1
    text = (folder / RESULTS / "logs/train.log").read_text()
    step = int(re.search(r"resuming after step (\d+) of 120", text)[1])
    assert 0 < step < 120

    # Each rule that computes was submitted and ended well; the short ones ran where Snakemake did.
    by_rule = {}
    for job in ran.values():
        by_rule.setdefault(rule_of(job), set()).add(job["JobState"])
    computing = {"prepare_images", "add_noise", "search_grid", "refine_grid", "predict_maps", "denoise_images"}
    computing |= {"measure_images", "sweep_examples", "explain_study"}
    assert set(by_rule) == computing | {"train"}, by_rule
    assert all(by_rule[rule] == {"COMPLETED"} for rule in computing)

    names = [path.relative_to(undisturbed) for path in (undisturbed / RESULTS / "model").glob("*.safetensors")]
    names += [f"{RESULTS}/{name}" for name in SAME]
    assert len(names) > len(SAME)
    for name in names:
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_by_the_generic_profile_the_study_is_that_of_one_machine(cluster, tmp_path, tmp_path_factory):
    alone, folder, before = finished(tmp_path_factory), fresh(tmp_path / "submitted"), set(jobs())
    run = subprocess.run(
        submitted(folder, "generic"), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=1200
    )
    assert run.returncode == 0, run.stderr[-5000:]
    ran = {number: job for number, job in jobs().items() if number not in before}
    assert {job["JobName"] for job in ran.values()} >= {"train", "search_grid", "denoise_images"}
    assert all(job["JobState"] == "COMPLETED" for job in ran.values())
    for name in (*SAME, "model/last.safetensors"):
        assert (folder / RESULTS / name).read_bytes() == (alone / RESULTS / name).read_bytes(), name
