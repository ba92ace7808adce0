"""Coverage-guided fuzzing of the readers of images, archives and maps: make fuzz. Needs envs/requirements-fuzz.txt.

An exception that is no StudyError, a wrong result, more than SECONDS or MIB is a finding, kept in fuzz/findings; the
exit status is then 1, and also where a target does not run. Inputs that reach new code are kept in fuzz/corpus, from
where the next run goes on.
"""

import argparse
import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "fuzz"
SECONDS, MIB, LONGEST = 10, 1024, 2**14
COUNTS, SIZE = {"train": 3, "val": 3, "test": 3}, 8


def read_image(data, folder):
    """Read an image in all ways; what is wrong is an exception other than StudyError."""
    import numpy as np

    from tvmap import images
    from tvmap.errors import StudyError

    readers = (
        lambda: images.read_views(data, "x", SIZE, 2, np.random.default_rng(0)),
        lambda: images.read_grey(data, "x", SIZE)[None],
        lambda: images.read_tiles(data, "x", SIZE),
    )
    for read in readers:
        try:
            pixels = read()
        except StudyError as error:
            assert str(error).startswith("x: ") and "\n" not in str(error), error
            return  # the others decode it in the same way
        assert pixels.shape[1:] == (SIZE, SIZE) and pixels.dtype == np.float32
        assert not pixels.size or (pixels.min() >= 0 and pixels.max() <= 1)


def read_picture(data, folder):
    """Read an image as the command `tvmap` does; its first byte says by which suffix, in `folder`, for it alone."""
    import numpy as np

    from tvmap import pictures
    from tvmap.errors import StudyError

    suffixes = sorted(pictures.SUFFIXES)
    path = folder / f"x{suffixes[data[0] % len(suffixes)] if data else '.png'}"
    path.write_bytes(data[1:])
    try:
        picture = pictures.read(path)
    except StudyError as error:
        assert str(path) in str(error) and "\n" not in str(error), error
    else:
        assert picture.channels.ndim == 3 and len(picture.channels) in (1, 3)
        assert picture.channels.dtype == np.float32 and np.isfinite(picture.channels).all()
        picture.values(picture.channels)
    finally:
        path.unlink()


def read_maps(data, folder):
    """Read a file of maps as `tvmap tv --weight` does; its first byte says whether it is .tif or .npy."""
    import numpy as np

    from tvmap import map_files
    from tvmap.errors import StudyError

    path = folder / ("x.npy" if data[:1] == b"\1" else "x.tif")
    path.write_bytes(data[1:])
    try:
        maps, options = map_files.read_weight(path)
    except StudyError as error:
        assert str(path) in str(error) and "\n" not in str(error), error
    else:
        assert options.get("penalty") in (None, "tv", "tgv")
        assert maps.ndim == 3 and 1 <= len(maps) <= map_files.MOST_MAPS
        assert maps.dtype == np.float32 and np.isfinite(maps).all() and maps.min() >= 0
    finally:
        path.unlink()


def seeds():
    """{target: its first inputs}."""
    import hostile

    from tvmap import pictures

    suffixes = sorted(pictures.SUFFIXES)
    images = hostile.images()
    named = [(Path(name).suffix, content) for name, (content, _) in images.items()] + hostile.scans()
    return {
        "images": [content for content, _ in images.values()],
        "archives": [content for content, _ in hostile.archives().values()],
        "pictures": [bytes([suffixes.index(end)]) + content for end, content in named if end in suffixes],
        "maps": [bytes([end == ".npy"]) + content for end, content in named if end in (".tif", ".npy")],
    }


def read_archive(data, folder):
    """Read an archive as the workflow does, its manifest there and back; `folder` is for these two files alone."""
    import hostile

    from tvmap import manifest, sources
    from tvmap.errors import StudyError

    path, table = folder / "a.zip", folder / "manifest.csv"
    path.write_bytes(data)
    try:
        with hostile.confined(folder), sources.opened("archive", "NORMAL", str(path), None, SIZE) as candidates:
            try:
                candidates[-1].grey(SIZE)
            except StudyError as error:
                assert error.args[0]
            rows = manifest.build(candidates, COUNTS, [], 1)
            manifest.write(table, rows)
            assert manifest.read(table) == rows
    except StudyError as error:
        assert error.args[0]
    assert {*folder.iterdir()} <= {path, table}


TARGETS = {"images": read_image, "archives": read_archive, "pictures": read_picture, "maps": read_maps}


