"""The small study killed in every rule, and between a file and its name, ends as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import time
from base64 import urlsafe_b64encode

import crash
import pytest
from archive_server import Server
from crash import DEADLY, STUDY, WAYS, Run, archive, contents, durations, every_rule, recorded, rules_of, settings
from smoke import ENVIRONMENT, RESULTS, command, fresh, snakemake

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "1"))
SEED = int(os.environ.get("CRASH_SEED") or time.time())  # of the first round's plan of kills; one more for each other's
TRIES = 6  # of a rule whose job ended before, each after half the time: the last ones meet the start of Python
KILL_BEFORE_REPLACE = """
import os, signal

def replace(source, target, replace=os.replace):
    if str(target).endswith("manifest.csv"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = replace
"""


def any_ways(random_):
    """Ways to kill without end: those that a job dies of each as often as the others, another after each eight."""
    others = [way for way in WAYS if way not in DEADLY]
    while True:
        for _ in range(8 // len(DEADLY)):
            yield from random_.sample(DEADLY, len(DEADLY))
        yield random_.choice(others)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(settings, copies of the repository, folder of the study run once to its end, in peace)."""
    with Server(archive(), pause=0.01) as found:
        change, folder = settings(found), tmp_path_factory.mktemp("undisturbed")
        copies = [fresh(tmp_path_factory.mktemp("killed")) for _ in range(ROUNDS)]
        run = Run(fresh(folder), change, folder.with_suffix(".txt"))
        assert run.finish(1) == 1
        yield change, copies, folder


@pytest.mark.crash
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_killed_in_every_rule_it_ends_with_the_same_bytes(undisturbed, tmp_path, round_, capsys):
    change, copies, finished = undisturbed
    random_, folder = random.Random(SEED + round_), copies[round_]
    again = f"the same plan again: CRASH_SEED={SEED + round_} make test-crash ROUNDS=1"
    with capsys.disabled():
        print(f"\nround {round_}; {again}")
    names, times = rules_of(folder, change), durations(finished)
    assert set(names) == set(times) == every_rule(), "every rule has its benchmark"
    benchmarks = {str(path.relative_to(finished)) for path in finished.glob("**/benchmarks/**/*.tsv")}
    unrecorded = {name.split("/benchmarks/")[1].split("/")[0] for name in benchmarks - recorded(finished).keys()}
    assert unrecorded == {"sweep_examples"}, "whose output is temporary"
    ways, run, left = any_ways(random_), Run(folder, change, tmp_path / "log.txt"), set(names)
    died = []
    try:
        while killed := left and run.kill_in(left, way := next(ways), random_.uniform(0, 0.95), times):
            died += [killed] if way in DEADLY else []
            left.difference_update(died)
        lost = run.lost()
        for rule in sorted(left):  # those whose jobs ended before, or while others were waited for, are run again
            shares, name = (random_.uniform(0, 0.95) / 2**n for n in range(TRIES)), names[rule][0]
            if any(run.kill_in({rule}, random_.choice(DEADLY), share, times, forced=name) for share in shares):
                died.append(rule)
                left.discard(rule)
        starts = run.finish()
    finally:
        run.end()
    with capsys.disabled():
        print(f"\nround {round_}: {len(run.lines)} kills, {starts} more starts\n  " + "\n  ".join(run.lines))
    assert run.finished and lost == [], f"no job that had ended before a kill is run again after it; {again}"
    expected, found = contents(finished), contents(folder)
    assert set(found) == set(expected) and any(f"results/{STUDY}/model/" in name for name in expected), again
    assert [name for name in expected if found[name] != expected[name]] == [], again
    assert not left, f"a job of every rule was killed while it ran; {again}"
    assert sorted(died) == sorted(names) and len(run.lines) > len(names), again


def test_only_a_job_that_ran_counts_as_killed(tmp_path, monkeypatch):
    """A run and its job, which sleep: a job that ends too soon, two that do not, one that has just ended."""
    monkeypatch.setattr(crash, "running", lambda folder: {job.pid: "a_rule"} if job.poll() is None else {})
    run = Run(tmp_path, {}, tmp_path / "log.txt")
    run.log_path.touch()

    def start(*_):
        run.process, run.group = subprocess.Popen(["sleep", "1"]), os.getpgid(0)
        return run.process

    monkeypatch.setattr(run, "start", start)
    job = subprocess.Popen(["sleep", "0.2"])
    assert run.kill_in({"a_rule"}, "SIGKILL to Snakemake", 0.5, {"a_rule": 10}) is None
    assert run.lines == [] and run.process.returncode == 0
    for way, ends in (("SIGKILL to the job", (0, -signal.SIGKILL)), ("SIGTERM to Snakemake", (-signal.SIGTERM, 0))):
        job = subprocess.Popen(["sleep", "2"])
        assert run.kill_in({"a_rule"}, way, 0.01, {"a_rule": 10}) == "a_rule"
        assert (run.process.returncode, job.wait()) == ends
    assert len(run.lines) == 2
    job = subprocess.Popen(["sleep", "2"], start_new_session=True)  # left by an earlier run
    assert run.kill_in({"a_rule"}, "SIGKILL to the job", 0.01, {"a_rule": 10}) is None and job.poll() is None
    job.wait()
    job = subprocess.Popen(["true"])
    os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOWAIT)
    assert not crash.stop(job.pid)
    job.wait()
    assert not crash.stop(job.pid)


