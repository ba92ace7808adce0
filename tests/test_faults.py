"""A full or read-only disk, a dying server, two runs at once: nothing is lost, and the message says what to do."""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from archive_server import Server
from crash import archive, settings
from smoke import ENVIRONMENT, RESULTS, ROOT, command, copy, finished, fresh, snakemake

import publish_study
import redraw_figures
import retrieve_archive
import train
from tvmap import download
from tvmap.errors import StudyError

TARGETS = [f"{RESULTS}/model/last.safetensors", f"{RESULTS}/manifest.csv"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return finished(tmp_path_factory) / RESULTS


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system in memory of this size at `folder`; gives a function that remounts it with other options."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a file system: {mounted.stderr.decode().strip()}")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def runs_full_and_then_with_room(folder, targets, remount, place):
    """The full disk is said, of files of this place alone; nothing half written stays, and with room all is made."""
    run = snakemake(folder, *targets)
    lines = [line for line in run.stdout.splitlines() if "No space left" in line]
    lines = [line for line in lines if not line.startswith("OSError: ")]  # Snakemake's, of a benchmark beside it
    assert run.returncode == 1 and "Traceback" not in run.stdout and "Logging error" not in run.stdout, run.stdout
    assert lines and all(f"ERROR {RESULTS}/{place}" in line and "make room" in line for line in lines), run.stdout
    assert not list((folder / RESULTS).rglob("*.partial"))
    remount("size=200m")
    run = snakemake(folder, *targets)
    assert run.returncode == 0, run.stdout[-5000:]


@pytest.mark.parametrize("size, file", [("24k", "clean/"), ("6m", "trained/")], ids=["small", "larger"])
def test_a_full_disk_is_said_and_once_there_is_room_all_is_well(tmp_path, results, size, file):
    """24 kB end at the images, 6 MB at the first checkpoint of the training."""
    folder = fresh(tmp_path)
    with small_disk(folder / "results", size) as remount:
        runs_full_and_then_with_room(folder, TARGETS, remount, file)
        for name in TARGETS:
            assert (folder / name).read_bytes() == (results.parents[1] / name).read_bytes(), name


@pytest.mark.parametrize("kind", ["tables", "figures"])
def test_a_disk_full_of_tables_or_figures_is_said_and_once_there_is_room_all_is_well(tmp_path_factory, results, kind):
    """All the rest is there, and as much room as half of these files take."""
    folder = copy(tmp_path_factory)
    aside = (folder / "results").rename(folder / "aside")
    made = sorted((results / kind).glob("*.csv" if kind == "tables" else "figure[67]*.p*"))
    names = [str(path.relative_to(results.parents[1])) for path in made]
    with small_disk(folder / "results", "200m") as remount:
        shutil.copytree(aside, folder / "results", dirs_exist_ok=True, symlinks=True)
        for name in names:
            (folder / name).unlink()
        disk, page = os.statvfs(folder / "results"), os.sysconf("SC_PAGE_SIZE")
        taken = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        remount(f"size={taken + sum(path.stat().st_size for path in made) // 2 // page * page}")
        runs_full_and_then_with_room(folder, names, remount, f"{kind}/")
        for path, name in zip(made, names, strict=True):
            timed = path.stem in ("times", "steps", "courses", "unrolling")
            assert timed or (folder / name).read_bytes() == path.read_bytes(), name


def test_a_disk_full_of_the_archive_is_said_and_the_download_goes_on_once_there_is_room(tmp_path):
    folder, target = fresh(tmp_path), "results/crash/manifest.csv"
    with Server(archive()) as server, small_disk(folder / "resources", "1m") as remount:
        change = settings(server)
        run = snakemake(folder, target, change=change)
        (line,) = (line for line in run.stdout.splitlines() if "No space left" in line)
        assert run.returncode == 1 and "Traceback" not in run.stdout and "Logging error" not in run.stdout, run.stdout
        assert re.search(r"ERROR resources/downloads/\S+: cannot be written .*; make room", line), run.stdout
        sent, missing = server.sent, len(server.data) - 2**20
        remount("size=20m")
        run = snakemake(folder, target, change=change)
        assert run.returncode == 0 and (folder / target).exists(), run.stdout[-5000:]
        assert missing <= server.sent - sent < missing + 2**18, "what had come was not sent again"


