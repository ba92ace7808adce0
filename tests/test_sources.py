"""Sources: the archive's real layout, folders, the bundled photographs, and sources that cannot be had."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

import prepare_images
import select_images
from tvmap import manifest, sources, stacks
from tvmap.errors import StudyError

COUNTS = {"train": 3, "val": 1, "test": 2}


def picture(number, colour=False, kind="JPEG"):
    shape = (24, 30, 3) if colour else (24, 30)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, shape).astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path):
    """The layout of the published archive: nested folder, files of macOS, grey and RGB, two categories."""
    path = tmp_path / "archive.zip"
    names = [f"train/NORMAL/IM-{n:04d}-0001.jpeg" for n in range(100, 106)]
    names += ["val/NORMAL/NORMAL2-IM-1427-0001.jpeg", "test/NORMAL/IM-0001-0001.jpeg", "test/NORMAL/IM-0003-0001.jpeg"]
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("chest_xray/", b"")
        for number, name in enumerate(names):
            for root in ("chest_xray/", "chest_xray/chest_xray/"):
                file.writestr(root + name, picture(number, colour=number % 2 == 0))
            file.writestr(f"chest_xray/__MACOSX/{name.replace('IM-', '._IM-', 1)}", b"Mac OS X resource")
            file.writestr(f"chest_xray/__MACOSX/{name}", b"Mac OS X resource")
        file.writestr("chest_xray/train/.DS_Store", b"\0\0\0\1Bud1")
        file.writestr("chest_xray/train/NORMAL/.DS_Store", b"\0\0\0\1Bud1")
        file.writestr("chest_xray/train/NORMAL/._IM-0100-0001.jpeg", b"resource")
        file.writestr("chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg", picture(50))
    return path


def test_archive_end_to_end(archive, tmp_path):
    chosen = tmp_path / "manifest.csv"
    select_images.main("archive", "NORMAL", str(archive), None, COUNTS, [], 16, 1, chosen)
    rows = manifest.read(chosen)
    assert [row["split"] for row in rows] == ["train"] * 3 + ["val"] + ["test"] * 2
    assert {row["patient"] for row in rows if row["split"] != "train"} == {"IM-0001", "IM-0003", "IM-1427"}
    for split, count in COUNTS.items():
        prepare_images.main("archive", "NORMAL", str(archive), None, chosen, split, 16, tmp_path / f"{split}.npz")
        stack = stacks.load(tmp_path / f"{split}.npz")
        assert list(stack["ids"]) == [row["id"] for row in rows if row["split"] == split]
        assert stack["images"].shape == (count, 16, 16) and stack["images"].dtype == np.float32
        assert 0 <= stack["images"].min() < stack["images"].max() <= 1


def test_views_stand_beside_the_images_and_depend_on_seed_and_image_alone(archive, tmp_path):
    chosen = tmp_path / "manifest.csv"
    select_images.main("archive", "NORMAL", str(archive), None, COUNTS, [], 16, 1, chosen)
    found = []
    for name, views, seed in (("a", 1, 5), ("b", 4, 5), ("c", 4, 5), ("d", 4, 6)):
        path = tmp_path / f"{name}.npz"
        prepare_images.main("archive", "NORMAL", str(archive), None, chosen, "train", 16, path, views, seed)
        found.append(stacks.load(path))
    plain, first, again, other = found
    assert "views" not in plain and first["views"].shape == (3, 3, 16, 16)
    np.testing.assert_array_equal(first["images"], plain["images"])
    np.testing.assert_array_equal(first["views"], again["views"])
    assert not np.array_equal(first["views"], other["views"])


def test_archive_lists_only_images_of_the_category(archive):
    with sources.opened("mendeley", "NORMAL", archive, None, 16) as candidates:
        assert len(candidates) == 18  # nine images, each in the outer and the nested folder
        assert {candidate.split for candidate in candidates} == {"train", "val", "test"}
    with sources.opened("archive", "PNEUMONIA", archive, None, 16) as candidates:
        assert [(one.id, one.patient) for one in candidates] == [("person1_bacteria_1", "person1")]
    with pytest.raises(StudyError, match="data.category"), sources.opened("archive", "OTHER", archive, None, 16):
        pass


def test_prepare_refuses_a_file_that_changed(archive, tmp_path):
    chosen = tmp_path / "manifest.csv"
    select_images.main("archive", "NORMAL", str(archive), None, COUNTS, [], 16, 1, chosen)
    row = next(row for row in manifest.read(chosen) if row["split"] == "val")
    text = chosen.read_text()
    chosen.write_text(text.replace(row["sha256"], "0" * 64))
    with pytest.raises(StudyError, match="NORMAL2-IM-1427-0001.jpeg.*no longer"):
        prepare_images.main("archive", "NORMAL", str(archive), None, chosen, "val", 16, tmp_path / "val.npz")
    chosen.write_text(text.replace(row["source_file"], "gone.jpeg"))
    with pytest.raises(StudyError, match="gone.jpeg.*missing"):
        prepare_images.main("archive", "NORMAL", str(archive), None, chosen, "val", 16, tmp_path / "val.npz")
    assert not (tmp_path / "val.npz").exists()


def test_member_outside_the_archive_is_never_written(tmp_path):
    path = tmp_path / "in" / "evil.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../../train/NORMAL/evil.jpeg", picture(0))
    with sources.opened("archive", "NORMAL", path, None, 16) as candidates:
        assert candidates[0].read() == picture(0)
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]


def test_member_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("train/NORMAL/a.jpeg", b"\0" * 5000)
    monkeypatch.setattr(sources, "MEMBER_BYTES", 4999)
    with (
        sources.opened("archive", "NORMAL", path, None, 16) as candidates,
        pytest.raises(StudyError, match="a.jpeg unpacks to 5000"),
    ):
        candidates[0].read()


def test_damaged_archives_are_named(archive, tmp_path):
    data = bytearray(archive.read_bytes())
    (tmp_path / "short.zip").write_bytes(data[:-200])
    short = tmp_path / "short.zip"
    with pytest.raises(StudyError, match="short.zip"), sources.opened("archive", "NORMAL", short, None, 8):
        pass
    data[data.index(b"JFIF") + 100] ^= 255
    (tmp_path / "flip.zip").write_bytes(data)
    with (
        sources.opened("archive", "NORMAL", tmp_path / "flip.zip", None, 8) as candidates,
        pytest.raises(StudyError, match="IM-0100-0001.jpeg cannot be unpacked"),
    ):
        [candidate.read() for candidate in candidates]


@pytest.mark.parametrize(
    ("source", "key"),
    [("archive", "data.archive"), ("mendeley", "data.archive"), ("folder", "data.folder"), ("kaggle", "data.source")],
)
@pytest.mark.parametrize("path", [None, "nowhere"])
def test_source_that_cannot_be_had_is_an_error_not_a_switch(source, key, path):
    with pytest.raises(StudyError, match=key), sources.opened(source, "NORMAL", path, path, 16):
        pass


def test_folder_with_splits(tmp_path, caplog):
    for number, name in enumerate(["train/a.png", "train/deep/b.tif", "val/c.jpg", "test/d.png", "e.png", ".hid.png"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(io.BytesIO(picture(number))).save(path)
    (tmp_path / "train" / "notes.txt").write_text("no image")
    with sources.opened("folder", None, None, str(tmp_path), 16) as candidates:
        found = {candidate.source_file: candidate.split for candidate in candidates}
    assert found == {"train/a.png": "train", "train/deep/b.tif": "train", "val/c.jpg": "val", "test/d.png": "test"}
    assert "1 images outside train, val and test" in caplog.text


def test_folder_without_splits_end_to_end_and_a_bad_file(tmp_path):
    for number in range(8):
        (tmp_path / f"photo{number}.jpg").write_bytes(picture(number))
    chosen = tmp_path / "manifest.csv"
    select_images.main("folder", None, None, str(tmp_path), COUNTS, [], 8, 3, chosen)
    rows = manifest.read(chosen)
    assert len(rows) == 6 and len({row["patient"] for row in rows}) == 6
    bad = next(row for row in rows if row["split"] == "test")["source_file"]
    (tmp_path / bad).write_bytes(b"no image")
    select_images.main("folder", None, None, str(tmp_path), COUNTS, [], 8, 3, chosen)
    with pytest.raises(StudyError, match=f"^{bad}: cannot be read as an image"):
        prepare_images.main("folder", None, None, str(tmp_path), chosen, "test", 8, tmp_path / "test.npz")


def test_sample_needs_no_network_and_keeps_scenes_apart(monkeypatch):
    import socket

    monkeypatch.setattr(socket.socket, "connect", None)
    with sources.opened("sample", None, None, None, 256) as candidates:
        count = {split: sum(one.split == split for one in candidates) for split in manifest.SPLITS}
        scenes = {split: {one.patient for one in candidates if one.split == split} for split in manifest.SPLITS}
        tiles = {one.id: one.grey(256) for one in candidates if one.split == "test"}
    assert count == {"train": 30, "val": 6, "test": 11}
    assert not (scenes["train"] & scenes["val"] or scenes["train"] & scenes["test"] or scenes["val"] & scenes["test"])
    assert {name for name in tiles if name.startswith("camera")} == {f"camera-{tile}" for tile in range(4)}
    from skimage import data

    np.testing.assert_array_equal(np.rint(tiles["camera-2"] * 255), data.camera()[256:, :256])


def test_sample_end_to_end(tmp_path):
    chosen = tmp_path / "manifest.csv"
    select_images.main("sample", None, None, None, {"train": 200, "val": 8, "test": 100}, [], 32, 42, chosen)
    rows = manifest.read(chosen)
    assert len({row["id"] for row in rows}) == len(rows) and max(int(row["id"][-1]) for row in rows) == 3
    assert {row["patient"] for row in rows if row["source_file"].startswith("motorcycle")} == {"motorcycle"}
    prepare_images.main("sample", None, None, None, chosen, "val", 32, tmp_path / "val.npz")
    assert stacks.load(tmp_path / "val.npz")["images"].shape[1:] == (32, 32)


def test_photographs_too_small_for_a_tile_are_left_out(caplog):
    with sources.opened("sample", None, None, None, 400) as candidates:
        assert "coins.png" not in {candidate.source_file for candidate in candidates}
    assert "coins.png" in caplog.text
