"""Stacks of arrays: the same bytes, never half a file, a clear line for a damaged one."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tvmap import files, stacks
from tvmap.errors import StudyError

ARRAYS = {"ids": np.array(["a", "bb"]), "images": np.arange(6, dtype=np.float32).reshape(2, 3)}


def test_what_is_saved_is_loaded_and_has_the_same_bytes_again(tmp_path):
    stacks.save(tmp_path / "a.npz", **ARRAYS)
    stacks.save(tmp_path / "b.npz", **ARRAYS)
    loaded = stacks.load(tmp_path / "a.npz")
    assert list(loaded) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype and np.array_equal(loaded[name], array)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[: len(b) // 2],
        lambda b: b"no archive",
        lambda b: b[:-30],
        lambda b: b.replace(ARRAYS["images"].tobytes(), b"\x01" + ARRAYS["images"].tobytes()[1:]),
    ],
    ids=["empty", "half", "other", "short", "flipped"],
)
def test_a_damaged_file_is_named(tmp_path, damage):
    stacks.save(tmp_path / "a.npz", **ARRAYS)
    (tmp_path / "a.npz").write_bytes(damage((tmp_path / "a.npz").read_bytes()))
    with pytest.raises(StudyError, match=r"a\.npz: not a readable array file.*delete it and run again"):
        stacks.load(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["images", "weight"])
def test_values_that_are_not_finite_are_refused(tmp_path, name):
    stacks.save(tmp_path / "a.npz", **{name: np.array([1, np.nan, np.inf]), "gap": np.array([np.nan])})
    with pytest.raises(
        StudyError, match=r"a\.npz: 2 values are NaN or infinite; check the image and the noise settings"
    ):
        stacks.load(tmp_path / "a.npz")


def test_objects_are_refused(tmp_path):
    with pytest.raises(ValueError):
        stacks.save(tmp_path / "a.npz", images=np.array([{}], dtype=object))
    np.savez(tmp_path / "b.npz", images=np.array([{}], dtype=object))
    with pytest.raises(StudyError, match=r"b\.npz"):
        stacks.load(tmp_path / "b.npz")


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_atomically(path, "old")

    def broken(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(StudyError, match=r"a\.txt: cannot be written \(No space left on device\); make room"):
        files.write_atomically(path, "new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_a_lock_is_waited_for_and_ends_with_its_process(tmp_path):
    holder = f"""
import sys, time
sys.path.insert(0, {str(Path(files.__file__).parents[1])!r})
from tvmap import files
with files.locked({str(tmp_path / "lock")!r}, print):
    print("held", flush=True)
    time.sleep(60)
"""
    process, waited = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True), []
    assert process.stdout.readline() == "held\n"

    def killed():
        waited.append(True)
        process.send_signal(signal.SIGKILL)

    with files.locked(tmp_path / "lock", killed):
        assert waited == [True] and process.wait() == -signal.SIGKILL
    with files.locked(tmp_path / "lock", killed):
        assert waited == [True]
    process.stdout.close()
