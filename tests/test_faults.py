"""A full or read-only disk, a dying server, two runs at once: nothing is lost, and the message says what to do."""

import contextlib
import hashlib
import subprocess
import time

import pytest
from crash import Server
from smoke import ENVIRONMENT, RESULTS, command, finished, fresh, snakemake

import retrieve_archive
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


@pytest.mark.parametrize("size, file", [("24k", "clean/"), ("6m", "trained/")], ids=["small", "larger"])
def test_a_full_disk_is_said_and_once_there_is_room_all_is_well(tmp_path, results, size, file):
    """24 kB end at the images, 6 MB at the first checkpoint of the training."""
    folder = fresh(tmp_path)
    with small_disk(folder / "results", size) as remount:
        run = snakemake(folder, *TARGETS)
        lines = [line for line in run.stdout.splitlines() if "No space left" in line]
        lines = [line for line in lines if not line.startswith("OSError: ")]  # Snakemake's, of a benchmark beside it
        assert run.returncode == 1 and "Traceback" not in run.stdout and "Logging error" not in run.stdout, run.stdout
        assert lines and all(f"ERROR {RESULTS}/{file}" in line and "make room" in line for line in lines), run.stdout
        assert not list((folder / RESULTS).rglob("*.partial"))
        remount("size=200m")
        run = snakemake(folder, *TARGETS)
        assert run.returncode == 0, run.stdout[-5000:]
        for name in TARGETS:
            assert (folder / name).read_bytes() == (results.parents[1] / name).read_bytes(), name


def test_a_read_only_folder_is_said(tmp_path):
    folder = fresh(tmp_path)
    with small_disk(folder / "results", "1m") as remount:
        remount("ro")
        run = snakemake(folder, *TARGETS)
        assert run.returncode == 1 and "Traceback" not in run.stdout
        assert [line for line in run.stdout.splitlines() if "Read-only file system" in line and RESULTS in line]


def test_a_server_that_dies_at_every_tenth_of_the_file_loses_nothing(tmp_path, monkeypatch):
    """It ends each run but the last; each goes on where the one before it stopped, to a chunk."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with Server(pause=0) as server:
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


def test_of_two_runs_at_once_the_second_says_so_and_the_first_is_not_disturbed(tmp_path, results):
    folder = fresh(tmp_path)
    with open(tmp_path / "first.txt", "w") as log:
        options = {"cwd": folder, "env": ENVIRONMENT, "stdout": log, "stderr": subprocess.STDOUT}
        first = subprocess.Popen(command(folder, TARGETS[0]), **options)
        try:
            while first.poll() is None and not list((folder / ".snakemake/locks").glob("*")):
                time.sleep(0.05)
            second = snakemake(folder, TARGETS[0])
            assert second.returncode == 1 and "Directory cannot be locked" in second.stdout
            assert "no other instances of snakemake are running" in " ".join(second.stdout.split())
            assert first.wait(timeout=600) == 0, (tmp_path / "first.txt").read_text()[-5000:]
        finally:
            first.kill()
            first.wait()
    assert (folder / TARGETS[0]).read_bytes() == (results.parents[1] / TARGETS[0]).read_bytes()
