"""Hostile input: it is read, or ends in one line that names the file; nothing else is written, run or filled."""

import contextlib
import gzip
import hashlib
import io
import os
import pickle
import random
import re
import shutil
import socket
import subprocess
import sys
import zipfile

import fuzz
import hostile
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import skimage
import tifffile
import torch
from archive_server import Server
from PIL import Image
from smoke import ROOT, fresh, snakemake

import draw_failures
import prepare_images
import retrieve_archive
import select_images
from tvmap import download, files, images, logs, manifest, network, pictures, sources, stacks, tables, training
from tvmap.errors import StudyError

SIZE, COUNTS = 8, {"train": 9, "val": 9, "test": 99}
IMAGES, ARCHIVES = hostile.images(), hostile.archives()
LINE = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2} (INFO|WARNING|ERROR) .*")
PEAK, OF_COMMAND = 1024, 2048  # MiB of a process of the study and of the command `tvmap`, whatever it is given

each_image = pytest.mark.parametrize("name", IMAGES)
each_archive = pytest.mark.parametrize("name", ARCHIVES)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with images and a file beside the one that a study is run in."""
    place = tmp_path_factory.mktemp("hostile")
    for folder in ("study/results", "study/resources", "photographs/data", "home"):
        (place / folder).mkdir(parents=True)
    (place / "home/.profile").write_text("canary")
    for one in hostile.sound():
        path = place / "images" / one["local"]["name"].decode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one["packed"])
    for split in manifest.SPLITS:
        photograph = hostile.encoded(hostile.noise(seed=100 + len(split)), "PNG")
        (place / f"photographs/data/{split}.png").write_bytes(photograph)
    return place


@pytest.fixture
def study(place, monkeypatch):
    """The folder of a study; whatever is written outside its results and resources fails the test."""
    monkeypatch.chdir(place / "study")
    monkeypatch.setattr(files.os, "fsync", lambda file: None)  # a thousand of them would take a minute
    before = written(place)
    yield place / "study"
    assert written(place) == before


def written(place):
    """{file: its bytes and time} of all but results and resources."""
    allowed = place / "study/results", place / "study/resources"
    paths = [path for path in place.rglob("*") if path.is_file() and not {*allowed} & {*path.parents}]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def refusal(capfd, source, path, views=3):
    """Read all images of a source as the workflow does; the one line that refuses them, or None."""
    with hostile.confined("results"):
        return _refusal(capfd, source, path, views)


def _refusal(capfd, source, path, views):
    paths = {"archive": path, "mendeley": path, "folder": None}.get(source), path if source == "folder" else None
    where = source, "NORMAL", *(str(path) if path else None for path in paths)
    for log in ("select", *manifest.SPLITS):
        try:
            with logs.logged_to(f"results/{log}.log"):
                if log == "select":
                    select_images.main(*where, COUNTS, [], SIZE, 1, "results/manifest.csv")
                else:
                    several = 1 if source == "sample" else views
                    stack = f"results/{log}.npz"
                    prepare_images.main(*where, "results/manifest.csv", log, SIZE, stack, several)
        except SystemExit as stopped:
            assert stopped.code == 1
            with open(f"results/{log}.log", encoding="utf-8") as file:
                lines = file.read().split("\n")[:-1]
            assert all(LINE.fullmatch(line) for line in lines), lines
            errors = [line for line in lines if " ERROR " in line[:20]]
            assert len(errors) == 1, lines
            assert not re.search("Traceback|Warning:", capfd.readouterr().err)
            return errors[0]
    images = stacks.load("results/test.npz")["images"]
    assert len(images) and images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
    assert not re.search("Traceback|Warning:| ERROR ", capfd.readouterr().err)
    return None


def check(refused, expectation, *names):
    """The line, or that there is none, is what was expected, and it names the file."""
    if expectation == hostile.READ:
        assert refused is None
    elif expectation != hostile.EITHER:
        assert refused and expectation in refused
    assert refused is None or any(name in refused for name in names), refused


def test_there_are_many_cases():
    malformed = [sum(expectation != hostile.READ for _, expectation in part.values()) for part in (IMAGES, ARCHIVES)]
    assert malformed[0] >= 250 and malformed[1] >= 90
    assert len({content for content, _ in IMAGES.values()}) >= 200
    for part in (IMAGES, ARCHIVES):
        expected = [expectation for _, expectation in part.values()]
        assert expected.count(hostile.EITHER) < len(expected) / 4
        assert expected.count(hostile.READ) > len(expected) / 10


def test_what_is_written_elsewhere_is_met(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.write_text("kept")
    (inside / "link").symlink_to(outside)
    with hostile.confined(inside):
        (inside / "a").write_text("")
        (inside / "a").rename(inside / "b")
        outside.read_text()
    for stray in (
        lambda: outside.write_text(""),
        lambda: (inside / "../new").touch(),
        lambda: (inside / "link").write_text(""),
        lambda: (tmp_path / "folder").mkdir(),
        lambda: (inside / "b").rename(outside),
        lambda: zipfile.ZipFile(io.BytesIO(ARCHIVES["name of parents"][0])).extractall(tmp_path),
    ):
        with pytest.raises(AssertionError, match="open|os"), hostile.confined(inside), contextlib.suppress(OSError):
            stray()
    assert outside.read_text() == "kept" and {path.name for path in tmp_path.iterdir()} == {"inside", "outside"}


@each_image
def test_images_of_a_folder_an_archive_and_the_sample(study, server, monkeypatch, capfd, name):
    content, expectation = IMAGES[name]
    path = study.parent / "images/x/test/NORMAL" / name
    path.write_bytes(content)
    try:
        refused = refusal(capfd, "folder", study.parent / "images")
    finally:
        path.unlink()
    check(refused, expectation, name)

    archive = study / "resources/archive.zip"
    archive.write_bytes(hostile.zipped([*hostile.sound(), hostile.entry(f"x/test/NORMAL/{name}", content)]))
    again = refusal(capfd, "archive", archive)
    assert (again and again[9:]) == (refused and refused[9:].replace(" test/", " x/test/"))
    if list(IMAGES).index(name) % 10 == 0:
        downloaded(server, monkeypatch, archive.read_bytes())
        assert (refusal(capfd, "mendeley", archive) or "")[9:] == (again or "")[9:]

    photograph = study.parent / "photographs/data" / name
    photograph.write_bytes(content)
    monkeypatch.setattr(skimage, "__file__", str(study.parent / "photographs/__init__.py"))
    names = {"train": "train.png", "val": "val.png", "test": name}
    monkeypatch.setattr(sources, "PHOTOGRAPHS", {split: [(file, split)] for split, file in names.items()})
    try:
        refused = refusal(capfd, "sample", None)
    finally:
        photograph.unlink()
    if refused and "data.images.test: the source has no image" in refused:  # a photograph smaller than a tile
        assert expectation in (hostile.FLAT, hostile.EITHER)
    else:
        check(refused, expectation, name)


@pytest.fixture(scope="module")
def server():
    """A server of one file, of any content."""
    with Server() as server:
        yield server


def downloaded(server, monkeypatch, content):
    """Let `server` have this archive, and the study download it to resources/archive.zip."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.data = content
    with hostile.confined("resources"):
        retrieve_archive.main(server.url, "resources/archive.zip", len(content), hashlib.sha256(content).hexdigest())


