"""The small study on a real Slurm (`slurm.sh`): where each job ran, what it asked for, a job cancelled midway."""

import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from smoke import ENVIRONMENT, RESULTS, ROOT, finished, fresh, planned, program

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

SAME = ("tables/per_image.csv", "tables/grid.csv", "tables/summary.csv", "tables/training_history.csv")
MODEL = ("model/last.safetensors", "model/best.safetensors")
TARGETS = [f"{RESULTS}/{name}" for name in (*SAME, *MODEL)]
ACCOUNT = "imaging"
SHARDS = ["--set-scatter", "shard=2"]
ON_GPU = {"device": "auto"}  # of which there is none, but Slurm does not know
LONG = {**ON_GPU, "training": {"epochs": 40, "threads": 2}}  # still running when it is cancelled
LONG |= {"noise": {"protocols": {"uniform": None}}}


def stop(folder):
    subprocess.run([ROOT / "tests/slurm.sh", "stop", folder], check=True)


@pytest.fixture(scope="module")
def cluster():
    folder = tempfile.mkdtemp(prefix="slurm-")  # pytest's own folders are closed to the user munge
    try:
        # nproc obeys OMP_NUM_THREADS
        subprocess.run([ROOT / "tests/slurm.sh", "start", folder], env=ENVIRONMENT, check=True)
        yield folder
    finally:
        stop(folder)
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
    return re.sub(r"^rule_|_wildcards.*$", "", job["Comment"]) if "Comment" in job else job["JobName"]


def running(rule):
    """Numbers of the jobs of a rule that run now."""
    return {number for number, job in jobs().items() if rule_of(job) == rule and job["JobState"] == "RUNNING"}


def by_rule(ran):
    """{rule: [job]} of these jobs."""
    return {rule: [job for job in ran if rule_of(job) == rule] for rule in set(map(rule_of, ran))}


def configured(folder, change):
    """Arguments of Snakemake for the small study with the settings of `change`."""
    (folder / "change.yaml").write_text(yaml.safe_dump(change))
    return ["--configfile", "tests/smoke.yaml", "change.yaml"]


def submitted(folder, profile, change):
    """Arguments that submit the small study by a profile."""
    where = ["--profile", f"workflow/profiles/{profile}", *configured(folder, change)]
    return [sys.executable, "-m", "snakemake", *where, *SHARDS, "--latency-wait", "10"]


def asked(folder, change, *targets):
    """What the jobs of each rule that is submitted ask for: {rule: [(CPUs, MB, minutes, GPUs)]}, in order."""
    found = {}
    for job in planned(folder, *configured(folder, change), *SHARDS, "--", *targets):
        if not job["local"]:
            numbers = [int(job["resources"].get(name, 0)) for name in ("mem_mb", "runtime", "gpu")]
            found.setdefault(job["rule"], []).append((job["threads"], *numbers))
    return {rule: sorted(jobs) for rule, jobs in found.items()}


def given(job):
    """What Slurm gave to a job, as (CPUs, MB, minutes, GPUs)."""
    amount, unit = re.fullmatch(r"([\d.]+)([MG])", job["MinMemoryNode"]).groups()
    days, hours, minutes = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):00", job["TimeLimit"]).groups(default=0)
    gpus = re.fullmatch(r"\(null\)|gpu:fake:(\d+)", job["JOB_GRES"])[1] or 0
    time_limit = (int(days) * 24 + int(hours)) * 60 + int(minutes)
    return int(job["NumCPUs"]), float(amount) * {"M": 1, "G": 1024}[unit], time_limit, int(gpus)


def check_asked(ran, wanted):
    """These jobs are the wanted, as many of each rule, and got what these ask for; a GPU on the node that has one."""
    assert {rule: sorted(map(given, of)) for rule, of in by_rule(ran).items()} == wanted
    for job in ran:
        expected = ("gpu", "fitted") if given(job)[-1] else ("main", "plain")
        assert (job["Partition"], job["NodeList"]) == expected, rule_of(job)


def wait_for(condition, seconds, process, log):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None and time.monotonic() < end, log.read_text()[-5000:]
        time.sleep(0.1)
    return found


