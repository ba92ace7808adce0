"""The manifest: no patient in two splits, duplicates dropped, the same choice whatever the order."""

import random
from dataclasses import replace

import pytest

from tvmap import manifest
from tvmap.errors import StudyError
from tvmap.sources import Candidate

HEADER = b"id,patient,split,source_file,bytes,sha256\n"
COUNTS = {"train": 4, "val": 2, "test": 3}


def one(name, split, content=None, patient=None, folder=""):
    data = (content or folder + name).encode()
    return Candidate(name, patient or manifest.patient_of(name), split, f"{folder}{split}/{name}.jpeg", lambda: data)


def pool():
    return (
        [one(f"IM-{n:04d}-0001", "train") for n in range(100, 110)]
        + [one(f"NORMAL2-IM-{n:04d}-0001", "val") for n in range(200, 204)]
        + [one(f"IM-{n:04d}-0001-0002", "test") for n in range(5)]
    )


def chosen(rows, split):
    return [row["id"] for row in rows if row["split"] == split]


@pytest.mark.parametrize(
    ("stem", "patient"),
    [
        ("IM-0129-0001", "IM-0129"),
        ("NORMAL2-IM-0129-0001", "IM-0129"),
        ("IM-0129-0001-0002", "IM-0129"),
        ("NORMAL2-IM-1442-0001-0001", "IM-1442"),
        ("person7_bacteria_24", "person7"),
        ("person7_virus_9", "person7"),
        ("person1442_virus_9", "person1442"),
        ("IM-129-0001", "IM-129-0001"),
        ("xIM-0129-0001", "xIM-0129-0001"),
        ("holiday", "holiday"),
    ],
)
def test_patient_of(stem, patient):
    assert manifest.patient_of(stem) == patient


def test_choice_is_sorted_counted_and_independent_of_order():
    rows = manifest.build(pool(), COUNTS, [], 42)
    shuffled = pool()
    random.Random(0).shuffle(shuffled)
    assert manifest.build(shuffled, COUNTS, [], 42) == rows
    assert [row["split"] for row in rows] == ["train"] * 4 + ["val"] * 2 + ["test"] * 3
    for split in manifest.SPLITS:
        assert chosen(rows, split) == sorted(chosen(rows, split))
    assert any(manifest.build(pool(), COUNTS, [], seed) != rows for seed in (1, 2, 3))


def test_more_candidates_do_not_reshuffle_the_chosen():
    few = set(chosen(manifest.build(pool(), COUNTS, [], 42), "train"))
    more = set(chosen(manifest.build(pool(), {**COUNTS, "train": 7}, [], 42), "train"))
    assert few < more


def test_patient_in_two_splits_stays_in_test_then_val(caplog):
    candidates = pool() + [
        one("IM-0003-0007", "train"),
        one("NORMAL2-IM-0003-0001", "val"),
        one("IM-0201-0001", "train"),
        one("IM-0201-0002", "test"),
    ]
    rows = manifest.build(candidates, {"train": 99, "val": 99, "test": 99}, [], 42)
    splits = {}
    for row in rows:
        splits.setdefault(row["patient"], set()).add(row["split"])
    assert splits["IM-0003"] == {"test"} and splits["IM-0201"] == {"test"}
    assert all(len(found) == 1 for found in splits.values())
    assert len(chosen(rows, "train")) == 10 and len(chosen(rows, "val")) == 3 and len(chosen(rows, "test")) == 6
    assert "in train, their patient is in another split too: 2 (" in caplog.text
    assert "in val, their patient is in another split too: 2 (" in caplog.text


def test_duplicates_by_name_and_by_content(caplog):
    candidates = pool() + [
        one("IM-0100-0001", "train", folder="again/"),  # the same name in a nested copy, other content
        one("IM-0300-0001", "train", content="train/twin"),
        one("IM-0301-0001", "test", content="train/twin"),  # the same image under two names, across splits
    ]
    rows = manifest.build(candidates, {"train": 99, "val": 99, "test": 99}, [], 42)
    assert chosen(rows, "train").count("IM-0100-0001") == 1 and len(chosen(rows, "train")) == 10
    assert "IM-0300-0001" not in chosen(rows, "train") and "IM-0301-0001" in chosen(rows, "test")
    assert len({row["sha256"] for row in rows}) == len(rows)
    assert "a name that occurred before: 1" in caplog.text and "same bytes as an earlier image: 1" in caplog.text