@each_archive
def test_archives_given_and_downloaded(study, server, monkeypatch, capfd, name):
    content, expectation = ARCHIVES[name]
    archive = study / "resources/archive.zip"
    shutil.rmtree(archive.parent)
    archive.parent.mkdir()
    archive.write_bytes(content)
    refused = refusal(capfd, "archive", archive)
    check(refused, expectation, "archive.zip", "/NORMAL/", "data.images.test")
    if content:
        downloaded(server, monkeypatch, content)
        again = refusal(capfd, "mendeley", archive)
        assert (again and again[9:]) == (refused and refused[9:])


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_the_targets_of_make_fuzz_find_nothing_in_a_few_changes(target, tmp_path):
    draw = random.Random(0)
    for content in draw.sample([content for content in fuzz.seeds()[target] if 0 < len(content) < 8000], 60):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[draw.randrange(len(damaged))] = draw.choice((0, 1, 127, 128, 255))
        fuzz.TARGETS[target](bytes(damaged), tmp_path)


# What stands for a process of libFuzzer, and how it is judged.
ENDS = {
    "runs": ("print('#2 INITED cov: 3 ft: 4'); print('stat::number_of_executed_units: 5')", 0),
    "dies at its start": ("raise SystemExit('no module')", 1),
    "runs nothing": ("print('#2 INITED cov: 3 ft: 4'); print('stat::number_of_executed_units: 0')", 1),
}