def test_a_job_cancelled_midway_leaves_the_study_as_if_nothing_had_happened(cluster, tmp_path):
    undisturbed, folder = (fresh(tmp_path / name) for name in ("undisturbed", "submitted"))
    wanted = asked(fresh(tmp_path / "planned"), LONG)
    alone = [sys.executable, "-m", "snakemake", "--cores", "2", *configured(undisturbed, LONG), "--", *TARGETS]
    run = program(undisturbed, *alone)
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
                lambda: next(iter((folder / RESULTS).glob("trained/*.unfinished/history.csv")), None), 600, process, log
            )
            wait_for(lambda: history.exists() and len(history.read_text().splitlines()) > 3, 300, process, log)
            (training,) = running("train")
            holds = jobs()[training]
            subprocess.run(["scancel", str(training)], env=ENVIRONMENT, check=True)
            assert process.wait(timeout=1200) == 0, log.read_text()[-5000:]
        finally:
            process.kill()

    # The training held the GPU, which one job has at a time; cancelled before its end, it went on from its checkpoint.
    assert holds["GRES"].startswith("gpu:fake:1")
    ran = jobs()
    times = sorted((job["StartTime"], job["EndTime"]) for job in ran.values() if given(job)[-1])
    assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(times))
    assert ran[training]["JobState"] == "CANCELLED" and {job["Account"] for job in ran.values()} == {ACCOUNT}
    second = [job for job in ran.values() if rule_of(job) == "train" and job["JobState"] == "COMPLETED"]
    assert len(second) == 1
    text = (folder / RESULTS / "logs/train.log").read_text()
    step = int(re.search(r"resuming after step (\d+) of 120", text)[1])
    assert 0 < step < 120

    # Each rule that computes on the GPU was submitted and ended well; what is short without it ran where Snakemake did.
    assert {rule_of(job) for job in ran.values() if job["JobState"] != "COMPLETED"} == {"train"}
    computing = {"search_grid", "refine_grid", "predict_maps", "denoise_images", "sweep_examples"}
    assert set(wanted) == computing | {"train", "time_steps", "explain_study"}
    check_asked([job for job in ran.values() if job["JobState"] == "COMPLETED"], wanted)
    assert {job["Partition"] for job in ran.values()} == {"gpu"}

    for name in TARGETS:
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_by_the_generic_profile_a_cancelled_training_changes_no_result(cluster, tmp_path, tmp_path_factory):
    alone, folder, before = finished(tmp_path_factory), fresh(tmp_path / "submitted"), set(jobs())
    targets = [f"{RESULTS}/{name}" for name in ("metrics/test_uniform_0.csv", "grid/test_uniform_0.csv", *MODEL)]
    command = [*submitted(folder, "generic", ON_GPU), "--", *targets]
    log = tmp_path / "log.txt"
    with open(log, "w") as file:
        process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=file, stderr=file)
        try:
            training = wait_for(lambda: next(iter(running("train") - before), None), 600, process, log)
            subprocess.run(["scancel", str(training)], env=ENVIRONMENT, check=True)
            assert process.wait(timeout=1200) == 0, log.read_text()[-5000:]
        finally:
            process.kill()
    ran = {number: job for number, job in jobs().items() if number not in before}
    assert [number for number, job in ran.items() if job["JobState"] == "CANCELLED"] == [training]
    completed = [job for job in ran.values() if job["JobState"] == "COMPLETED"]
    assert len(completed) == len(ran) - 1
    check_asked(completed, asked(fresh(tmp_path / "planned"), ON_GPU, *targets))
    for name in targets:
        assert (folder / name).read_bytes() == (alone / name).read_bytes(), name


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_device_says_where_trainings_go_those_of_variants_too(cluster, tmp_path, device):
    folder, before = fresh(tmp_path / "submitted"), set(jobs())
    change = {"device": device, "variants": {"shorter": {"training": {"iterations": 4}}}}
    targets = ["results/smoke.shorter/model/last.safetensors", f"{RESULTS}/tables/steps.csv"]
    command = [*submitted(folder, "slurm", change), "--", *targets]
    run = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-5000:]
    wanted = asked(fresh(tmp_path / "planned"), change, *targets)
    ran = [job for number, job in jobs().items() if number not in before]
    assert set(wanted) == {"shorter_train", "time_steps"}
    check_asked(ran, wanted)
    assert {job["Partition"] for job in ran} == {{"auto": "gpu", "cpu": "main"}[device]}


def test_no_job_outlives_the_cluster_not_even_one_that_slurm_lost(cluster, tmp_path):
    written = tmp_path / "pid"
    lost = f"setsid --fork sh -c 'echo $$ > {written}; exec sleep 3000'"
    subprocess.run(["sbatch", "--wrap", lost, "--output", tmp_path / "out"], env=ENVIRONMENT, cwd=tmp_path, check=True)
    end = time.monotonic() + 60
    while not (written.exists() and written.read_text().strip()) and time.monotonic() < end:
        time.sleep(0.1)
    process = Path(f"/proc/{int(written.read_text())}")
    time.sleep(2)  # Slurm has ended the job
    assert process.exists() and not running("wrap")
    stop(cluster)
    assert not process.exists()