def test_a_disk_full_of_a_publication_is_said_and_the_earlier_one_stays(tmp_path, results):
    with small_disk(tmp_path / "reference", "64k") as remount:
        target = tmp_path / "reference/smoke"
        target.mkdir()
        (target / "provenance.json").write_text("{}")
        with pytest.raises(StudyError, match=r"reference/smoke\.new/.*: cannot be written \(No space left on device\)"):
            publish_study.main(results, target)
        assert (target / "provenance.json").read_text() == "{}"
        remount("ro")
        with pytest.raises(StudyError, match=r"new/figures: cannot be written \(Read-only file system\)"):
            redraw_figures.main(results, tmp_path / "reference/new/figures")


def test_a_read_only_folder_is_said(tmp_path):
    folder = fresh(tmp_path)
    with small_disk(folder / "results", "1m") as remount:
        remount("ro")
        run = snakemake(folder, *TARGETS)
        assert run.returncode == 1 and "Traceback" not in run.stdout
        said = f"{RESULTS}: cannot be written, as results is read-only; mend its rights or how it is mounted"
        assert said in " ".join(run.stdout.split())


def test_a_log_a_store_and_a_lock_that_cannot_be_written_are_said_without_a_traceback(tmp_path):
    """What the rules of a finished study meet where its results have become read-only, called as they call it."""
    results, advice = tmp_path / "results", r"cannot be written \(Read-only file system\); make room or mend the rights"
    settings = {"settings": {"schedule": "constant", "epochs": 1, "validate_every": 1}}
    (tmp_path / "input").write_text("x")
    with small_disk(results, "1m") as remount:
        (results / "job.json").write_text("{}")
        for kept, name in ((False, "trained"), (True, r"trained/\w+-1\.lock")):
            if kept:
                remount("rw")
                (results / "trained").mkdir()
            remount("ro")
            with pytest.raises(StudyError, match=f"results/{name}: {advice}"):
                train.main([tmp_path / "input"], settings, results / "trained", "code", {}, None)
        command = [sys.executable, ROOT / "workflow/scripts/train.py", results / "job.json"]
        run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert re.search(f"ERROR {results}/job.log.lock: {advice}", run.stderr), run.stderr


def test_a_training_that_cannot_be_kept_is_said(tmp_path, monkeypatch):
    """The folder of the unfinished training is one, so it is moved to its place at the end; a file stands there."""
    settings = {"settings": {"schedule": "constant", "epochs": 1, "validate_every": 1}}
    (tmp_path / "input").write_text("x")

    def trained(*arguments, folder, **options):
        (folder.parent / folder.name.removesuffix(".unfinished")).write_text("in the way")
        for name in train.FILES:
            (folder / name).write_text("x")
        return {}

    monkeypatch.setattr(train.training, "train", trained)
    monkeypatch.setattr(train.stacks, "training_images", lambda path: None)
    how = {"threads": torch.get_num_threads(), "device": "cpu", "checkpoint_seconds": 9, "wandb": None}
    with pytest.raises(StudyError, match=r"trained/\w+-1: cannot be written \(Not a directory\)"):
        train.main([tmp_path / "input"], settings, tmp_path / "trained", "code", how, None)