@pytest.mark.parametrize("end", ENDS)
def test_make_fuzz_fails_where_a_target_does_not_run(tmp_path, monkeypatch, capsys, end):
    code, status = ENDS[end]
    started = []

    def start(target, seconds, log):
        started.append(target)
        return subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)

    monkeypatch.setattr(fuzz, "FOLDER", tmp_path / "fuzz")
    monkeypatch.setattr(fuzz, "TARGETS", {"maps": fuzz.read_maps})
    monkeypatch.setattr(fuzz, "seeds", lambda: {"maps": [b"x"]})
    monkeypatch.setattr(fuzz, "start", start)
    seconds = 60 if end == "dies at its start" else 0  # else its time is over when it ends
    assert fuzz.main(seconds) == status
    said = capsys.readouterr().out
    assert ("maps: broken" in said) == bool(status) and (str(tmp_path / "fuzz/maps.log") in said) == bool(status)
    assert "0 findings" in said and started.count("maps") == (2 if seconds else 1)


# --- names


def rows_of(source, path):
    """{file: row} of the manifest that a source gives."""
    paths = (None, path) if source == "folder" else (path, None)
    select_images.main(source, "NORMAL", *paths, COUNTS, [], SIZE, 1, "results/manifest.csv")
    return {row["source_file"]: row for row in manifest.read("results/manifest.csv")}


@pytest.mark.parametrize(
    "name", ["a,b", 'a"b', "a'b", "=1+2", "@SUM(A1)", "-1", "001", "NA", "a;b\\c", "画像-Λ\u00a0ü", "$x$_|y|<b>"]
)
def test_odd_names_are_kept_letter_by_letter(study, name):
    folder = study / "resources/odd"
    shutil.copytree(study.parent / "images", folder)
    (folder / f"x/test/NORMAL/{name}.png").write_bytes(hostile.whole()["PNG"])
    try:
        row = rows_of("folder", str(folder))[f"x/test/NORMAL/{name}.png"]
        assert row["id"] == row["patient"] == name
        prepare_images.main("folder", None, None, str(folder), "results/manifest.csv", "test", SIZE, "results/test.npz")
        assert name in stacks.load("results/test.npz")["ids"]
    finally:
        shutil.rmtree(folder)


def test_of_two_members_of_one_name_the_first_is_taken(study):
    first, second = hostile.whole()["PNG"], hostile.encoded(hostile.noise(seed=9), "PNG")
    archive = study / "resources/archive.zip"
    archive.write_bytes(hostile.zipped([*hostile.sound(), hostile.entry(data=first), hostile.entry(data=second)]))
    assert rows_of("archive", str(archive))["x/test/NORMAL/h.png"]["sha256"] == hashlib.sha256(first).hexdigest()
    where = "archive", "NORMAL", str(archive), None
    prepare_images.main(*where, "results/manifest.csv", "test", SIZE, "results/test.npz")
    stack = stacks.load("results/test.npz")
    np.testing.assert_array_equal(stack["images"][list(stack["ids"]).index("h")], images.read_grey(first, "h", SIZE))


def test_what_is_no_file_in_a_folder_is_passed_over_and_no_name_runs_anything(study):
    """Links in a circle, to nowhere and to a folder, pipes, sockets, devices, folders: none may be waited for."""
    folder = study / "resources/odd"
    shutil.copytree(study.parent / "images", folder)
    inside = folder / "x/test/NORMAL"
    (inside / "folder.png").mkdir()
    os.mkfifo(inside / "pipe.png")
    for name, target in {
        "circle.png": "circle.png",
        "nowhere.png": "nowhere",
        "long.png": "x" * 300,
        "zero.png": "/dev/zero",
        "terminal.png": "/dev/stdin",
        "up": "../..",
        "root": "/",
    }.items():
        (inside / name).symlink_to(target)
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.chdir(inside), listener:
        listener.bind("socket.png")
    (inside / "link.png").symlink_to(study.parent / "photographs/data/test.png")
    (inside / "$(touch canary).png").write_bytes(hostile.whole()["PNG"])
    try:
        found = rows_of("folder", str(folder))
    finally:
        shutil.rmtree(folder)
    assert {name for name in found if "/test/" in name} == {
        f"x/test/NORMAL/{name}.png" for name in ("test0", "test1", "link", "$(touch canary)")
    }