def test_missing_val_is_filled_from_the_named_ids(caplog):
    candidates = [one_ for one_ in pool() if one_.split != "val"] + [one("NORMAL2-IM-0102-0002", "train")]
    rows = manifest.build(candidates, {**COUNTS, "train": 99}, ["IM-0102-0001", "IM-0105-0001", "absent"], 42)
    assert chosen(rows, "val") == ["IM-0102-0001", "IM-0105-0001"]
    assert len(chosen(rows, "train")) == 8  # ten, less the two moved; the other image of patient 0102 goes too
    assert "NORMAL2-IM-0102-0002" not in chosen(rows, "train")
    assert "1 of 3 not in train: absent" in caplog.text


def test_val_ids_are_not_used_where_val_has_images():
    rows = manifest.build(pool(), {**COUNTS, "train": 99}, ["IM-0102-0001"], 42)
    assert "IM-0102-0001" in chosen(rows, "train")


def test_fewer_than_asked_for_is_said(caplog):
    rows = manifest.build(pool(), {"train": 200, "val": 2, "test": 3}, [], 42)
    assert len(chosen(rows, "train")) == 10
    assert "train: 200 images asked for, 10 available" in caplog.text
    assert "val: 2 images asked" not in caplog.text


@pytest.mark.parametrize("split", manifest.SPLITS)
def test_empty_split_names_its_key(split):
    with pytest.raises(StudyError, match=f"data.images.{split}"):
        manifest.build([candidate for candidate in pool() if candidate.split != split], COUNTS, [], 42)


def test_seeded_split_by_patient():
    candidates = [one(f"IM-{n // 2:04d}-{n % 2:04d}", None) for n in range(40)]
    rows = manifest.build(candidates, COUNTS, [], 42)
    assert [len(chosen(rows, split)) for split in manifest.SPLITS] == [4, 2, 3]
    splits = {}
    for row in manifest.build(candidates, {"train": 40, "val": 4, "test": 20}, [], 42):
        splits.setdefault(row["patient"], set()).add(row["split"])
    assert len(splits) == 20 and all(len(found) == 1 for found in splits.values())
    assert manifest.build(candidates[::-1], COUNTS, [], 42) == rows
    assert manifest.build(candidates, COUNTS, [], 43) != rows


def test_seeded_split_shrinks_in_proportion():
    rows = manifest.build([one(f"photo{n}", None) for n in range(31)], {"train": 200, "val": 10, "test": 100}, [], 42)
    assert [len(chosen(rows, split)) for split in manifest.SPLITS] == [20, 1, 10]


def test_written_file_is_read_back_and_has_the_same_bytes_twice(tmp_path):
    rows = manifest.build(pool(), COUNTS, [], 42)
    manifest.write(tmp_path / "a.csv", rows)
    manifest.write(tmp_path / "b.csv", manifest.build(pool()[::-1], COUNTS, [], 42))
    assert manifest.read(tmp_path / "a.csv") == rows
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == "id,patient,split,source_file,bytes,sha256"


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", HEADER[:-9], HEADER + b"a,a,test,a.png", HEADER + b"a,a,test,a,9x,0", b"\xff"]
)
def test_other_file_is_no_manifest(tmp_path, content):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(StudyError, match="m.csv"):
        manifest.read(tmp_path / "m.csv")


def test_a_manifest_has_images_of_every_split_and_of_no_other(tmp_path):
    rows = [
        {"id": s, "patient": s, "split": s, "source_file": f"{s}.png", "bytes": 1, "sha256": "0"}
        for s in manifest.SPLITS
    ]
    path = tmp_path / "m.csv"
    for changed, said in (
        (rows[:2], "split 'test' has no image"),
        ([*rows, rows[0] | {"split": "foo"}], "split 'foo' is none of train, val, test"),
        ([], "split 'test' has no image"),
    ):
        manifest.write(path, changed)
        with pytest.raises(StudyError, match=rf"m\.csv: {said}; give another one, or"):
            manifest.read(path)
    manifest.write(path, rows)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as some editors begin a text
    assert manifest.read(path) == rows
    for gone in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(StudyError, match=r"cannot be read \(.*\); give a study's manifest\.csv"):
            manifest.read(gone)