def test_a_server_that_dies_at_every_tenth_of_the_file_loses_nothing(tmp_path, monkeypatch):
    """It ends each run but the last; each goes on where the one before it stopped, to a chunk."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with Server(archive()) as server:
        data = server.data
        arguments = server.url, tmp_path / "a.zip", len(data), hashlib.sha256(data).hexdigest()
        for tenth in range(1, 10):
            server.dies_at = tenth * len(data) // 10
            with pytest.raises(StudyError, match="run again to go on where it stopped"):
                retrieve_archive.main(*arguments)
            assert not (tmp_path / "a.zip").exists()
            part = (tmp_path / "downloads/a.zip.part").read_bytes()
            assert part == data[: len(part)] and server.dies_at - download.CHUNK_BYTES < len(part) <= server.dies_at
        server.dies_at, before = None, server.sent
        retrieve_archive.main(*arguments)
        assert (tmp_path / "a.zip").read_bytes() == data and server.sent - before == len(data) - len(part)


def test_of_two_runs_started_in_one_moment_none_spoils_the_other(tmp_path, results):
    """Both may find no lock yet: then they do the same work, and the training's own lock keeps them apart."""
    folder = fresh(tmp_path)
    options = {"cwd": folder, "env": ENVIRONMENT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    runs = [subprocess.Popen(command(folder, TARGETS[0]), **options) for _ in range(2)]
    for run in runs:
        said, _ = run.communicate(timeout=600)
        assert run.returncode == 0 or "Directory cannot be locked" in said, said[-5000:]
    assert 0 in {run.returncode for run in runs}
    assert (folder / TARGETS[0]).read_bytes() == (results.parents[1] / TARGETS[0]).read_bytes()


def test_of_two_runs_at_once_the_second_says_so_and_the_first_is_not_disturbed(tmp_path, results):
    folder = fresh(tmp_path)
    with open(tmp_path / "first.txt", "w") as log:
        options = {"cwd": folder, "env": ENVIRONMENT, "stdout": log, "stderr": subprocess.STDOUT}
        first = subprocess.Popen(command(folder, TARGETS[0]), start_new_session=True, **options)
        try:
            locks = folder / ".snakemake/locks"
            while first.poll() is None and not any(path.stat().st_size for path in locks.glob("*.output.lock")):
                time.sleep(0.05)
            os.killpg(first.pid, signal.SIGSTOP)  # or it may have ended before the second has begun
            second = snakemake(folder, TARGETS[0])
            os.killpg(first.pid, signal.SIGCONT)
            assert second.returncode == 1 and "Directory cannot be locked" in second.stdout
            assert "no other instances of snakemake are running" in " ".join(second.stdout.split())
            assert first.wait(timeout=600) == 0, (tmp_path / "first.txt").read_text()[-5000:]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(first.pid, signal.SIGKILL)
            first.wait()
    assert (folder / TARGETS[0]).read_bytes() == (results.parents[1] / TARGETS[0]).read_bytes()


def test_a_job_that_outlives_its_run_does_not_write_over_a_later_one_with_other_settings(tmp_path):
    """SIGKILL to Snakemake alone: its job lives on, with what it was asked for, while the study goes on with other."""
    folder, manifest = fresh(tmp_path), f"{RESULTS}/manifest.csv"
    script = folder / "workflow/scripts/select_images.py"
    slow = """        if snakemake.params.seed == 1:
            import pathlib, time
            pathlib.Path("asleep").touch()
            while not pathlib.Path("go").exists():
                time.sleep(0.05)
        main("""
    script.write_text(script.read_text().replace("        main(", slow))
    options = {"cwd": folder, "env": ENVIRONMENT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(command(folder, manifest, change={"seed": 1}), **options)
    with open(tmp_path / "second.txt", "w") as log:
        second = None
        try:
            while not (folder / "asleep").exists():
                assert first.poll() is None
                time.sleep(0.05)
            first.kill()
            first.wait()
            assert snakemake(folder, "--unlock", change={"seed": 2}).returncode == 0
            options |= {"stdout": log, "stderr": subprocess.STDOUT}
            second = subprocess.Popen(command(folder, manifest, "--rerun-incomplete", change={"seed": 2}), **options)
            while second.poll() is None and "still works" not in (tmp_path / "second.txt").read_text():
                time.sleep(0.05)
        finally:
            (folder / "go").touch()
            for run in filter(None, (first, second)):
                run.wait(timeout=600)
    assert second.returncode == 0 and "still works" in (tmp_path / "second.txt").read_text()
    found = (folder / manifest).read_bytes()
    (folder / manifest).unlink()
    assert snakemake(folder, manifest, change={"seed": 2}).returncode == 0
    assert (folder / manifest).read_bytes() == found
    assert snakemake(folder, manifest, change={"seed": 3}).returncode == 0
    assert (folder / manifest).read_bytes() != found, "the seed tells"