def test_files_that_cannot_be_read_or_never_end_are_named(study, capfd, monkeypatch):
    monkeypatch.setattr(sources, "FILE_BYTES", 2**20)
    path = study.parent / "images/x/test/NORMAL/h.png"
    for target, expectation in (("/proc/self/mem", "cannot be read"), (None, "has more than 1048576 bytes")):
        if target:
            path.symlink_to(target)
        else:
            path.touch()
            os.truncate(path, 2**36)  # 64 GiB of nothing on the disk
        try:
            check(refusal(capfd, "folder", study.parent / "images"), expectation, "NORMAL/h.png")
        finally:
            path.unlink()


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"a\nb.png", b"a\x1b[2J.png", b"\xc2\x85.png"])
def test_names_that_no_line_can_hold_are_refused_on_one(study, capfd, name):
    path = study.parent / "images/x/test/NORMAL" / os.fsdecode(name)
    path.write_bytes(hostile.whole()["PNG"])
    try:
        check(refusal(capfd, "folder", study.parent / "images"), "rename it", "x/test/NORMAL/")
    finally:
        path.unlink()


def test_names_in_the_log_cannot_end_its_line_or_steer_the_terminal(tmp_path, capfd):
    with logs.logged_to(tmp_path / "log") as log:
        log.warning("left out: %s", "a\n12:00:00 ERROR b\x1b[2J\udcff Λ")
    first = (tmp_path / "log").read_text(encoding="utf-8").splitlines()[0]
    assert first.endswith(r"WARNING left out: a\n12:00:00 ERROR b\x1b[2J\udcff Λ")
    assert capfd.readouterr().err.splitlines()[0] == first


def test_names_are_no_formulas_in_figures_and_no_columns_in_tables(tmp_path):
    figure, panel = plt.subplots()
    part = pd.DataFrame({"id": [r"$\frac$", "$a", "b$$"], "gain": [1.0, 2.0, 3.0], "noise_std": [0.1, 0.2, 0.3]})
    draw_failures.draw_images(panel, part)
    figure.canvas.draw()
    plt.close(figure)
    tables.write_markdown(tmp_path / "a.csv", "Title", (["Image", "n"], [["a|b", "1"]]))
    assert r"| a\|b | 1 |" in (tmp_path / "a.md").read_text()


# --- the whole program


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return fresh(tmp_path_factory.mktemp("repository"))


@pytest.mark.parametrize(
    ("source", "name", "expectation"),
    [
        ("folder", b"h\xff.png", r"h\udcff.png': has characters in its name"),
        ("folder", b"{h}.png", "{h}.png: Snakemake takes braces in a name for a wildcard; rename it"),
        ("folder", b"h.png", "test/NORMAL/h.png: cannot be read as an image"),
        ("archive", "name of a new line", r"h\n12:00:00 ERROR all is lost.png': has characters in its name"),
    ],
)
def test_the_workflow_ends_with_one_line_and_writes_nowhere_else(repository, source, name, expectation):
    for path in ("hostile", "results", "hostile.zip"):
        shutil.rmtree(repository / path, ignore_errors=True)
    if source == "folder":
        for one in hostile.sound():
            path = repository / "hostile" / one["local"]["name"].decode()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one["packed"])
        (path.parent / os.fsdecode(name)).write_bytes(hostile.png(end=False))
    else:
        (repository / "hostile.zip").write_bytes(ARCHIVES[name][0])
    change = {"study": "h", "data": {"source": source, "folder": "hostile", "archive": "hostile.zip"}}
    (repository / "change.yaml").touch()
    before = {path for path in repository.parent.rglob("*") if not {".snakemake", "__pycache__"} & {*path.parts}}
    run = snakemake(repository, "results/h/clean/test.npz", change=change)
    after = {path for path in repository.parent.rglob("*") if not {".snakemake", "__pycache__"} & {*path.parts}}
    assert {path.relative_to(repository).parts[0] for path in after - before} <= {"results"}
    assert run.returncode == 1 and "Traceback" not in run.stdout, run.stdout
    assert len([line for line in run.stdout.splitlines() if expectation in line]) == 1, run.stdout


# --- memory


