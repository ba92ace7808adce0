"""Download against a real HTTP server on this machine: resume, retries, wrong size and checksum, no server."""

import hashlib
import io
import random
import zipfile

import numpy as np
import pytest
from archive_server import Server
from PIL import Image

import retrieve_archive
from tvmap import download, sources
from tvmap.errors import StudyError


def real_layout():
    """A zip as published: nested folder, files of macOS, grey and RGB JPEGs, and enough bytes to break off in."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number, split in enumerate(("train", "train", "test")):
            shape = (40, 50, 3) if number else (40, 50)
            pixels = np.random.default_rng(number).integers(0, 256, shape).astype(np.uint8)
            jpeg = io.BytesIO()
            Image.fromarray(pixels).save(jpeg, "JPEG")
            file.writestr(f"chest_xray/chest_xray/{split}/NORMAL/IM-{number:04d}-0001.jpeg", jpeg.getvalue())
        file.writestr("chest_xray/__MACOSX/train/NORMAL/._IM-0000-0001.jpeg", b"resource")
        file.writestr("chest_xray/chest_xray/.DS_Store", b"Bud1")
        file.writestr("chest_xray/padding.bin", random.Random(0).randbytes(3_000_000))
    return buffer.getvalue()


DATA = real_layout()
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(DATA) as server:
        yield server


def test_archive_is_downloaded_verified_and_readable(server, tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "resources" / "archive.zip"
    retrieve_archive.main(server.url, path, len(DATA), SHA256)
    assert path.read_bytes() == DATA
    kept = path.parent / "downloads" / path.name
    assert list(kept.parent.iterdir()) == [kept]  # no .part, and no record where the checksum is given
    path.unlink()  # as Snakemake does before it makes an output anew
    retrieve_archive.main(server.url, path, len(DATA), SHA256)
    assert path.read_bytes() == DATA and len(server.requests) == 1
    with sources.opened("mendeley", "NORMAL", path, None, 16) as candidates:
        assert [one.id for one in candidates] == ["IM-0000-0001", "IM-0001-0001", "IM-0002-0001"]
        assert all(one.grey(16).shape == (16, 16) for one in candidates)
    percents = [record.getMessage().split(" %")[0] for record in caplog.records if " % of " in record.getMessage()]
    assert percents and percents[-1] == "100" and len(percents) <= 10


@pytest.mark.parametrize("n_bytes", [len(DATA), None])
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_second_run_transfers_nothing(server, tmp_path, n_bytes, sha256):
    for _ in range(2):
        download.fetch(server.url, tmp_path / "a.zip", n_bytes, sha256)
    assert len(server.requests) == 1 and (tmp_path / "a.zip").read_bytes() == DATA


def test_broken_off_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.failures = ["break", 503, "break"]
    download.fetch(server.url, tmp_path / "a.zip", len(DATA), SHA256, pause=0)
    assert (tmp_path / "a.zip").read_bytes() == DATA
    offsets = [0 if asked is None else int(asked[6:-1]) for asked in server.requests]
    half, chunk = len(DATA) // 2, download.CHUNK_BYTES
    assert len(offsets) == 4 and offsets[0] == 0 and offsets[1] == offsets[2]
    assert half - chunk < offsets[1] <= half < offsets[3]


def test_part_of_a_killed_run_is_used(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(DATA[:1_000_000])
    download.fetch(server.url, tmp_path / "a.zip", len(DATA), SHA256)
    assert server.requests == ["bytes=1000000-"] and (tmp_path / "a.zip").read_bytes() == DATA


def test_server_without_ranges_starts_again_cleanly(server, tmp_path):
    server.ranges, server.failures = False, ["break"]
    download.fetch(server.url, tmp_path / "a.zip", len(DATA), SHA256, pause=0)
    assert len(server.requests) == 2 and (tmp_path / "a.zip").read_bytes() == DATA


@pytest.mark.parametrize("n_bytes", [len(DATA), None])
def test_part_that_is_too_long_is_thrown_away(server, tmp_path, n_bytes):
    (tmp_path / "a.zip.part").write_bytes(DATA + b"more")
    download.fetch(server.url, tmp_path / "a.zip", n_bytes, SHA256, pause=0)
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_wrong_checksum_names_the_key_and_nothing_is_delivered(server, tmp_path):
    with pytest.raises(StudyError, match=f"data.mendeley.sha256: .*a.zip.part.*{SHA256}"):
        download.fetch(server.url, tmp_path / "a.zip", len(DATA), "0" * 64)
    assert not (tmp_path / "a.zip").exists()
    download.fetch(server.url, tmp_path / "a.zip", len(DATA), SHA256.upper())  # corrected: nothing is fetched again
    assert len(server.requests) == 1 and (tmp_path / "a.zip").read_bytes() == DATA


def test_wrong_content_is_fetched_anew_by_the_next_run(server, tmp_path):
    server.data = bytes(len(DATA))
    with pytest.raises(StudyError, match="sha256"):
        download.fetch(server.url, tmp_path / "a.zip", len(DATA), SHA256)
    server.data = DATA
    download.fetch(server.url, tmp_path / "a.zip", len(DATA), SHA256)
    assert (tmp_path / "a.zip").read_bytes() == DATA


@pytest.mark.parametrize("announce", [True, False])
@pytest.mark.parametrize("difference", [-1, 1])
def test_wrong_size_names_the_key(server, tmp_path, announce, difference):
    server.announce = announce
    with pytest.raises(StudyError, match=f"data.mendeley.bytes: .*{len(DATA)} bytes instead of") as caught:
        download.fetch(server.url, tmp_path / "a.zip", len(DATA) + difference, SHA256, pause=0)
    assert "\n" not in str(caught.value) and not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize("content", ["", "12345", SHA256[:20], f"{SHA256} a.zip"])
def test_a_record_that_is_no_checksum_is_said(server, tmp_path, content):
    (tmp_path / "a.zip.sha256").write_text(content)
    with pytest.raises(StudyError, match=r"a\.zip\.sha256: is no sha256; delete it"):
        download.fetch(server.url, tmp_path / "a.zip", None, None)
    assert server.requests == []


def test_unpublished_checksum_is_recorded_once_and_checked_later(server, tmp_path):
    path, record = tmp_path / "a.zip", tmp_path / "a.zip.sha256"
    download.fetch(server.url, path, len(DATA), None)
    assert record.read_text() == SHA256 + "\n"
    path.unlink()
    server.data = DATA[:-1] + b"x"
    with pytest.raises(StudyError, match=r"a.zip.sha256: .*instead of " + SHA256):
        download.fetch(server.url, path, len(DATA), None)
    assert not path.exists() and record.read_text() == SHA256 + "\n"


def test_not_found_is_no_matter_for_retries(server, tmp_path):
    server.failures = [404]
    with pytest.raises(StudyError, match="127.0.0.1.*404.*data.source: archive"):
        download.fetch(server.url, tmp_path / "a.zip", len(DATA), SHA256)
    assert len(server.requests) == 1


def test_gives_up_after_attempts_without_progress(server, tmp_path):
    server.failures = [503] * 9
    with pytest.raises(StudyError, match="503 Service Unavailable.*data.source: archive"):
        download.fetch(server.url, tmp_path / "a.zip", len(DATA), SHA256, pause=0)
    assert len(server.requests) == download.ATTEMPTS


def test_no_server_is_one_line_that_names_the_url(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(StudyError) as caught:
        download.fetch("http://127.0.0.1:9/a.zip", tmp_path / "a.zip", 10, None, pause=0)
    message = str(caught.value)
    assert message.startswith("http://127.0.0.1:9/a.zip: ") and "data.source: archive" in message
    assert "\n" not in message


def test_place_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StudyError, match="file/a.zip: cannot be written .*; make room or mend the rights"):
        download.fetch(server.url, tmp_path / "file" / "a.zip", len(DATA), SHA256)
