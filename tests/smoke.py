"""The study of smoke.yaml, run once by Snakemake in a copy of the repository, for all tests that look at it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tvmap.files import locked

ROOT = Path(__file__).parents[1]
PACKAGE = "workflow/scripts/tvmap"
RESULTS = "results/smoke"
UNSET = ("OMP_NUM_THREADS", "MPLBACKEND", "PYTHONPATH", "SNAKEMAKE_PROFILE")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNSET}
ENVIRONMENT["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def fresh(folder, compiled=True):
    """Copy the repository's files, without any result, into the new `folder`; `compiled`: it shares compiled code."""
    for name in _names():
        if (ROOT / name).is_file() and not name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    if compiled:
        (ROOT / PACKAGE / "__pycache__").mkdir(exist_ok=True)
        (folder / PACKAGE / "__pycache__").symlink_to(ROOT / PACKAGE / "__pycache__")
    return folder


def _names():
    """Names of the repository's files; of a copy without Git all that no environment, run or cache has left there."""
    if not (ROOT / ".git").exists():
        left = {"results", "resources", "bench", "fuzz"}
        tops = [
            path for path in ROOT.iterdir() if path.name not in left and (path.name[0] != "." or path.name == ".ci")
        ]
        files = [file for top in tops for file in ([top] if top.is_file() else top.rglob("*"))]
        return [str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts]
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")


def finished(tmp_path_factory):
    """Folder in which the study was run to its end, by the first call; not to be changed.

    The variable SMOKE_FINISHED names one for several runs of the tests, all of the same code.
    """
    folder = Path(os.environ.get("SMOKE_FINISHED") or tmp_path_factory.getbasetemp() / "finished").absolute()
    output = folder / "output.txt"
    with locked(folder.with_name("finished.lock"), lambda: None):
        if not output.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was interrupted
            run = snakemake(fresh(folder))
            output.write_text(f"{run.stdout}\nexit status {run.returncode}\n")
    assert output.read_text().endswith("exit status 0\n"), output.read_text()[-5000:]
    return folder


def copy(tmp_path_factory):
    """A copy of the finished study, times of files included, that a test may change."""
    folder = tmp_path_factory.mktemp("copy") / "study"
    shutil.copytree(finished(tmp_path_factory), folder, symlinks=True)
    (folder / PACKAGE / "__pycache__").unlink()  # a test may change the code
    return folder


def command(folder, *arguments, cores=2, change=None):
    """Arguments of a call of Snakemake in `folder`; `change`: settings that differ from smoke.yaml, as a dict."""
    files = ["tests/smoke.yaml"]
    if change is not None:
        (folder / "change.yaml").write_text(yaml.safe_dump(change))
        files.append("change.yaml")
    return [sys.executable, "-m", "snakemake", *arguments, "--cores", str(cores), "--configfile", *files]


def snakemake(folder, *arguments, **options):
    """Run Snakemake in `folder`; returns the finished process, with all its output in `stdout`."""
    return program(folder, *command(folder, *arguments, **options))


def planned(folder, *arguments):
    """The jobs of a dry run: [{rule, local, threads, wildcards, resources}], the last two as {name: text}.

    It tells neither what a rule with a message asks for nor which rules are local, so those of `folder` are changed.
    """
    for path in (folder / "workflow/rules").glob("*.smk"):
        text = re.sub(r"^    message:\n        .*\n", "", path.read_text(), flags=re.MULTILINE)
        path.write_text(re.sub(r"^    localrule: (.*)", r"    priority: int(\1)", text, flags=re.MULTILINE))
    run = program(folder, sys.executable, "-m", "snakemake", "--dry-run", "--cores", "2", *arguments)
    assert run.returncode == 0, run.stdout[-5000:]
    found = []
    for rule, lines in re.findall(r"^rule (?!all:)(\w+):\n((?:    .*\n)+)", run.stdout, re.MULTILINE):
        of = dict(line.strip().split(": ", 1) for line in lines.splitlines() if ": " in line)
        pairs = {name: dict(re.findall(r"(\w+)=([^,]*)", of.get(name, ""))) for name in ("wildcards", "resources")}
        found.append({"rule": rule, "local": of.get("priority") == "1", "threads": int(of.get("threads", 1)), **pairs})
    return found


def asked(folder, **options):
    """The files that the rule `all` asks for, relative to `folder`."""
    output = snakemake(folder, "--dry-run", "--forcerun", "all", **options).stdout
    return set(re.search(r"^rule all:\n    input: (.*)$", output, re.MULTILINE)[1].split(", "))


def made(folder):
    """The files that a study has left in `folder`, but its logs, times and store of trainings, relative to it."""
    files = (path.relative_to(folder) for path in folder.glob("results/**/*") if path.is_file())
    return {str(path) for path in files if not {"logs", "benchmarks", "trained"} & set(path.parts)}


def program(folder, *arguments, timeout=800):
    options = {"cwd": folder, "env": ENVIRONMENT, "text": True, "timeout": timeout}
    return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