def measured(code):
    """Run Python code in a process of its own; its output and its peak of memory in MiB."""
    # ru_maxrss would begin at the peak of this process, from which that one is forked; VmHWM begins anew.
    end = "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT / "workflow/scripts")])}
    command = [sys.executable, "-c", f"{code}\n{end}"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert run.returncode == 0, run.stderr
    *output, peak = run.stdout.splitlines()
    return output, int(peak) / 2**10


LARGEST = """
import zlib, hostile
from tvmap import images
side, n = 9459, {n}
pack = zlib.compressobj(1)
row = b"\\0" + bytes(range(256)) * (n * side // 256) + bytes(n * side % 256)
content = b"".join(pack.compress(row * 50) for _ in range(0, side, 50)) + pack.flush()
content = hostile.png(header=(side, side, {header}), data=content)
"""
BY_STUDY = """
images.read_grey(content, "x", 8)
"""
BY_COMMAND = """
from tvmap import pictures
open({path!r}, "wb").write(content)
print(pictures.read({path!r}).channels.shape)
"""


@pytest.mark.parametrize(
    ("n", "header", "channels"),
    [(4, "8, 6, 0, 0, 0", 3), (2, "16, 0, 0, 0, 0", 1), (8, "16, 6, 0, 0, 0", 3)],
    ids=["RGBA", "16 bit", "RGBA, 16 bit"],
)
def test_the_largest_image_that_is_read_stays_below_the_bound(n, header, channels, tmp_path):
    largest, path = LARGEST.format(n=n, header=header), str(tmp_path / "a.png")
    assert measured(largest + BY_STUDY)[1] < PEAK
    output, peak = measured(largest + BY_COMMAND.format(path=path))
    assert output == [f"({channels}, 9459, 9459)"] and peak < OF_COMMAND


def test_the_largest_grey_image_of_16_bits_that_is_no_png_stays_below_the_bound(tmp_path):
    path = tmp_path / "a.pgm"
    with open(path, "wb") as file:
        file.write(b"P5 9459 9459 65535\n")
        for _ in range(9459):
            file.write(bytes(range(256)) * 73 + bytes(range(230)))
    for code, bound in (("images.read_grey({0!r}, 'x', 8)", PEAK), ("pictures.read({0!r})", OF_COMMAND)):
        assert measured("from tvmap import images, pictures\n" + code.format(str(path)))[1] < bound


def test_large_images_of_kinds_that_cost_too_much_are_refused(tmp_path):
    """WebP takes three times the memory of its pixels; PPM that is text, or ends at odd numbers, 30 seconds at most."""
    wide, high = 8192, 4097
    header = f"{wide} {high}".encode()
    contents = {"a.ppm": b"P3 " + header + b" 255\n1 2 3", "b.pgm": b"P5 " + header + b" 1000\n\0\1", "c.webp": b""}
    Image.new("L", (wide, high)).save(tmp_path / "c.webp", lossless=True)
    for name, content in contents.items():
        path = tmp_path / name
        if content:
            path.write_bytes(content)
        for read in (lambda path: images.read_grey(path, str(path), 8), pictures.read):
            with pytest.raises(StudyError, match=rf"{name}: (PPM|WEBP) of its kind has at most 33,554,432 pixels"):
                read(path)
    Image.new("L", (64, 64), 9).save(path)
    assert pictures.read(path).channels.shape[1:] == (64, 64)


@pytest.mark.parametrize(("n", "dtype"), [(3, np.uint16), (1, np.float64)])
def test_the_largest_tiff_that_is_read_stays_below_the_bound(n, dtype, tmp_path):
    path, photometric = tmp_path / "a.tif", "rgb" if n == 3 else "minisblack"
    values = np.broadcast_to(np.arange(9459, dtype=dtype)[:, None, None], (9459, 9459, n))
    tifffile.imwrite(path, values, photometric=photometric, compression="zlib", rowsperstrip=300)
    code = f"from tvmap import pictures\nprint(pictures.read({str(path)!r}).channels.shape)"
    output, peak = measured(code)
    assert output == [f"({n}, 9459, 9459)"] and peak < OF_COMMAND


def written_array(path):
    np.lib.format.open_memmap(path, "w+", ">f4", (8840, 8840, 3)).flush()  # zeros, which take no room on the disk


def written_scan(path):
    values = np.broadcast_to(np.arange(7220, dtype=np.int16), (7220, 7220))
    window = {"RescaleSlope": 2, "RescaleIntercept": 0, "WindowCenter": 40, "WindowWidth": 400}
    hostile.dicom(path, values, PhotometricInterpretation="MONOCHROME1", VOILUTFunction="SIGMOID", **window)


def written_maps(path):
    maps = np.zeros((6, 6250, 6250), np.float32)
    tifffile.imwrite(path, maps, photometric="minisblack", compression="zlib", rowsperstrip=500, metadata=None)


@pytest.mark.parametrize(
    ("name", "write", "read", "shape"),
    [
        ("a.npy", written_array, "pictures.read({!r}).channels", "(3, 8840, 8840)"),
        ("a.dcm", written_scan, "pictures.read({!r}).channels", "(1, 7220, 7220)"),
        ("a.tif", written_maps, "map_files.read_weight({!r})[0]", "(6, 6250, 6250)"),
    ],
)
def test_the_largest_array_scan_and_maps_that_are_read_stay_below_the_bound(tmp_path, name, write, read, shape):
    path = tmp_path / name
    write(path)
    output, peak = measured(f"from tvmap import map_files, pictures\nprint({read.format(str(path))}.shape)")
    assert output == [shape] and peak < OF_COMMAND


BOMBS = """
import bz2, contextlib, os, struct, zlib
import hostile
from tvmap import images, sources
from tvmap.errors import StudyError

def refused(call, *arguments):
    try:
        call(*arguments)
        print("is read")
    except StudyError as error:
        print(error)

def read(path):
    with sources.opened("archive", "NORMAL", path, None, 8) as candidates:
        [candidate.read() for candidate in candidates]

for name, (content, _) in hostile.images().items():
    with contextlib.suppress(StudyError):
        images.read_grey(content, name, 8)
os.chdir({folder!r})
for content, _ in hostile.archives().values():
    open("a.zip", "wb").write(content)
    with contextlib.suppress(StudyError):
        read("a.zip")
entry = hostile.entry(method=12, packed=bz2.compress(bytes(2**24)), size=1000)
open("bzip2.zip", "wb").write(hostile.zipped([entry]))
refused(read, "bzip2.zip")
pack = zlib.compressobj(9, zlib.DEFLATED, -15)
packed = (pack.compress(bytes(2**20)) + pack.flush(zlib.Z_FULL_FLUSH)) * 2048 + pack.flush()
open("deflate.zip", "wb").write(hostile.zipped([hostile.entry(method=8, packed=packed, size=1000)]))
refused(read, "deflate.zip")
open("honest.zip", "wb").write(hostile.zipped([hostile.entry(method=8, packed=packed, size=2**31)]))
refused(read, "honest.zip")
with open("directory.zip", "wb") as file:
    central = hostile.zipped([hostile.entry(data=b"")])
    central = central[central.index(b"PK\\1\\2"):central.index(b"PK\\5\\6")]
    for _ in range(40):
        file.write(central * (2**20 // len(central)))
    size = file.tell()
    file.write(struct.pack("<4sHHHHIIH", b"PK\\5\\6", 0, 0, 65535, 65535, size, 0, 0))
refused(read, "directory.zip")
"""


def test_all_hostile_images_and_archives_and_larger_bombs_stay_below_the_bound(tmp_path):
    output, peak = measured(BOMBS.format(folder=str(tmp_path)))
    expected = ["bzip2 or LZMA", "cannot be unpacked", "unpacks to 2147483648 bytes", "no readable zip archive"]
    assert len(output) == 4 and all(part in line for part, line in zip(expected, output, strict=True)), output
    assert peak < PEAK


OF_PICTURES = """
import io, os, struct, zlib
import hostile, numpy
from tvmap import map_files, pictures
from tvmap.errors import StudyError

def refused(name, content, read=pictures.read):
    open(name, "wb").write(content)
    try:
        read(name)
        print("is read")
    except StudyError as error:
        print(error)

def packed(bits):  # 2 GiB of nothing
    pack = zlib.compressobj(9, zlib.DEFLATED, bits)
    return (pack.compress(bytes(2**20)) + pack.flush(zlib.Z_FULL_FLUSH)) * 2048 + pack.flush()

os.chdir({folder!r})
bomb = packed(15)
refused("bomb.tif", hostile.tiff({{259: (3, 1, 8), 279: (4, 1, len(bomb))}}, pixels=bomb))
file = io.BytesIO()
hostile.dicom(file, numpy.zeros((4, 4), numpy.uint8), TransferSyntaxUID="1.2.840.10008.1.2.1.99")
length = struct.unpack("<I", file.getvalue()[140:144])[0]  # of the group that is never deflated
refused("bomb.dcm", file.getvalue()[: 144 + length] + packed(-15))
deep = {{258: (3, 1, 64), 339: (3, 1, 3), 277: (3, 1, 3)}}
refused("deep.tif", hostile.tiff(deep, width=9000, height=9000, pixels=b"x"))

small = zlib.compress(b"x")
tile = {{259: (3, 1, 8), 273: None, 278: None, 279: None, 322: (4, 1, 2**15), 323: (4, 1, 2**15), 324: (4, 1, 8)}}
numbers = hostile.tiff({{273: (4, 2**24, 8), 279: (4, 2**24, 8)}}, pixels=bytes(2**26))
chain, n = hostile.tiff(pixels=b"x"), 2**21
first = chain.index(bytes(4) + b"x")  # the end of its tags
pages = numpy.zeros(n, [("tags", "<u2"), ("next", "<u4")])
pages["next"][:-1] = len(chain) + 6 * numpy.arange(1, n)
chain = hostile.patched(chain, first, struct.pack("<I", len(chain))) + pages.tobytes()
for read in (pictures.read, map_files.read_weight):
    refused("strips.tif", hostile.tiff({{278: (3, 1, 1)}}, width=1, height=2**24, pixels=b"x"), read)
    refused("tile.tif", hostile.tiff(tile | {{325: (4, 1, len(small))}}, pixels=small), read)
    refused("numbers.tif", numbers, read)
    refused("chain.tif", chain, read)
    refused("text.tif", hostile.tiff({{256: (2, 4, 0x41414141), 257: (4, 1, 10**9)}}), read)
    refused("byte.tif", hostile.tiff({{256: (1, 1, 0x41), 257: (4, 1, 2**32 - 1)}}), read)
refused("bomb.tif", hostile.tiff({{259: (3, 1, 8), 279: (4, 1, len(bomb))}}, pixels=bomb), map_files.read_weight)
refused("deep.tif", hostile.tiff(deep, width=9000, height=9000, pixels=b"x"), map_files.read_weight)
bomb = zlib.compress(bytes(2**24), 9)  # small enough for a piece
refused("piece.tif", hostile.tiff({{259: (3, 1, 8), 279: (4, 1, len(bomb))}}, pixels=bomb), map_files.read_weight)
header = numpy.lib.format.header_data_from_array_1_0(numpy.zeros(1, numpy.uint8)) | {{"shape": (7, 9000, 9000)}}
with open("maps.npy", "wb") as file:
    numpy.lib.format.write_array_header_1_0(file, header)
    file.truncate(file.tell() + 7 * 9000 * 9000)
try:
    map_files.read_weight("maps.npy")
except StudyError as error:
    print(error)
"""


def test_bombs_for_the_command_are_refused_below_the_bound(tmp_path):
    output, peak = measured(OF_PICTURES.format(folder=str(tmp_path)))
    expected = ["more than it declares", "more than 896 MiB", "pixels of 24 bytes"]
    expected += ["pieces are missing", "pieces of 1024 MiB", "too much beside its pixels", "more than one image"]
    expected += 2 * ["a size, is not one number"]
    expected += ["pieces are missing", "pieces of 1024 MiB", "too much beside its pixels", "more than 6 pages"]
    expected += 2 * ["a size, is not one number"]
    expected += ["more than it declares", "have colours", "more than it declares", "at most 6"]
    assert len(output) == len(expected) and all(part in line for part, line in zip(expected, output, strict=True)), (
        output
    )
    assert peak < PEAK


# --- a server, weights, stacks, checkpoints


@pytest.mark.parametrize("length", ["abc", "-5", "²", "1e3"])
def test_a_server_with_a_length_that_is_no_number(server, study, monkeypatch, length):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(server, "announce", False)
    headers = [("Content-Length", length)]
    monkeypatch.setattr(server.RequestHandlerClass, "end_headers", sending(server.RequestHandlerClass, headers))
    server.data = b"x" * 100
    with pytest.raises(StudyError, match="cannot be downloaded"):
        retrieve_archive.main(server.url, "resources/archive.zip", 100, None)


@pytest.mark.parametrize("location", ["http://a..b/", "http://[::1/", f"http://{'a' * 70}/", "http://\xe9\xff\xfe/"])
def test_a_server_that_sends_one_to_a_malformed_address(server, study, monkeypatch, location):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    headers = [("Location", location)]
    monkeypatch.setattr(server.RequestHandlerClass, "end_headers", sending(server.RequestHandlerClass, headers))
    monkeypatch.setattr(server, "failures", [302] * 10)
    with pytest.raises(StudyError, match=r"127\.0\.0\.1.*(cannot be downloaded|correct config data\.mendeley\.url)"):
        retrieve_archive.main(server.url, "resources/archive.zip", 100, None)


@pytest.mark.parametrize("url", ["http://a..b/x", f"http://{'a' * 70}/x", "http://[::1/x", "http://", "nonsense"])
def test_a_malformed_address_is_said_at_once(study, monkeypatch, url):
    monkeypatch.setattr(download.time, "sleep", None)
    with pytest.raises(StudyError, match=r"correct config data\.mendeley\.url") as caught:
        retrieve_archive.main(url, "resources/archive.zip", 100, None)
    assert str(caught.value).startswith(url) and "\n" not in str(caught.value)


def test_sizes_that_no_number_holds(server, study, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(server, "announce", False)
    headers = [("Content-Length", "9" * 5000)]
    monkeypatch.setattr(server.RequestHandlerClass, "end_headers", sending(server.RequestHandlerClass, headers))
    with pytest.raises(StudyError, match=r"cannot be downloaded|correct config data\.mendeley\.url"):
        retrieve_archive.main(server.url, "resources/archive.zip", 100, None)


def sending(handler, headers):
    end = handler.end_headers

    def end_headers(self):
        for header in headers:
            self.send_header(*header)
        end(self)

    return end_headers


@pytest.mark.parametrize("packed", [False, True])
def test_a_server_that_sends_more_than_it_should_cannot_fill_the_disk(server, study, monkeypatch, packed):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(server, "announce", False)
    server.data = bytes(2**24)
    if packed:
        server.data = gzip.compress(server.data)
        headers = [("Content-Encoding", "gzip")]
        monkeypatch.setattr(server.RequestHandlerClass, "end_headers", sending(server.RequestHandlerClass, headers))
    shutil.rmtree("resources")
    with pytest.raises(StudyError, match="data.mendeley.bytes: .*grows beyond 100000 bytes"):
        retrieve_archive.main(server.url, "resources/archive.zip", 100_000, None)
    kept = list((study / "resources").rglob("*.part"))
    assert [path.stat().st_size <= 100_000 + 2 * download.CHUNK_BYTES for path in kept] == [True]


def test_weights_that_are_none_are_named_and_run_no_code(tmp_path):
    path, canary = tmp_path / "w.safetensors", tmp_path / "canary"
    for name, content in hostile.weights(canary).items():
        path.write_bytes(content)
        with pytest.raises(StudyError, match=r"w\.safetensors: not the weights of this network \(.+\);") as caught:
            network.load_network(path)
        assert "\n" not in str(caught.value), name
    with pytest.raises(StudyError, match="gone: not the weights"):
        network.load_network(tmp_path / "gone")
    assert not canary.exists()
    pickle.loads(pickle.dumps(hostile.Canary(canary)))
    assert canary.exists(), "else the test could not fail"


def test_stacks_that_are_none_are_named_and_run_no_code(tmp_path):
    path, canary = tmp_path / "a.npz", tmp_path / "canary"
    for content in hostile.stacks(canary).values():
        path.write_bytes(content)
        with pytest.raises(StudyError, match=r"a\.npz: not a readable array file \("):
            stacks.load(path)
    assert not canary.exists()
    np.load(io.BytesIO(hostile.stacks(canary)["objects"]), allow_pickle=True)["images"]
    assert canary.exists(), "else the test could not fail"


def test_checkpoints_that_are_none_are_not_used_and_run_no_code(tmp_path, caplog):
    path, canary = tmp_path / "checkpoint.pt", tmp_path / "canary"
    whole = hostile.torch_file({"fingerprint": "a", "state": {"step": 1}})
    path.write_bytes(whole)
    assert training._resume([path], "a", 2)["state"] == {"step": 1}
    contents = [hostile.torch_file(content) for content in (hostile.Canary(canary), [1], {"state": {"step": "x"}})]
    contents += [pickle.dumps(hostile.Canary(canary)), *(whole[: len(whole) * tenth // 10] for tenth in range(10))]
    for content in contents:
        caplog.clear()
        path.write_bytes(content)
        assert training._resume([path], "a", 2) is None
        assert "checkpoint.pt cannot be read" in caplog.text
    assert not canary.exists()
    torch.load(io.BytesIO(contents[0]), weights_only=False)
    assert canary.exists(), "else the test could not fail"
