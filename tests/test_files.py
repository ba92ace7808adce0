"""Files: never half of one, a full disk is said, a lock ends with its process."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tvmap import files
from tvmap.errors import StudyError


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
    assert not (tmp_path / "lock").exists()


def test_a_lock_that_is_removed_and_made_anew_is_held_by_one_process_at_a_time(tmp_path):
    """Each waits for a file that its holder removes: eight processes count to 400 together."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    count = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(files.__file__).parents[1])!r})
from tvmap import files
counter = Path({str(counter)!r})
for _ in range(50):
    with files.locked({str(tmp_path / "lock")!r}, int):
        counter.write_text(str(int(counter.read_text()) + 1))
"""
    processes = [subprocess.Popen([sys.executable, "-c", count]) for _ in range(8)]
    assert [process.wait() for process in processes] == 8 * [0]
    assert counter.read_text() == "400" and not (tmp_path / "lock").exists()
