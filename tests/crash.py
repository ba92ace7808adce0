"""A small study with every rule, killed at a random moment of a job of each rule and started again, until it ends."""

import base64
import contextlib
import functools
import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from smoke import ENVIRONMENT, ROOT, command, program

STUDY = "crash"
POLL_SECONDS = 0.01
# How a run dies: by Ctrl-C, by a scheduler or a shutdown, by a lack of memory or power; the whole of it or a part.
WAYS = {
    "Ctrl-C": (signal.SIGINT, "all"),
    "SIGTERM": (signal.SIGTERM, "all"),
    "SIGKILL": (signal.SIGKILL, "all"),
    "SIGKILL to the job": (signal.SIGKILL, "job"),
    "SIGTERM to Snakemake": (signal.SIGTERM, "Snakemake"),  # its jobs live on
    "SIGKILL to Snakemake": (signal.SIGKILL, "Snakemake"),
}
DEADLY = [way for way, (_, whom) in WAYS.items() if whom != "Snakemake"]  # to the job
VARYING = ("report.html", "provenance.json", "training.json", "variants.md")  # hold times
SETTINGS = {
    "study": STUDY,
    "data": {"val_ids": ["IM-0006-0001", "IM-0007-0001"]},
    "training": {"validation_protocol": "fixed0.5"},
    "noise": {"protocols": {"uniform": None}},
    "baselines": ["scalar-features", "scalar-sure", "wavelet", "unet-direct", "tgv-oracle", "map-oracle"],
    "variants": {"shorter": {"training": {"iterations": 4}}},
}


def archive():
    """A zip in the layout of the published one: blurred noise as X-rays, and bytes that make the download take time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(12):
            coarse = np.random.default_rng(number).integers(0, 256, (6, 6)).astype(np.uint8)
            jpeg = io.BytesIO()
            Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC).save(jpeg, "JPEG")
            split = "train" if number < 8 else "test"
            file.writestr(f"chest_xray/{split}/NORMAL/IM-{number:04d}-0001.jpeg", jpeg.getvalue())
        file.writestr("chest_xray/padding.bin", random.Random(0).randbytes(2_000_000))
    return buffer.getvalue()


def settings(server):
    """The settings of the small study that differ from smoke.yaml, with its archive on this server."""
    data = server.data
    mendeley = {"url": server.url, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return SETTINGS | {"data": SETTINGS["data"] | {"source": "mendeley", "mendeley": mendeley}}


def contents(folder):
    """{path: content} of all results in `folder` that must not depend on what happened on the way; times left out."""
    found = {}
    for path in sorted(folder.glob(f"results/{STUDY}*/**/*")):
        parts = set(path.relative_to(folder).parts[2:])
        varies = parts & {"logs", "benchmarks", "trained"} or path.name in VARYING or path.suffix == ".partial"
        timed = ("times", "steps", "unrolling") if path.suffix == ".csv" else ("times", "courses", "unrolling")
        if path.is_dir() or varies or path.stem in timed:
            continue
        content = path.read_bytes()
        if path.suffix == ".csv" and b"minutes" in content.splitlines()[0]:
            table = pd.read_csv(io.BytesIO(content), dtype=str)
            content = table[[name for name in table if "minutes" not in name]].to_csv(index=False).encode()
        found[str(path.relative_to(folder))] = content
    return found


def rules_of(folder, change):
    """{rule: its names in the workflow} of a study that has not begun; a variant's rule is the study's, renamed."""
    output = program(folder, *command(folder, "--dry-run", change=change)).stdout
    names = re.findall(r"^(\w+(?:-\w+)*) +\d+$", output.split("Job stats:")[1], re.MULTILINE)
    found = {}
    for name in set(names) - {"all", "total"}:
        prefix = next((f"{variant}_" for variant in SETTINGS["variants"] if name.startswith(f"{variant}_")), "")
        found.setdefault(name.removeprefix(prefix), []).append(name)
    return {rule: sorted(found[rule]) for rule in sorted(found)}


def every_rule():
    """Names of the rules of the workflow, but of `all` and of the one that is for a machine without Snakemake."""
    text = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = re.findall(r"^rule (\w+):|^use rule \w+ as (\w+) with:", text, re.MULTILINE)
    return {one or other for one, other in rules} - {"describe_training"}


def durations(folder):
    """{rule: mean time of its jobs in s} of a finished study."""
    found = {}
    for path in folder.glob("**/benchmarks/**/*.tsv"):
        rule = path.relative_to(next(p for p in path.parents if p.name == "benchmarks")).parts[0].removesuffix(".tsv")
        found.setdefault(rule, []).append(float(path.read_text().splitlines()[-1].split("\t")[0]))
    return {rule: sum(times) / len(times) for rule, times in found.items()}


def running(folder):
    """{process: rule} of the jobs that run in `folder`: Snakemake starts a copy of the rule's script for each."""
    found = {}
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError):
            script = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")[1]
            if script.startswith(f"{folder}/.snakemake/scripts/"):
                found[int(process)] = _rule_of(script)
    return found


@functools.cache
def _rule_of(script):
    """The rule whose copy this is, by its log file. Read once: a poll of all processes must cost the study little."""
    text = Path(script).read_bytes().decode(errors="replace")
    return re.search(r"/logs/(\w+)[./]", text)[1]


