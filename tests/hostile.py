"""Malformed, lying and merely odd images, archives, weights and stacks, made in code: {name: (content, expectation)}.

The expectation is READ, or a piece of the one line that refuses the file; EITHER where damage may go unnoticed.
"""

import contextlib
import functools
import io
import json
import os
import pickle
import random
import struct
import sys
import zipfile
import zlib

import numpy as np
from PIL import Image

READ, EITHER = "is read", "is read or refused"
DAMAGED, FLAT = "cannot be read as an image", "all its pixels are equal"
PIXELS, FLOATS = "declares more than", "floating-point pixels"
UNPACK, NO_ZIP, NONE = "cannot be unpacked", "is no readable zip archive", "has no images in"
SUFFIX = {"JPEG": "jpg", "PNG": "png", "TIFF": "tif", "BMP": "bmp", "GIF": "gif", "PPM": "ppm", "WEBP": "webp"}
SIDES = (24, 20)  # height, width
BIG = 2**31 - 1


_allowed: list[str] = []  # folders that may be written to just now: a hook of the interpreter stays for good
_strayed: list[str] = []
_installed: list = []
_MADE = {"os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1}  # event: which argument is the new path


def _audit(event, arguments):
    if not _allowed or event not in ("open", *_MADE):
        return
    path = arguments[_MADE.get(event, 0)]
    reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if reads or isinstance(path, int):
        return
    path = os.path.realpath(os.fsdecode(path))
    if path != os.devnull and not any(path.startswith(f"{folder}/") or path == folder for folder in _allowed):
        _strayed.append(f"{event}: {path}")
        raise PermissionError(path)


@contextlib.contextmanager
def confined(*folders):
    """Inside the block Python writes nothing, makes nothing outside these folders, or the block fails."""
    if _audit not in _installed:
        sys.addaudithook(_audit)
        _installed.append(_audit)
    _strayed.clear()
    _allowed[:] = map(os.path.realpath, folders)
    try:
        yield
    finally:
        _allowed.clear()
    assert not _strayed, _strayed


def noise(*shape, seed=0, kind=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape or SIDES, kind, endpoint=True)


def encoded(picture, kind, **options):
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def mode(name):
    """A noisy picture of a mode of Pillow."""
    return Image.fromarray(noise(*SIDES, 3)).convert(name)


# --- formats by hand


def png(*chunks, header=(20, 24, 8, 2, 0, 0, 0), data=None, crc=None, end=True):
    """A PNG with the IHDR `header`, further chunks (kind, content) and the unpacked IDAT `data`."""

    def chunk(kind, content, crc=crc):
        crc = zlib.crc32(kind + content) if crc is None else crc
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    if data is None:
        data = zlib.compress(noise(header[1], 1 + header[0] * 3).tobytes().translate(bytes(i % 5 for i in range(256))))
    body = [chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), *(chunk(*one) for one in chunks)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + (chunk(b"IDAT", data) + chunk(b"IEND", b"")) * end


def rows(*shape):
    """IDAT of rows without a filter."""
    pixels = noise(*shape).reshape(shape[0], -1)
    return zlib.compress(np.hstack([np.zeros((shape[0], 1), np.uint8), pixels]).tobytes())


def interlaced():
    """An 8 × 8 grey PNG in the seven passes of Adam7."""
    pixels, data = noise(8, 8), b""
    for top, left, down, right in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)):
        data += b"".join(b"\0" + row.tobytes() for row in pixels[top::down, left::right])
    data += b"".join(b"\0" + row.tobytes() for row in pixels[1::2])
    return png(header=(8, 8, 8, 0, 0, 0, 1), data=zlib.compress(data))


def tiff(changes=(), pixels=b"", next_ifd=0, magic=b"II*\0", ifd=8, width=20, height=24):
    """A grey TIFF with one strip; `changes`: {tag: (type, count, value)} beside or in place of its own tags."""
    pixels = pixels or noise(height, width).tobytes()
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 0)}
    tags |= {277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, len(pixels))} | dict(changes)
    tags = {tag: entry for tag, entry in tags.items() if entry}
    if tags.get(273) == (4, 1, 0):
        tags[273] = (4, 1, 8 + 2 + 12 * len(tags) + 4)
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    return magic + struct.pack("<IH", ifd, len(tags)) + entries + struct.pack("<I", next_ifd) + pixels


def patched(data, at, content):
    return data[:at] + content + data[at + len(content) :]


