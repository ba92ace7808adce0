"""Maps come back from a file as they were, with what they are for; what is no map is refused in a line."""

import numpy as np
import pytest
import tifffile

from tvmap import map_files
from tvmap.errors import StudyError

RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize("shape", [(1, 7, 9), (2, 7, 9), (6, 7, 9), (2, 1, 5), (2, 5, 1), (3, 1, 1)])
def test_maps_come_back_as_they_were(tmp_path, shape):
    maps = RANDOM.uniform(0, 1, shape).astype(np.float32)
    options = {"boundary": "neumann", "norm": "isotropic", "dual_start": "image", "lipschitz": "sqrt13"}
    options |= {"penalty": "tv", "log_ratio": -0.25}
    map_files.write_maps(tmp_path / "a.tif", maps, "tgv")
    map_files.write_maps(tmp_path / "b.tif", maps, **options)
    np.save(tmp_path / "a.npy", maps)
    for name, expected in (("a.tif", {"penalty": "tgv"}), ("a.npy", {}), ("b.tif", options)):
        found, said = map_files.read_weight(tmp_path / name)
        np.testing.assert_array_equal(found, maps)
        assert said == expected


@pytest.mark.parametrize(
    ("option", "known"),
    [
        ({"boundary": "mirror"}, "periodic and neumann"),
        ({"norm": [1]}, "anisotropic and isotropic"),
        ({"dual_start": {}}, "zero and image"),
        ({"lipschitz": 0}, "3 and sqrt13"),
        ({"log_ratio": "x"}, "±50 is"),
        ({"log_ratio": float("nan")}, "±50 is"),
    ],
)
def test_maps_for_unknown_options_are_refused(tmp_path, option, known):
    map_files.write_maps(tmp_path / "m.tif", np.ones((1, 4, 4), np.float32), "tv", **option)
    with pytest.raises(StudyError, match=f"says that it is for the {[*option][0]} .*{known}"):
        map_files.read_weight(tmp_path / "m.tif")


@pytest.mark.parametrize("penalty", ["foo", ["tv"], 3, {}])
def test_maps_for_an_unknown_penalty_are_refused(tmp_path, penalty):
    map_files.write_maps(tmp_path / "m.tif", np.ones((1, 4, 4), np.float32), penalty)
    with pytest.raises(StudyError, match=r"m\.tif: says that it is for the penalty .*; tv and tgv are known"):
        map_files.read_weight(tmp_path / "m.tif")


def test_what_is_no_map_is_said(tmp_path):
    for name, values, message in (
        ("a.png", None, "from a .tif or .npy"),
        ("none.tif", None, "no such file"),
        ("a.npy", np.zeros((2, 2, 2, 2)), "shape"),
        ("a.npy", -np.ones((2, 2)), "≥ 0"),
        ("a.npy", np.array([["x"]]), "real numbers"),
        ("a.npy", np.ones((2, 2)) + 1j, "real numbers"),
        ("a.npy", np.zeros((0, 3)), "shape"),
        ("a.npy", None, "not one array"),
        ("a.npy", np.ones((7, 2, 2)), "at most 6"),
        ("a.tif", np.ones((7, 2, 2)), "more than 6 pages"),
        ("a.tif", np.ones((2, 2, 3)), "have colours"),
    ):
        if name.endswith("npy") and values is None:
            with open(tmp_path / name, "wb") as file:
                np.savez(file, image=np.ones((2, 2)))
        elif name.endswith("npy"):
            np.save(tmp_path / name, values)
        elif values is not None:
            tifffile.imwrite(tmp_path / name, values, photometric="rgb" if values.shape[-1] == 3 else "minisblack")
        with pytest.raises(StudyError, match=message) as caught:
            map_files.read_weight(tmp_path / name)
        assert "; " in str(caught.value) or message == "no such file", "it says what to do"