def recorded(folder):
    """{benchmark: when it was written, in ns} of the jobs that no later start has a reason to run again.

    Snakemake keeps a record of each output of a job that ended, and a mark for each of a job that began. A failed job
    has a record, too, but no output. Left out are jobs in doubt, such as one that was killed between its benchmark and
    its record, and those whose temporary output was used and deleted.
    """
    records, marks, whole = folder / ".snakemake/metadata", folder / ".snakemake/incomplete", {}
    for path in filter(Path.is_file, records.rglob("*")):
        name = path.relative_to(records)
        output = base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in name.parts)).decode()
        with contextlib.suppress(json.JSONDecodeError):  # killed while it was written: the mark is still there
            (log,) = json.loads(path.read_text())["log"]
            whole[log] = whole.get(log, True) and (folder / output).exists() and not (marks / name).exists()
    ended = [log for log, is_whole in whole.items() if is_whole]
    # The rules have the log of each job beside its benchmark.
    names = [re.sub(r"(.*)\blogs/(.*)\.log$", r"\1benchmarks/\2.tsv", log) for log in ended]
    return {name: (folder / name).stat().st_mtime_ns for name in names if (folder / name).exists()}


def _group(process):
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(process)


def stop(job):
    """Stop the process `job`, so that it is alive when it is killed; returns whether it was still running."""
    with contextlib.suppress(OSError):
        os.kill(job, signal.SIGSTOP)
        while (state := Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[0]) not in "TZX":
            time.sleep(0.001)
        return state == "T"
    return False


class Run:
    """A study in `folder` that is killed as planned and started again as its own messages say."""

    def __init__(self, folder, change, log_path):
        self.folder, self.change, self.log_path = folder, change, Path(log_path)
        self.lines, self.met = [], set()
        self.finished = {}  # {benchmark: when it was first written} of the jobs that had ended before a kill
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a shell, and it is inherited
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(self, *arguments):
        """Start Snakemake in a session of its own; the test that does it ends it, see `end`."""
        if "lock" in self.met:  # what --unlock does, in the time of a start
            for path in self.folder.glob(".snakemake/locks/*"):
                path.unlink()
        arguments = ["--rerun-incomplete", *arguments] if "incomplete" in self.met else arguments
        arguments = command(self.folder, *arguments, change=self.change)
        with open(self.log_path, "w") as log:
            options = {"cwd": self.folder, "env": ENVIRONMENT, "stdout": log, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen(arguments, start_new_session=True, **options)
        self.group = self.process.pid
        return self.process

    def end(self):
        """End the last run, if a failed test left it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_in(self, rules, way, share, times, forced=None, attempts=5):
        """Start the study, kill it in the first job of a rule among `rules` after this share of its time.

        A job that ends before is let go, and the next one is met. `times`: {rule: duration in s}; `forced`: that rule's
        name in the workflow, if it is to run again, and nothing after it. A start that ends at once, as the one before
        left its lock or unfinished files, is followed by another one.

        Returns the rule, whose job ran when it was killed, or None: the study ended before.
        """
        again = ["--forcerun", forced, "--until", forced] if forced else []
        process, (number, whom) = self.start(*again), WAYS[way]
        late = set()
        while process.poll() is None:
            found = ((job, rule) for job, rule in self._jobs().items() if rule in rules and job not in late)
            job, rule = next(found, (None, None))
            after = share * times.get(rule, 0)
            if job and not self._ends_within(job, after) and stop(job):
                (os.killpg if whom == "all" else os.kill)(job if whom == "job" else process.pid, number)
                with contextlib.suppress(ProcessLookupError):  # it died of SIGKILL, and Snakemake has seen it
                    os.kill(job, signal.SIGCONT)  # any other signal waits for this
                self.lines.append(f"{rule}: {way} after {after:.2f} of {times[rule]:.2f} s")
                self._await()
                self.finished = recorded(self.folder) | self.finished
                self.follow()
                return rule
            late.add(job)
            time.sleep(POLL_SECONDS)
        if process.returncode == 0:
            assert "Nothing to be done" not in (self.log_path.read_text() if forced else ""), f"{forced} is no job"
            return None
        self.follow()
        assert attempts, self.log_path.read_text()[-5000:]
        return self.kill_in(rules, way, share, times, forced, attempts - 1)

    def _jobs(self):
        """{process: rule} of this run; what one that was killed has left running is none of them."""
        return {job: rule for job, rule in running(self.folder).items() if _group(job) == self.group}

    def _ends_within(self, job, seconds):
        """Wait so long, but not beyond the end of the job; returns whether that came."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if job not in running(self.folder):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _await(self, seconds=8):
        """Wait for the end; Snakemake that has had no job for so long and does not end is killed, as its user would do.

        Its handler of SIGTERM takes a lock that the same thread holds while it selects jobs: then it waits for ever.
        """
        busy = time.monotonic()
        while self.process.poll() is None:
            if self._jobs():
                busy = time.monotonic()
            elif time.monotonic() - busy > seconds:
                self.lines[-1] += "; it did not end, so it was killed"
                return self.end()
            time.sleep(POLL_SECONDS)

    def follow(self):
        """Do what the message of the run that has just ended tells its user to do, from then on without being told."""
        text = self.log_path.read_text()
        if "Directory cannot be locked" in text:
            assert "--unlock" in text and "lock" not in self.met, text
            unlocked = program(self.folder, *command(self.folder, "--unlock", change=self.change))
            assert unlocked.returncode == 0, unlocked.stdout
            self.met.add("lock")
        if "IncompleteFilesException" in text or "rerun-incomplete" in text:
            self.met.add("incomplete")

    def lost(self):
        """Benchmarks of the jobs that had ended before a kill and were run again all the same, or are no more."""
        return sorted(
            name
            for name, written in self.finished.items()
            if not (self.folder / name).exists() or (self.folder / name).stat().st_mtime_ns != written
        )

    def finish(self, attempts=5):
        """Run to the end, following messages; returns the number of starts it took."""
        for attempt in range(1, attempts + 1):
            process = self.start()
            if process.wait(timeout=2400) == 0:
                return attempt
            self.follow()
        raise AssertionError(self.log_path.read_text()[-5000:])
