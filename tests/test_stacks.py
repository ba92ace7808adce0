"""Stacks of arrays: the same bytes, never half a file, a clear line for a damaged one."""

import numpy as np
import pytest

from tvmap import stacks
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