def test_a_job_that_ended_counts_as_lost_once_it_is_run_again(tmp_path):
    def leave(job, output, record="whole", mark=False, made=True):
        """What Snakemake leaves of a job and one of its outputs."""
        key = urlsafe_b64encode(f"results/{output}".encode()).decode()
        name = f"@{key[:200]}/{key[200:]}" if len(key) > 200 else key
        text = json.dumps({"log": [f"results/logs/{job}.log"]})
        files = {f"results/benchmarks/{job}.tsv": "s\n1\n"} | ({f"results/{output}": ""} if made else {})
        files |= {f".snakemake/metadata/{name}": text if record == "whole" else text[:9]} if record else {}
        files |= {f".snakemake/incomplete/{name}": "{}"} if mark else {}
        for path, content in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content)

    long = 180 * "l"  # its record is in a folder
    for job in ("again", "gone", "kept", long):
        leave(job, f"{job}.csv")
    leave("killed before its record", "a.csv", record=None, mark=True)
    leave("killed while its record was written", "b.csv", record="half", mark=True)
    leave("killed between its two marks", "c.csv")
    leave("killed between its two marks", "d.csv", mark=True)
    leave("failed", "e.csv", made=False)
    run, path = Run(tmp_path, {}, tmp_path / "log.txt"), "results/benchmarks/{}.tsv".format
    run.finished = recorded(tmp_path)
    assert run.finished.keys() == {path("again"), path("gone"), path("kept"), path(long)} and run.lost() == []
    os.utime(tmp_path / path("again"), ns=(0, run.finished[path("again")] + 1))
    (tmp_path / path("gone")).unlink()
    assert run.lost() == [path("again"), path("gone")]


def test_a_kill_between_a_whole_file_and_its_name_costs_that_file_alone(tmp_path):
    """What is left beside it is never taken for it."""
    folder, target = fresh(tmp_path / "study"), f"{RESULTS}/manifest.csv"
    (tmp_path / "sitecustomize.py").write_text(KILL_BEFORE_REPLACE)
    arguments = command(folder, target)
    killed = subprocess.run(arguments, cwd=folder, env=ENVIRONMENT | {"PYTHONPATH": str(tmp_path)}, capture_output=True)
    (partial,) = (folder / RESULTS).glob("manifest.csv.*.partial")
    content = partial.read_bytes()
    assert killed.returncode == 1 and not (folder / target).exists() and content.count(b"\n") == 1 + 12
    partial.write_bytes(b"stale")
    again = snakemake(folder, target)
    assert again.returncode == 0, again.stdout
    assert (folder / target).read_bytes() == content and partial.read_bytes() == b"stale"