def gif(screen=(20, 24), frame=(0, 0, 20, 24), code_size=2, data=b"\x84\x8f\xa9\xcb\xed\x0f\xa3\x9c\x00", tail=b";"):
    """A GIF of four colours with one frame (left, top, width, height) of LZW `data`."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81, 0, 0) + bytes(range(0, 120, 10))
    return head + b"," + struct.pack("<HHHHB", *frame, 0) + bytes([code_size, len(data)]) + data + b"\0" + tail


def huge(kind, data):
    """The file with a header that declares some 60000 x 60000 pixels, or as many as the format can."""
    if kind == "JPEG":
        at = next(i for i in range(len(data)) if data[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))
        return patched(data, at + 5, struct.pack(">HH", 60000, 60000))
    if kind == "PNG":
        data = patched(data, 16, struct.pack(">II", 60000, 60000))
        return patched(data, 29, struct.pack(">I", zlib.crc32(data[12:29])))
    if kind == "TIFF":
        return tiff(width=60000, height=60000, pixels=b"abc")
    if kind == "BMP":
        return patched(data, 18, struct.pack("<ii", 60000, 60000))
    if kind == "GIF":
        return patched(data, 6, struct.pack("<HH", 60000, 60000))
    if kind == "PPM":
        return b"P6 60000 60000 255\n" + data
    return patched(data, 26, struct.pack("<HH", 16383, 16383))  # WEBP's lossy stream has 14 bits for a side


@functools.cache
def whole():
    """{format: a sound file of it}."""
    files = {kind: encoded(mode("RGB"), kind) for kind in SUFFIX}
    return files | {"GIF": encoded(mode("P"), "GIF")}


# --- images


def images():
    """{name.suffix: (bytes, expectation)}: at least 200, of every format that the readers accept, and others."""
    cases = {}

    def add(name, kind, data, expectation):
        name = f"{kind} {name}.{SUFFIX.get(kind, 'png')}".replace(" ", "-").lower()
        assert name not in cases, name
        cases[name] = data, expectation

    for kind, data in whole().items():
        for tenth in range(10):
            add(f"cut at {tenth} tenths", kind, data[: len(data) * tenth // 10], DAMAGED)
        add("whole", kind, data, READ)
        add("garbage behind", kind, data + b"\xff" * 100, READ)
        add("garbage before", kind, b"\xff" * 7 + data, DAMAGED)
        add("zip behind", kind, data + zipped([entry()]), READ)
        add("wrong first byte", kind, patched(data, 0, b"\0"), DAMAGED)
        add("zeros behind the header", kind, data[:40] + bytes(len(data) - 40), EITHER)
        add("noise behind the header", kind, data[:40] + random.Random(1).randbytes(len(data) - 40), EITHER)
        add("huge", kind, huge(kind, data), PIXELS)
        for seed in range(5):
            damaged, draw = bytearray(data), random.Random(seed)
            for _ in range(5):
                damaged[draw.randrange(min(len(data), 300))] = draw.randrange(256)
            add(f"flipped {seed}", kind, bytes(damaged), EITHER)
        for height, width in ((1, 1), (1, 40), (40, 1)):
            picture = Image.fromarray(noise(height, width, 3))
            add(f"{height}x{width}", kind, encoded(picture if kind != "GIF" else picture.convert("P"), kind), FLAT)
        other = "png" if kind != "PNG" else "jpg"
        cases[f"{kind.lower()}-under-the-name-of-another.{other}"] = data, READ

    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        add("orientation", kind, encoded(mode("RGB"), kind, exif=exif.tobytes()), READ)
        if kind != "TIFF":  # its tags are its EXIF
            add("exif of rubbish", kind, encoded(mode("RGB"), kind, exif=b"Exif\0\0II*\0\xff\xff\xff\xff" * 3), READ)
    for kind in ("PNG", "GIF", "TIFF", "WEBP"):
        frames = [Image.fromarray(noise(*SIDES, 3, seed=seed)) for seed in range(3)]
        add("frames", kind, encoded(frames[0], kind, save_all=True, append_images=frames[1:]), READ)

    jpeg = whole()["JPEG"]
    for name in ("L", "CMYK"):
        add(name, "JPEG", encoded(mode(name), "JPEG"), READ)
    cmyk = encoded(mode("CMYK"), "JPEG")
    adobe = cmyk.index(b"Adobe")
    add("YCCK", "JPEG", patched(cmyk, adobe + 11, b"\2"), READ)
    add("unknown transform", "JPEG", patched(cmyk, adobe + 11, b"\7"), READ)
    add("progressive", "JPEG", encoded(mode("RGB"), "JPEG", progressive=True), READ)
    add("progressive cut", "JPEG", encoded(mode("RGB"), "JPEG", progressive=True)[:-200], DAMAGED)
    add("no subsampling", "JPEG", encoded(mode("RGB"), "JPEG", subsampling=0, quality=100), READ)
    add("profile of rubbish", "JPEG", encoded(mode("RGB"), "JPEG", icc_profile=b"x" * 100_000), READ)
    add("comment", "JPEG", encoded(mode("RGB"), "JPEG", comment=b"\n\x1b[2J" * 1000), READ)
    add("no end", "JPEG", jpeg[:-2], DAMAGED)
    add("size 0x0", "JPEG", patched(jpeg, jpeg.index(b"\xff\xc0") + 5, bytes(4)), DAMAGED)
    add("12 bits", "JPEG", patched(jpeg, jpeg.index(b"\xff\xc0") + 4, b"\x0c"), DAMAGED)
    add("200 components", "JPEG", patched(jpeg, jpeg.index(b"\xff\xc0") + 9, b"\xc8"), DAMAGED)
    add("no tables", "JPEG", jpeg.replace(b"\xff\xc4", b"\xff\xe5"), READ)
    add("segment of length 0", "JPEG", patched(jpeg, 4, bytes(2)), READ)
    add("start of an image alone", "JPEG", b"\xff\xd8\xff", DAMAGED)
    frames = [Image.fromarray(noise(*SIDES, 3, seed=seed)) for seed in range(2)]
    mpo = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    add("of two pictures", "JPEG", mpo, READ)
    add("of two pictures damaged", "JPEG", patched(mpo, mpo.index(b"MPF\0") + 20, b"\xff" * 12), READ)

    for name in ("1", "L", "LA", "P", "RGBA", "I;16"):
        picture = mode(name) if name != "I;16" else noise(*SIDES, kind=np.uint16)
        add(name, "PNG", encoded(picture, "PNG"), READ)
    add("transparent entry", "PNG", encoded(mode("P"), "PNG", transparency=3), READ)
    add("transparent palette", "PNG", encoded(mode("P"), "PNG", transparency=bytes(range(256))), READ)
    add("two bits", "PNG", encoded(mode("RGB").quantize(4), "PNG", bits=2), READ)
    add("interlaced", "PNG", interlaced(), READ)
    add("interlaced cut", "PNG", interlaced()[:80], DAMAGED)
    add("16 bit colour", "PNG", png(header=(20, 24, 16, 2, 0, 0, 0), data=rows(24, 120)), READ)
    add("16 bit alpha", "PNG", png(header=(20, 24, 16, 4, 0, 0, 0), data=rows(24, 80)), READ)
    add("three bits", "PNG", png(header=(20, 24, 3, 0, 0, 0, 0)), DAMAGED)
    add("unknown colour", "PNG", png(header=(20, 24, 8, 5, 0, 0, 0)), DAMAGED)
    add("unknown filter", "PNG", png(header=(20, 24, 8, 2, 0, 7, 0)), DAMAGED)
    add("size 0x0", "PNG", png(header=(0, 0, 8, 2, 0, 0, 0)), DAMAGED)
    add("size -1", "PNG", png(header=(2**32 - 1, 2**32 - 1, 8, 2, 0, 0, 0), data=b"x"), PIXELS)
    add("no data", "PNG", png(end=False), DAMAGED)
    add("data that is no zlib", "PNG", png(data=b"rubbish"), DAMAGED)
    add("too little data", "PNG", png(data=zlib.compress(bytes(100))), DAMAGED)
    add("too much data", "PNG", png(data=zlib.compress(noise(24, 61).tobytes() + bytes(10_000_000))), DAMAGED)
    add("wrong checksum", "PNG", png(crc=0), DAMAGED)
    palette = (b"PLTE", bytes(range(12)))
    add("palette too short", "PNG", png(palette, header=(20, 24, 8, 3, 0, 0, 0), data=rows(24, 20)), READ)
    add("no palette", "PNG", png(header=(20, 24, 8, 3, 0, 0, 0), data=rows(24, 20)), FLAT)
    add("palette of 300", "PNG", png((b"PLTE", bytes(900)), header=(20, 24, 8, 3, 0, 0, 0), data=rows(24, 20)), DAMAGED)
    add(
        "palette not of three", "PNG", png((b"PLTE", bytes(5)), header=(20, 24, 8, 3, 0, 0, 0), data=rows(24, 20)), FLAT
    )
    add("second header", "PNG", png((b"IHDR", struct.pack(">IIBBBBB", BIG, BIG, 8, 2, 0, 0, 0))), PIXELS)
    add(
        "short header",
        "PNG",
        b"\x89PNG\r\n\x1a\n\0\0\0\4IHDRabcd" + struct.pack(">I", zlib.crc32(b"IHDRabcd")),
        DAMAGED,
    )
    add("chunk of 2 GiB", "PNG", png()[:33] + struct.pack(">I", BIG) + b"tEXt" + b"x" * 50, DAMAGED)
    add("chunk without a name", "PNG", png((bytes(4), b"x")), DAMAGED)
    bomb = zlib.compress(bytes(50_000_000), 9)
    add("text bomb", "PNG", png((b"zTXt", b"Comment\0\0" + bomb)), DAMAGED)
    add("utf-8 text bomb", "PNG", png((b"iTXt", b"Comment\0\1\0\0\0" + bomb)), DAMAGED)
    add("many texts", "PNG", png(*[(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000)))] * 70), DAMAGED)
    add("profile bomb", "PNG", png((b"iCCP", b"icc\0\0" + bomb)), DAMAGED)
    add("profile of rubbish", "PNG", png((b"iCCP", b"icc\0\0rubbish")), READ)
    add("profile without a name", "PNG", png((b"iCCP", b"")), DAMAGED)
    add("frames without end", "PNG", png((b"acTL", struct.pack(">II", BIG, 0)), (b"fcTL", bytes(26))), DAMAGED)
    add("frame outside", "PNG", png((b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", b"\xff" * 26)), DAMAGED)
    add("no frames", "PNG", png((b"acTL", bytes(8))), READ)
    for name in (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tRNS", b"eXIf", b"acTL", b"tEXt"):
        add(f"empty {name.decode()}", "PNG", png((name, b"")), READ if name in (b"eXIf", b"tEXt") else DAMAGED)

    for name in ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"):
        add(name, "TIFF", encoded(mode(name), "TIFF"), READ)
    lab = Image.frombytes("LAB", (20, 24), noise(*SIDES, 3).tobytes())
    add("LAB", "TIFF", encoded(lab, "TIFF"), READ)
    for name in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "zstd", "lzma", "tiff_adobe_deflate"):
        data = encoded(mode("RGB"), "TIFF", compression=name)
        add(f"packed by {name}", "TIFF", data, READ)
        add(
            f"packed by {name} damaged",
            "TIFF",
            data[:8] + bytes(40) + data[48:],
            READ if name == "packbits" else DAMAGED,
        )
    add("packed as a fax", "TIFF", encoded(mode("1"), "TIFF", compression="group4"), READ)
    add("16 bit", "TIFF", encoded(noise(*SIDES, kind=np.uint16), "TIFF"), READ)
    add("16 bit in the other order", "TIFF", encoded(Image.frombytes("I;16B", (20, 24), bytes(960)), "TIFF"), FLAT)
    signed = tiff({258: (3, 1, 16), 339: (3, 1, 2), 279: (4, 1, 960)}, noise(24, 40).tobytes())
    add("16 bit signed", "TIFF", signed, "outside 0 to 65535")
    add("32 bit", "TIFF", encoded(noise(*SIDES, kind=np.int32), "TIFF"), "outside 0 to 65535")
    add("32 bit of 16", "TIFF", encoded(noise(*SIDES, kind=np.uint16).astype(np.int32), "TIFF"), READ)
    floats = noise().astype(np.float32)
    add("floats", "TIFF", encoded(floats, "TIFF"), FLOATS)
    add("floats with NaN", "TIFF", encoded(floats * np.float32("nan"), "TIFF"), FLOATS)
    add("by hand", "TIFF", tiff(), READ)
    add("big", "TIFF", encoded(mode("RGB"), "TIFF", big_tiff=True), READ)
    add("pages in a circle", "TIFF", tiff(next_ifd=8), READ)
    add("page within itself", "TIFF", tiff({330: (4, 1, 8), 34665: (4, 1, 8), 34853: (4, 1, 8)}), READ)
    add("page behind the end", "TIFF", tiff(ifd=BIG), DAMAGED)
    add("page in the header", "TIFF", tiff(ifd=0), DAMAGED)
    add("no page", "TIFF", b"II*\0\x08\0\0\0\0\0\0\0\0\0", DAMAGED)
    add("page of 65535 tags", "TIFF", patched(tiff(), 8, b"\xff\xff"), READ)
    add("strip behind the end", "TIFF", tiff({273: (4, 1, BIG)}), DAMAGED)
    add("strip of 2 GiB", "TIFF", tiff({279: (4, 1, BIG)}), READ)
    add("no strip", "TIFF", tiff({273: None, 279: None}), DAMAGED)
    add("a million strips", "TIFF", tiff({273: (4, 10**6, 8), 279: (4, 10**6, 8)}), DAMAGED)
    add("2 billion strips", "TIFF", tiff({273: (4, BIG, 8)}), DAMAGED)
    add("tiles of 60000", "TIFF", tiff({322: (4, 1, 60000), 323: (4, 1, 60000), 324: (4, 1, 8), 273: None}), DAMAGED)
    add(
        "tiles of 60000 packed",
        "TIFF",
        tiff({322: (4, 1, 60000), 323: (4, 1, 60000), 324: (4, 1, 8), 325: (4, 1, 99), 273: None, 259: (3, 1, 8)}),
        DAMAGED,
    )
    add("tiles of 0", "TIFF", tiff({322: (4, 1, 0), 323: (4, 1, 0), 324: (4, 1, 8), 273: None}), DAMAGED)
    add("2 billion tiles", "TIFF", tiff({322: (4, 1, 1), 323: (4, 1, 1), 324: (4, BIG, 8), 273: None}), DAMAGED)
    add("65535 samples", "TIFF", tiff({277: (3, 1, 65535)}), DAMAGED)
    add("0 samples", "TIFF", tiff({277: (3, 1, 0)}), DAMAGED)
    add("2 billion bits per sample", "TIFF", tiff({258: (3, BIG, 8)}), READ)
    add("0 bits", "TIFF", tiff({258: (3, 1, 0)}), DAMAGED)
    add("64 bits", "TIFF", tiff({258: (3, 1, 64)}), DAMAGED)
    add("size 0x0", "TIFF", tiff({256: (4, 1, 0), 257: (4, 1, 0)}), DAMAGED)
    add("no size", "TIFF", tiff({256: None, 257: None}), DAMAGED)
    add("size of text", "TIFF", tiff({256: (2, 4, 0x41414141)}), DAMAGED)
    add("size of text, a billion times", "TIFF", tiff({256: (2, 4, 0x41414141), 257: (4, 1, 10**9)}), DAMAGED)
    add("size of bytes, a billion times", "TIFF", tiff({256: (1, 1, 0x41), 257: (4, 1, 10**9)}), DAMAGED)
    add("description of 2 GiB", "TIFF", tiff({270: (2, BIG, 8)}), READ)
    add("tag of no type", "TIFF", tiff({270: (99, 1, 8)}), READ)
    add("unknown compression", "TIFF", tiff({259: (3, 1, 12345)}), DAMAGED)
    add("unknown colours", "TIFF", tiff({262: (3, 1, 12345)}), DAMAGED)
    add("palette behind the end", "TIFF", tiff({262: (3, 1, 3), 320: (3, 768, BIG)}), DAMAGED)
    add("palette missing", "TIFF", tiff({262: (3, 1, 3)}), DAMAGED)
    add("resolution by zero", "TIFF", tiff({282: (5, 1, 0)}), READ)
    add("rows of 0", "TIFF", tiff({278: (4, 1, 0)}), DAMAGED)
    add("deflate bomb", "TIFF", tiff({259: (3, 1, 8), 279: (4, 1, len(bomb))}, bomb), FLAT)

    for name in ("1", "L", "P", "RGBA"):
        add(name, "BMP", encoded(mode(name), "BMP"), READ)
    bmp = whole()["BMP"]
    add("from top to bottom", "BMP", patched(bmp, 22, struct.pack("<i", -24)), READ)
    add("lowest height", "BMP", patched(bmp, 22, struct.pack("<i", -(2**31))), PIXELS)
    add("negative width", "BMP", patched(bmp, 18, struct.pack("<i", -20)), PIXELS)
    add("size 0x0", "BMP", patched(bmp, 18, bytes(8)), DAMAGED)
    add("palette of 2 billion", "BMP", patched(encoded(mode("P"), "BMP"), 46, struct.pack("<I", BIG)), DAMAGED)
    add("pixels behind the end", "BMP", patched(bmp, 10, struct.pack("<I", BIG)), DAMAGED)
    add("header of 1 byte", "BMP", patched(bmp, 14, struct.pack("<I", 1)), DAMAGED)
    add("header of 2 GiB", "BMP", patched(bmp, 14, struct.pack("<I", BIG)), DAMAGED)
    add("png inside", "BMP", patched(bmp, 30, struct.pack("<I", 5)), DAMAGED)
    add("77 bits", "BMP", patched(bmp, 28, struct.pack("<H", 77)), DAMAGED)
    packed = patched(encoded(mode("L"), "BMP"), 30, struct.pack("<I", 1))
    add("packed by rubbish", "BMP", packed, DAMAGED)
    add("packed without end", "BMP", packed[:1078] + b"\0\2\xff\xff" * 1000, FLAT)

    for name in ("1", "L", "P"):
        add(name, "GIF", encoded(mode(name), "GIF", interlace=1), READ)
    add("transparent", "GIF", encoded(mode("P"), "GIF", transparency=3), READ)
    add("by hand", "GIF", gif(), DAMAGED)
    add("frame beside the screen", "GIF", gif(frame=(60000, 60000, 20, 24)), PIXELS)
    add("frame larger than the screen", "GIF", gif(frame=(0, 0, 60000, 60000)), PIXELS)
    add("screen 0x0", "GIF", gif(screen=(0, 0)), DAMAGED)
    add("frame 0x0", "GIF", gif(frame=(0, 0, 0, 0)), DAMAGED)
    add("codes of 12 bits", "GIF", gif(code_size=12), DAMAGED)
    add("codes of 255 bits", "GIF", gif(code_size=255), DAMAGED)
    add("no frame", "GIF", gif()[:25] + b";", DAMAGED)
    add("no data", "GIF", gif(data=b""), DAMAGED)
    add("comments without end", "GIF", gif()[:25] + b"!\xfe" + b"\xffa" * 5000, DAMAGED)

    grey = noise().tobytes()
    plain = " ".join(map(str, noise().ravel())).encode()
    for name, data, expectation in (
        ("P1", b"P1 20 24 " + b" ".join(b"%d" % (value % 2) for value in grey), READ),
        ("P2", b"P2 20 24 255 " + plain, READ),
        ("P3", b"P3 20 8 255 " + plain, READ),
        ("P4", b"P4 20 24 " + grey, READ),
        ("P5", b"P5 20 24 255 " + grey, READ),
        ("P5 of 16 bits", b"P5 20 12 65535 " + grey, READ),
        ("P6 of 16 bits", b"P6 10 8 65535 " + grey, READ),
        ("comments", b"P5 #\xff\n20 # 99\n 24 255\n" + grey, READ),
        ("floats", b"Pf 20 6 -1.0 " + grey, FLOATS),
        ("scale of no number", b"Pf 20 6 nan " + grey, DAMAGED),
        ("P7", b"P7\nWIDTH 20\nHEIGHT 24\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\n" + grey, DAMAGED),
        ("brightest 0", b"P5 20 24 0 " + grey, DAMAGED),
        ("brightest 70000", b"P5 20 24 70000 " + grey, DAMAGED),
        ("brightest 1", b"P5 20 24 1 " + grey, READ),
        ("size of letters", b"P5 ab cd 255 " + grey, DAMAGED),
        ("size of 5000 digits", b"P5 " + b"9" * 5000 + b" 24 255 " + grey, DAMAGED),
        ("size -20", b"P5 -20 -24 255 " + grey, DAMAGED),
        ("size 0x0", b"P5 0 0 255 " + grey, DAMAGED),
        ("comment without end", b"P5 #" + b"x" * 100_000, DAMAGED),
        ("letters for pixels", b"P2 20 24 255 " + b"a b " * 480, DAMAGED),
        ("pixels too bright", b"P2 20 24 5 " + plain, DAMAGED),
        ("token without end", b"P2 20 24 255 " + b"1" * 100_000, DAMAGED),
    ):
        add(name, "PPM", data, expectation)

    add("lossless", "WEBP", encoded(mode("RGB"), "WEBP", lossless=True), READ)
    add("alpha", "WEBP", encoded(mode("RGBA"), "WEBP"), READ)
    webp = whole()["WEBP"]
    add("length of 4 GiB", "WEBP", patched(webp, 4, b"\xff" * 4), DAMAGED)
    add("length 0", "WEBP", patched(webp, 4, bytes(4)), DAMAGED)
    extended = b"VP8X" + struct.pack("<IB3x", 10, 0) + b"\xff\xff\xff" * 2
    add(
        "canvas of 16 million squared",
        "WEBP",
        b"RIFF" + struct.pack("<I", len(extended) + 4 + len(webp) - 12) + b"WEBP" + extended + webp[12:],
        PIXELS,
    )

    for kind in ("JPEG2000", "TGA", "PCX", "DDS", "ICO", "ICNS", "SGI", "PDF", "EPS", "QOI", "AVIF", "XBM"):
        picture = mode("1" if kind == "XBM" else "RGB")
        add("in disguise", kind, encoded(picture, kind), DAMAGED)
    for name, data in {
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "entity bomb": b"<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]><svg>&c;</svg>",
        "page": b"<html><script>alert(1)</script></html>",
        "script": b"#!/bin/sh\ntouch canary\n",
        "program": b"\x7fELF" + bytes(100),
        "pickle": pickle.dumps({"a": 1}),
        "zip": zipped([entry()]),
        "gzip": b"\x1f\x8b\x08" + bytes(50),
        "numpy": b"\x93NUMPY\1\0" + bytes(50),
        "DICOM": bytes(128) + b"DICM" + bytes(50),
        "FITS": b"SIMPLE  =                    T" + b" " * 3000,
        "PSD": b"8BPS\0\1" + bytes(50),
        "WMF": b"\xd7\xcd\xc6\x9a" + bytes(50),
        "nothing": b"",
        "one byte": b"\x89",
        "zeros": bytes(5000),
        "line breaks": b"\n" * 100,
    }.items():
        add("in disguise", name, data, DAMAGED)
    return cases


# --- archives


def dicom(path, values, **tags):
    """Write values (H, W) or (H, W, 3) to a DICOM file, with these tags beside its own; `path`: or a file."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    meta.TransferSyntaxUID = tags.pop("TransferSyntaxUID", ExplicitVRLittleEndian)
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns, data.SamplesPerPixel = *values.shape[:2], 3 if values.ndim == 3 else 1
    data.BitsAllocated = data.BitsStored = 8 * values.dtype.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(values.dtype.kind == "i")
    data.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        data.PlanarConfiguration = 0
    data.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def scans():
    """[(suffix, content)] of DICOM, TIFF and NumPy files, sound ones and ones cut, filled or patched at every tenth."""
    import tifffile

    grey, scan, sound = noise(24, 20, kind=np.uint16), noise(24, 20, kind=np.int16), []

    def keep(suffix, write):
        content = io.BytesIO()
        write(content)
        sound.append((suffix, content.getvalue()))

    window = {"RescaleSlope": 2, "RescaleIntercept": -10, "WindowCenter": 40, "WindowWidth": 400}
    for syntax in ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"):
        keep(".dcm", lambda file, syntax=syntax: dicom(file, scan, TransferSyntaxUID=syntax, **window))
    keep(".dcm", lambda file: dicom(file, noise(24, 20, 3)))
    for compression in (None, "zlib"):
        keep(".tif", lambda file, kind=compression: tifffile.imwrite(file, grey, compression=kind, rowsperstrip=5))
    keep(".tif", lambda file: tifffile.imwrite(file, noise(32, 32, 3), photometric="rgb", tile=(16, 16)))
    keep(".npy", lambda file: np.save(file, grey))
    damaged = []
    for suffix, content in sound:
        for at in (len(content) * tenth // 10 for tenth in range(10)):
            damaged.append((suffix, content[:at]))
            damaged.append((suffix, patched(content, at, b"\xff" * 8)))
            damaged.append((suffix, patched(content, at, bytes(8))))
    return sound + damaged


def entry(name="x/test/NORMAL/h.png", data=None, method=0, packed=None, size=None, crc=None, **changes):
    """One member of `zipped`; `local` and `central` hold what differs in its two headers, by the name of the field."""
    data = whole()["PNG"] if data is None else data
    name = name.encode() if isinstance(name, str) else name
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (data if method == 0 else deflate.compress(data) + deflate.flush()) if packed is None else packed
    fields = {"needed": 20, "flags": 0x800, "method": method, "crc": zlib.crc32(data) if crc is None else crc}
    fields |= {"packed_size": len(packed), "size": len(data) if size is None else size, "attributes": 0, "made": 3}
    fields |= {"name": name, "extra": b"", "offset": None} | changes.pop("fields", {})
    return {
        "packed": packed,
        "local": fields | changes.pop("local", {}),
        "central": fields | changes.pop("central", {}),
    }


def zipped(entries, comment=b"", before=b"", **end):
    """A zip of `entries`; `end` changes fields of its last record."""
    body, directory, offset = before, b"", len(before)
    for one in entries:
        f, at = one["local"], len(body)
        head = (f["needed"], f["flags"], f["method"], 0, 33, f["crc"], f["packed_size"], f["size"])
        body += struct.pack("<4sHHHHHIIIHH", b"PK\3\4", *head, len(f["name"]), len(f["extra"]))
        body += f["name"] + f["extra"] + one["packed"]
        f = one["central"]
        head = (
            f["made"] * 256 + 20,
            f["needed"],
            f["flags"],
            f["method"],
            0,
            33,
            f["crc"],
            f["packed_size"],
            f["size"],
        )
        tail = (len(f["name"]), len(f["extra"]), 0, 0, 0, f["attributes"], at if f["offset"] is None else f["offset"])
        directory += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", *head, *tail) + f["name"] + f["extra"]
    record = {"disk": 0, "first": 0, "here": len(entries), "count": len(entries), "length": len(directory)}
    record |= {"offset": len(body) - offset + len(before), "comment": len(comment)} | end
    return body + directory + struct.pack("<4sHHHHIIH", b"PK\5\6", *record.values()) + comment


def sound():
    """Members of an archive that is read: two images a split."""
    names = [f"x/{split}/NORMAL/{split}{k}.png" for split in ("train", "val", "test") for k in range(2)]
    return [entry(name, encoded(noise(seed=k), "PNG")) for k, name in enumerate(names)]


def archives():
    """{name: (bytes, expectation)}: zips with sound members and one that is odd, or damaged as a whole."""
    cases = {}
    data = whole()["PNG"]

    def add(name, expectation, *entries, **options):
        cases[name] = zipped([*sound(), *entries], **options), expectation

    for name, path in {
        "parents": "../../../../test/NORMAL/h.png",
        "absolute": "/test/NORMAL/h.png",
        "absolute of a user": "/etc/test/NORMAL/h.png",
        "a drive": "C:/test/NORMAL/h.png",
        "a share": "//server/test/NORMAL/h.png",
        "a dot": "./x/./test/./NORMAL/h.png",
        "parents within": "x/test/NORMAL/../NORMAL/h.png",
        "quotes": 'x/test/NORMAL/"a\',;b".png',
        "formula": "x/test/NORMAL/=HYPERLINK(1).png",
        "braces": "x/test/NORMAL/{x}.png",
        "markup": "x/test/NORMAL/<script>alert(1)<script>.png",
        "dollars": "x/test/NORMAL/$(touch canary)`touch canary`.png",
        "other alphabets": "x/test/NORMAL/画像-Λ\u00a0ü.png",
        "a long name": f"x/test/NORMAL/{'h' * 60000}.png",
        "a deep name": f"{'x/' * 30000}test/NORMAL/h.png",
    }.items():
        add(f"name of {name}", READ, entry(path))
    for name, path in {
        "a backslash": "x\\test\\NORMAL\\h.png",
        "nothing": "",
        "a stop": ".",
        "a hidden file": "x/test/NORMAL/.h.png",
    }.items():
        add(f"name of {name}", READ, entry(path))
    for name, path in {
        "a new line": "x/test/NORMAL/h\n12:00:00 ERROR all is lost.png",
        "a return": "x/test/NORMAL/h\rall is well.png",
        "an escape": "x/test/NORMAL/\x1b[2Jh.png",
        "a line separator": "x/test/NORMAL/h\u2028.png",
    }.items():
        add(f"name of {name}", "rename it", entry(path))
    add("name cut at a zero", READ, entry("x/test/NORMAL/h.png\0.exe"))
    add("name not UTF-8", NO_ZIP, entry(b"x/test/NORMAL/\xff\xfe.png"))
    add("name of an old code page", READ, entry(b"x/test/NORMAL/\x81\x84.png", fields={"flags": 0}))
    add("names differ", UNPACK, entry(local={"name": b"x/test/NORMAL/o.png"}))
    add("inner name not UTF-8", UNPACK, entry(local={"name": b"x/test/NORMAL/\xff.png"}))
    add("same name twice", READ, entry(), entry(data=encoded(noise(seed=9), "PNG")))
    add("same name, other case", READ, entry(), entry("x/test/NORMAL/H.PNG", encoded(noise(seed=9), "PNG")))
    add("same image twice", READ, entry(), entry("x/test/NORMAL/i.png"))
    add("same image in two splits", READ, entry(), entry("x/train/NORMAL/i.png"))
    add("thousand times the same", READ, *[entry()] * 1000)

    add("symlink", DAMAGED, entry(data=b"/etc/passwd", fields={"attributes": 0o120777 << 16}))
    add("device", DAMAGED, entry(data=b"", fields={"attributes": 0o020666 << 16}))
    add("fifo", DAMAGED, entry(data=b"", fields={"attributes": 0o010666 << 16}))
    add("folder like an image", READ, entry("x/test/NORMAL/h.png/", b""))
    add("empty member", DAMAGED, entry(data=b""))
    add("text for an image", DAMAGED, entry(data=b"notes"))
    add("archive in the archive", DAMAGED, entry(data=zipped(sound())))
    add("archive beside the images", READ, entry("x/test/NORMAL/h.zip", zipped(sound())))

    add("deflated", READ, entry(method=8))
    for name, method in {"bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}.items():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as file:
            for k, one in enumerate(sound()):
                file.writestr(one["local"]["name"].decode(), encoded(noise(seed=k), "PNG"))
        cases[name] = buffer.getvalue(), UNPACK
        add(f"{name} of rubbish", UNPACK, entry(method=method, packed=b"\x09\x04\x05\0" + b"\xff" * 60))
        add(f"{name} cut", UNPACK, entry(method=method, packed=b"\x09"))
        add(f"{name} of nothing", UNPACK, entry(method=method, packed=b""))
    add(
        "lzma with 4 GiB of memory",
        UNPACK,
        entry(method=14, packed=b"\x09\x04\x05\0\x5d\xff\xff\xff\xff" + b"\xff" * 60),
    )
    add("deflate of rubbish", UNPACK, entry(method=8, packed=b"\xff" * 60))
    add("deflate of nothing", UNPACK, entry(method=8, packed=b""))
    for method in (1, 6, 9, 93, 97, 99, 65535):
        add(f"method {method}", UNPACK, entry(fields={"method": method}))
    add("methods differ", READ, entry(local={"method": 8}))
    add("encrypted", UNPACK, entry(fields={"flags": 1}))
    add("strongly encrypted", UNPACK, entry(fields={"flags": 0x841}))
    add("patched data", UNPACK, entry(fields={"flags": 0x820}))
    add("made for version 25", NO_ZIP, entry(central={"needed": 255}))
    add("inner version 25", READ, entry(local={"needed": 255}))

    add("wrong CRC", UNPACK, entry(crc=1))
    add("wrong CRC, deflated", UNPACK, entry(crc=1, method=8))
    add("size too small", UNPACK, entry(size=len(data) - 9))
    add("size too large", EITHER, entry(size=len(data) + 9))
    add("size 0", UNPACK, entry(size=0))
    add("size of 4 GiB", "unpacks to 4294967294 bytes", entry(size=2**32 - 2))
    add("packed size too small", UNPACK, entry(central={"packed_size": 9}))
    add("packed size 0", UNPACK, entry(central={"packed_size": 0}))
    add("packed size of 4 GiB", READ, entry(central={"packed_size": 2**32 - 2}))
    add("offset behind the end", UNPACK, entry(central={"offset": 2**32 - 2}))
    add("offset into data", UNPACK, entry(central={"offset": 77}))
    add("offset in the directory", UNPACK, entry(central={"offset": 1400}), before=b"")
    add("inner name of 65535", UNPACK, entry(local={"name": b"x" * 65535}))
    big = struct.pack("<HHQQ", 1, 16, len(data), len(data))
    full = {"packed_size": 2**32 - 1, "size": 2**32 - 1}
    add("zip64", READ, entry(fields={**full, "extra": big}))
    add(
        "zip64 of 16 EiB",
        "unpacks to 1844674407370955",
        entry(central={**full, "extra": struct.pack("<HHQQ", 1, 16, 2**64 - 1, 2**64 - 1)}),
    )
    add("zip64 at 16 EiB", UNPACK, entry(central={"offset": 2**32 - 1, "extra": struct.pack("<HHQ", 1, 8, 2**64 - 1)}))
    add("zip64 cut", NO_ZIP, entry(central={**full, "extra": big[:9]}))
    add("zip64 without sizes", "unpacks to 4294967295 bytes", entry(central={**full, "extra": b""}))
    add("extra of rubbish", EITHER, entry(fields={"extra": b"\xff" * 33}))
    add("extra field too long", NO_ZIP, entry(central={"extra": b"\1\0\xff\xff"}))

    add("bomb", "unpacks to", entry(data=bytes(2**26 + 1), method=8))
    add("bomb below the bound", DAMAGED, entry(data=bytes(2**25), method=8))
    add("bomb of a lying size", UNPACK, entry(data=bytes(2**26), method=8, size=1000))
    kernel = entry(data=bytes(2**25), method=8)
    one = {**kernel, "central": {**kernel["central"], "offset": 0}}
    names = [b"x/train/NORMAL/%d.png" % k for k in range(4000)]
    shared = [
        {"packed": b"", "local": entry("")["local"], "central": one["central"] | {"name": name}} for name in names
    ]
    cases["members that share their data"] = zipped([kernel, *shared]), "all its images together"
    add("entries without number", READ, here=65535, count=65535)
    add("entries of a lying number", READ, here=1, count=1)
    cases["no entries"] = zipped([]), NONE
    cases["no images"] = zipped([entry("a.txt"), entry("x/test/OTHER/h.png")]), NONE
    cases["no test images"] = zipped(sound()[:4]), "the source has no image for test"
    add("other disk", EITHER, disk=7, first=7)
    add("directory of 4 GiB", NO_ZIP, length=2**32 - 2)
    add("directory of 0", NONE, length=0)
    add("directory elsewhere", EITHER, offset=5)
    add("directory behind the end", UNPACK, offset=2**32 - 2)
    add("comment", READ, comment=b"\x1b[2J\n" * 999)
    add("comment that is an archive", EITHER, comment=zipped(sound()))
    add(
        "comment cut",
        READ,
        comment=b"x" * 99,
    )
    add("garbage before", READ, before=b"\xff" * 1000)
    cases["program before"] = b"#!/bin/sh\ntouch canary\n" + zipped(sound()), READ
    cases["garbage behind"] = zipped(sound()) + b"\xff" * 1000, READ
    cases["garbage of 1 MB behind"] = zipped(sound()) + b"\xff" * 10**6, NO_ZIP
    intact = zipped(sound())
    for tenth in range(10):
        cases[f"cut at {tenth} tenths"] = intact[: len(intact) * tenth // 10], NO_ZIP
    for seed in range(10):
        draw, damaged = random.Random(seed), bytearray(intact)
        for _ in range(20):
            damaged[draw.randrange(len(intact))] = draw.randrange(256)
        cases[f"flipped {seed}"] = bytes(damaged), EITHER
    for name, content in {
        "text": b"this is text",
        "nothing": b"",
        "an image": data,
        "zeros": bytes(10**5),
        "the end alone": b"PK\5\6" + bytes(18),
        "the end of another": b"PK\5\6" + b"\xff" * 18,
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(99),
        "rar": b"Rar!\x1a\7\0" + bytes(99),
        "tar": b"x" * 257 + b"ustar\0" + bytes(999),
        "gzip": b"\x1f\x8b\x08" + bytes(99),
    }.items():
        cases[f"{name} instead"] = content, NONE if name == "the end alone" else NO_ZIP
    return cases


# --- files that must not run code


class Canary:
    """Its pickle makes a folder where it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def weights(path):
    """{name: bytes} of files that are no weights; those that can run code make `path` when they do."""
    import torch
    from safetensors.torch import save

    from tvmap.network import build

    good = {key: tensor.contiguous() for key, tensor in build(seed=0).weights().items()}
    plain = {"settings": "{}"}

    def described(settings, tensors=good):
        return save(tensors, {"settings": settings})

    sound = described("{}")
    length = struct.unpack("<Q", sound[:8])[0]
    header = json.loads(sound[8 : 8 + length])
    name = next(name for name in header if name != "__metadata__")

    def headed(**changes):
        text = json.dumps(header | {name: header[name] | changes}).encode()
        return struct.pack("<Q", len(text)) + text + sound[8 + length :]

    cases = {f"cut at {tenth} tenths": sound[: len(sound) * tenth // 10] for tenth in range(10)}
    cases |= {
        f"settings {text[:20]}": described(text) for text in ("", "null", "1", "[1]", '{"up_bound": ', '{"x": 1}')
    }
    wrong = {
        "up_bound": ("a", [1], -1, float("nan"), 1e9, True),
        "padding": ("x", 1.5, 10**9, -4),
        "maps": (0, 3, "1", True),
        "penalty": ("x", ["tv"]),
        "noise_estimate": (None,),
        "predicts": ("foo",),
        "steps": ("x", 3),
        "precision": ("x", 16),
    }
    cases |= {
        f"{name} {value!r}": described(json.dumps({name: value})) for name, values in wrong.items() for value in values
    }
    learned = good | {"log_ratio": torch.tensor(1e30)}
    cases |= {
        "steps out of all proportion": described('{"steps": "learned"}', learned),
        "settings a thousand deep": described("[" * 100_000),
        "settings of another network": described('{"steps": "learned"}'),
        "settings of no start": described('{"start": "zero"}'),
        "no settings": save(good, {}),
        "no description": save(good),
        "no tensors": save({}, plain),
        "one tensor missing": save({key: good[key] for key in list(good)[1:]}, plain),
        "one tensor too many": save(good | {"more": good[name].clone()}, plain),
        "another shape": save(good | {name: good[name][:1]}, plain),
        "not a number": save(good | {name: good[name] * float("nan")}, plain),
        "infinite": save(good | {name: good[name] / 0}, plain),
        "shape of 2^60": headed(shape=[2**60]),
        "offsets backwards": headed(data_offsets=[100, 0]),
        "offsets behind the end": headed(data_offsets=[0, 2**40]),
        "unknown type": headed(dtype="PICKLE"),
        "header of 16 EiB": b"\xff" * 8 + sound[8:],
        "header of 100 MB": struct.pack("<Q", 10**8) + sound[8:],
        "header that is no JSON": struct.pack("<Q", 4) + b"rubb" + sound[12:],
        "header not UTF-8": struct.pack("<Q", 4) + b"\xff\xfe\xff\xfe" + sound[12:],
        "pickle": pickle.dumps(Canary(path)),
        "pickle of PyTorch": torch_file(Canary(path)),
        "text": b"no weights",
    }
    return cases


def torch_file(content):
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def stacks(path):
    """{name: bytes} of files that are no stacks of arrays; those that can run code make `path` when they do."""

    def npy(array, **options):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, **options)
        return buffer.getvalue()

    def npz(content, name="images.npy", **changes):
        return zipped([entry("ids.npy", npy(np.array(["a"]))), entry(name, content, **changes)])

    def headed(text):
        text = text.encode() + b"\n"
        return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(64)

    good = npy(np.ones((1, 4, 4), np.float32))
    evil = np.empty(1, object)
    evil[0] = Canary(path)
    whole = npz(good)
    cases = {f"cut at {tenth} tenths": whole[: len(whole) * tenth // 10] for tenth in range(10)}
    cases |= {
        "pickle": pickle.dumps(Canary(path)),
        "objects": npz(npy(evil, allow_pickle=True)),
        "array alone": good,
        "objects alone": npy(evil, allow_pickle=True),
        "no array": npz(b"rubbish"),
        "nothing": npz(b""),
        "another name": npz(b"rubbish", "images"),
        "header cut": npz(good[:20]),
        "data cut": npz(good[:-9]),
        "version 9": npz(patched(good, 6, b"\x09")),
        "header of code": npz(headed(f"__import__('os').mkdir({str(path)!r})")),
        "header of no dictionary": npz(headed("[1, 2]")),
        "header a thousand deep": npz(headed("(" * 9000)),
        "header not closed": npz(headed("{'descr': '<f4',")),
        "header without shape": npz(headed("{'descr': '<f4', 'fortran_order': False}")),
        "shape of 2^60": npz(headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,)}")),
        "shape of 2^40": npz(headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}")),
        "shape -1": npz(headed("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}")),
        "shape of letters": npz(headed("{'descr': '<f4', 'fortran_order': False, 'shape': 'ab'}")),
        "no type": npz(headed("{'descr': 'rubbish', 'fortran_order': False, 'shape': (1,)}")),
        "type of 2 GiB": npz(headed("{'descr': '|S2147483647', 'fortran_order': False, 'shape': (9,)}")),
        "wrong CRC": npz(good, crc=1),
        "deflate of rubbish": npz(good, method=8, packed=b"\xff" * 60),
        "lzma of rubbish": npz(good, method=14, packed=b"\x09\x04\x05\0" + b"\xff" * 60),
        "method 99": npz(good, fields={"method": 99}),
        "encrypted": npz(good, fields={"flags": 1}),
        "offset behind the end": npz(good, central={"offset": 2**32 - 2}),
        "made for version 25": npz(good, central={"needed": 255}),
        "name not UTF-8": zipped([entry(b"\xff.npy", good)]),
    }
    return cases
