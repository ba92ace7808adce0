"""The study of smoke.yaml, run once by Snakemake in a copy of the repository, for all tests that look at it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
RESULTS = "results/smoke"
UNSET = ("OMP_NUM_THREADS", "MPLBACKEND", "PYTHONPATH", "SNAKEMAKE_PROFILE")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNSET}
ENVIRONMENT["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def fresh(folder):
    """Copy the repository's files, without any result, into the new `folder`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in names:
        if (ROOT / name).is_file() and not name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def finished(tmp_path_factory):
    """Folder in which the study was run to its end, by the first call; not to be changed."""
    folder = tmp_path_factory.getbasetemp() / "finished"
    output = folder / "output.txt"
    if not folder.exists():
        run = snakemake(fresh(folder))
        output.write_text(f"{run.stdout}\nexit status {run.returncode}\n")
    assert output.read_text().endswith("exit status 0\n"), output.read_text()[-5000:]
    return folder


def copy(tmp_path_factory):
    """A copy of the finished study, times of files included, that a test may change."""
    folder = tmp_path_factory.mktemp("copy") / "study"
    shutil.copytree(finished(tmp_path_factory), folder)
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


def program(folder, *arguments):
    return subprocess.run(
        arguments, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=800
    )