def rows_of(n_patients=23, n_test=5):
    """A study in which patient k has 1 + k % 3 images; the last `n_test` patients are tested."""
    found = []
    for k in range(n_patients):
        split = "test" if k >= n_patients - n_test else "val" if k < 2 else "train"
        names = [f"IM-{k:04d}-{j:04d}" for j in range(1 + k % 3)]
        found += [{"id": name, "patient": f"IM-{k:04d}", "split": split, "sha256": name} for name in names]
    return found


def test_folds_hold_out_every_patient_of_train_and_val_once():
    rows = rows_of()
    tested, sizes = [], []
    for number in range(1, 5):
        fold = manifest.hold_out(rows, number, 4, n_val=3, seed=42)
        assert {row["id"] for row in fold} == {row["id"] for row in rows if row["split"] != "test"}
        patients = {split: {row["patient"] for row in fold if row["split"] == split} for split in manifest.SPLITS}
        assert not patients["test"] & patients["train"] and not patients["val"] & (patients["train"] | patients["test"])
        assert 3 <= len(chosen(fold, "val")) <= 5
        assert [row["split"] for row in fold] == sorted((row["split"] for row in fold), key=manifest.SPLITS.index)
        tested += chosen(fold, "test")
        sizes.append(len(chosen(fold, "test")))
    assert sorted(tested) == sorted(row["id"] for row in rows if row["split"] != "test")
    assert max(sizes) - min(sizes) <= 3


def test_folds_depend_on_the_seed_and_not_on_the_test_images():
    without = [row for row in rows_of() if row["split"] != "test"]
    fold = manifest.hold_out(rows_of(), 1, 4, n_val=3, seed=42)
    assert manifest.hold_out(without, 1, 4, n_val=3, seed=42) == fold
    assert manifest.hold_out(rows_of()[::-1], 1, 4, n_val=3, seed=42) == fold
    assert any(manifest.hold_out(rows_of(), 1, 4, n_val=3, seed=seed) != fold for seed in (1, 2))


def test_folds_that_cannot_be_are_refused():
    with pytest.raises(StudyError, match="data.fold.of: 19 folds of 18 patients"):
        manifest.hold_out(rows_of(), 1, 19, n_val=3, seed=42)
    with pytest.raises(StudyError, match="2 folds leave no patient for training"):
        manifest.hold_out(rows_of(), 1, 2, n_val=99, seed=42)


def test_fold_of_a_study_is_dealt_from_its_own_choice():
    rows = manifest.build(pool(), COUNTS, [], 42)
    fold = manifest.build(pool(), COUNTS, [], 42, {"number": 2, "of": 3})
    assert fold == manifest.hold_out(rows, 2, 3, n_val=2, seed=42)
    assert not {row["id"] for row in fold} & set(chosen(rows, "test"))


def test_the_images_of_another_manifest_are_found_by_their_bytes_in_its_splits():
    """In a source with other splits, more images, and other bytes under the same name; the files alone differ."""
    listed = manifest.build(pool(), COUNTS, [], 42)
    whole = [one(f"IM-{n:04d}-0001", "test", "other bytes") for n in range(100, 110)]
    whole += [replace(c, split="train", source_file=f"all/{c.id}.jpeg") for c in pool()]
    found = manifest.build(whole, COUNTS, ["IM-0100-0001"], 42, listed=listed)
    assert [row | {"source_file": ""} for row in found] == [row | {"source_file": ""} for row in listed]
    assert {row["source_file"] for row in found} == {f"all/{row['id']}.jpeg" for row in listed}
    fold = {"number": 2, "of": 3}
    ids = [(row["id"], row["split"]) for row in manifest.build(whole, COUNTS, [], 42, fold, listed)]
    assert ids == [(row["id"], row["split"]) for row in manifest.build(pool(), COUNTS, [], 42, fold)]


def test_an_image_of_another_manifest_that_is_missing_is_named():
    listed = manifest.build(pool(), COUNTS, [], 42)
    other = [one(c.id, c.split, "changed") if c.id == listed[2]["id"] else c for c in pool()]
    with pytest.raises(StudyError, match=f"data.manifest: 1 of its 9 images .* the first is {listed[2]['id']}"):
        manifest.build(other, COUNTS, [], 42, listed=listed)