def fuzz(target, arguments):
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["PIL", "zipfile", "tifffile", "pydicom", "tvmap"]):
        import zipfile

        import pydicom.pixels  # noqa: F401
        import tifffile  # noqa: F401
        from PIL import (  # noqa: F401
            BmpImagePlugin,
            GifImagePlugin,
            Image,
            JpegImagePlugin,
            MpoImagePlugin,
            PngImagePlugin,
            PpmImagePlugin,
            TiffImagePlugin,
            WebPImagePlugin,
        )

        import tvmap.images  # noqa: F401
        import tvmap.manifest  # noqa: F401
        import tvmap.map_files  # noqa: F401
        import tvmap.pictures
        import tvmap.sources  # noqa: F401

    # The first map with a description asks for these: on a busy machine longer than one run may take.
    import tvmap.network
    import tvmap.solver  # noqa: F401

    sys.stderr = os.fdopen(os.dup(2), "w", 1)  # -close_fd_mask leaves it open, for the reason why a target dies
    logging.disable(logging.CRITICAL)
    tvmap.pictures.MOST_PIXELS = Image.MAX_IMAGE_PIXELS = (
        10**6
    )  # many small images instead of a few large ones; test_hostile.py reads the largest
    # Behind a checksum hardly a change would be read.
    PngImagePlugin.ChunkStream.crc = PngImagePlugin.ChunkStream.crc_skip
    zipfile.ZipExtFile._update_crc = lambda self, data: None
    seen, folder = set(), FOLDER / "work" / target

    def one(data):
        try:
            TARGETS[target](data, folder)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__}-{Path(frame.filename).stem}-{frame.lineno}"
            if place not in seen:
                seen.add(place)
                path = FOLDER / "findings" / f"{target}-{place}-{hashlib.sha256(data).hexdigest()[:8]}"
                path.write_bytes(data)
                path.with_name(path.name + ".txt").write_text("".join(traceback.format_exception(error)))

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def start(target, seconds, log):
    corpus = FOLDER / "corpus" / target
    options = [f"-max_total_time={seconds}", f"-timeout={SECONDS}", f"-rss_limit_mb={MIB}", f"-max_len={LONGEST}"]
    options += [f"-artifact_prefix={FOLDER}/findings/{target}-", "-print_final_stats=1", "-close_fd_mask=3"]
    command = [sys.executable, __file__, "--target", target, "--", *options, str(corpus)]
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)


def findings(since, pattern="*"):
    """What was written there `since` then, an earlier run's again, too; beside each exception lies its traceback."""
    paths = (FOLDER / "findings").glob(pattern)
    return sorted(path for path in paths if path.suffix != ".txt" and path.stat().st_mtime >= since)


def main(seconds):
    """Fuzz all targets, each in a process that is started again after a finding that ended it; return the exit status.

    A target that dies twice without a finding, or never executes anything, is broken, and said with its log.
    """
    for target, cases in seeds().items():
        for folder in ("corpus", "work"):
            (FOLDER / folder / target).mkdir(parents=True, exist_ok=True)
        for content in {content for content in cases if len(content) <= LONGEST}:
            (FOLDER / "corpus" / target / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    (FOLDER / "findings").mkdir(exist_ok=True)
    began, since = time.monotonic(), time.time()
    logs = {target: open(FOLDER / f"{target}.log", "w+", encoding="utf-8", errors="replace") for target in TARGETS}
    running = {target: start(target, seconds, log) for target, log in logs.items()}
    kept = dict.fromkeys(TARGETS, 0)
    deaths = dict.fromkeys(TARGETS, 0)  # without a new finding
    while running:
        time.sleep(1)
        for target, process in list(running.items()):
            left = round(began + seconds - time.monotonic())
            if process.poll() is not None:
                del running[target]
                n = len(findings(since, f"{target}-*"))
                deaths[target] += left > 2 and n == kept[target]
                kept[target] = n
                if left > 2 and deaths[target] < 2:
                    running[target] = start(target, left, logs[target])
    elapsed = time.monotonic() - began
    broken = False
    for target, log in logs.items():
        log.seek(0)
        runs = report(target, log.read(), elapsed)
        log.close()
        if not runs or deaths[target] > 1:
            broken = True
            print(f"{target}: broken, it ended too early; {log.name} says why")
    shutil.rmtree(FOLDER / "work")
    found = findings(since)
    print(f"{len(found)} findings")
    for path in found:
        print(f"  {path.relative_to(ROOT)}")
    return int(bool(found) or broken)


def report(target, text, elapsed):
    """Print what libFuzzer's log says about a target; return the number of its executions, 0 if it never began."""
    runs = sum(map(int, re.findall(r"stat::number_of_executed_units: (\d+)", text)))
    covered = [tuple(map(int, pair)) for pair in re.findall(r"cov: (\d+) ft: (\d+)", text)]
    inited = re.search(r"INITED cov: (\d+) ft: (\d+)", text)
    first = (inited[1], inited[2]) if inited else ("?", "?")
    last = max(covered, default=("?", "?"))
    print(
        f"{target}: {runs} executions in {elapsed:.0f} s; edges covered {first[0]} -> {last[0]}, "
        f"features {first[1]} -> {last[1]}"
    )
    return runs if inited else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--target", choices=TARGETS, help="one of them in this process, with options of libFuzzer")
    parser.add_argument("options", nargs="*")
    given = parser.parse_args()
    if given.target:
        fuzz(given.target, given.options)
    else:
        sys.exit(main(given.seconds))
