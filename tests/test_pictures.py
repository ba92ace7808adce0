"""Images of every kind come in whole and go out with the depth that they had; damaged ones are refused in a line."""

import io
import struct
import sys
import zlib

import hostile
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from tvmap import map_files, pictures
from tvmap.errors import StudyError

RANDOM = np.random.default_rng(3)
GREY8, GREY16 = RANDOM.integers(0, 256, (7, 9), np.uint8), RANDOM.integers(0, 65536, (7, 9), np.uint16)
COLOUR8, COLOUR16 = RANDOM.integers(0, 256, (7, 9, 3), np.uint8), RANDOM.integers(0, 65536, (7, 9, 3), np.uint16)
ALPHA = np.concatenate([COLOUR8, RANDOM.integers(0, 256, (7, 9, 1), np.uint8)], axis=-1)
FLOAT = RANDOM.normal(0.5, 0.2, (7, 9)).astype(np.float32)


def save(path, values, **options):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values, **options)
    else:
        Image.fromarray(values).save(path, **options)
    return path


def filtered(rows, step):
    """Rows (H, n) of a PNG, filtered by each of its five filters in turn (PNG, 9.2), `step` bytes a pixel."""

    def paeth(left, above, corner):
        near = {value: abs(left + above - corner - value) for value in (left, above, corner)}
        return min((left, above, corner), key=near.get)

    padded, lines = np.pad(rows.astype(int), ((1, 0), (step, 0))), []
    for y, row in enumerate(rows.tolist()):
        left, above, corner = padded[y + 1].tolist(), padded[y].tolist()[step:], padded[y].tolist()
        triples = list(zip(left, above, corner, strict=False))
        guess = (0, lambda a, b, c: a, lambda a, b, c: b, lambda a, b, c: (a + b) // 2, paeth)[y % 5]
        lines.append(
            [y % 5, *((value - (guess(*t) if y % 5 else 0)) % 256 for value, t in zip(row, triples, strict=True))]
        )
    return np.array(lines, np.uint8)


def png_16(values, interlaced=False):
    height, width, n = values.shape
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for top, left, down, right in passes if interlaced else [(0, 0, 1, 1)]:
        part = np.ascontiguousarray(values[top::down, left::right], ">u2")
        data += filtered(part.reshape(len(part), -1).view(np.uint8), 2 * n).tobytes() if part.size else b""
    header = (width, height, 16, {3: 2, 4: 6}[n], 0, 0, int(interlaced))
    return hostile.png(header=header, data=zlib.compress(data))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("n", [3, 4])
def test_colour_of_16_bits_in_png_keeps_both_bytes(tmp_path, n, interlaced):
    values = RANDOM.integers(0, 65536, (11, 9, n), np.uint16)
    (tmp_path / "a.png").write_bytes(png_16(values, interlaced))
    picture = pictures.read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.values(picture.channels), values)
    pictures.write(tmp_path / "b.png", picture, picture.channels)
    assert (tmp_path / "b.png").read_bytes()[24] == 16
    with Image.open(tmp_path / "b.png") as seen:  # by Pillow, which keeps the high bytes
        np.testing.assert_array_equal(np.asarray(seen), values >> 8)
    again = pictures.read(tmp_path / "b.png")
    np.testing.assert_array_equal(again.values(again.channels), values)


def test_orientation_of_16_bits_in_png(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    content = png_16(COLOUR16)
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])
    picture = pictures.read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.values(picture.channels), np.rot90(COLOUR16, -1))


@pytest.mark.parametrize(
    ("suffix", "values", "options"),
    [
        (".png", GREY8, {}),
        (".png", GREY16, {}),
        (".png", COLOUR8, {}),
        (".png", ALPHA, {}),
        (".bmp", GREY8, {}),
        (".webp", COLOUR8, {"lossless": True}),
        (".tif", GREY8, {}),
        (".tif", GREY16, {}),
        (".tif", COLOUR16, {"photometric": "rgb"}),
        (".tif", COLOUR16, {"photometric": "rgb", "planarconfig": "separate"}),
        (".tif", FLOAT, {"compression": "zlib"}),
        (".tif", FLOAT.astype(np.float64), {}),
        (".npy", GREY8, {}),
        (".npy", FLOAT.astype(np.float64), {}),
        (".npy", np.stack([FLOAT] * 3, axis=-1), {}),
    ],
)
def test_what_is_read_is_written_again(tmp_path, suffix, values, options):
    separate = options.get("planarconfig") == "separate"
    path = save(tmp_path / f"a{suffix}", np.moveaxis(values, -1, 0).copy() if separate else values, **options)
    picture = pictures.read(path)
    assert picture.channels.dtype == np.float32 and picture.channels.shape[0] in (1, 3)
    assert not picture.assumed
    integer = values.dtype.kind == "u"
    expected = values[..., :3] if values.ndim == 3 else values[..., None]
    unit = expected / np.iinfo(values.dtype).max if integer else expected
    np.testing.assert_allclose(np.moveaxis(picture.channels, 0, -1), unit, atol=1e-6)
    output = tmp_path / f"b{picture.suffix}"
    pictures.write(output, picture, picture.channels)
    again = {".png": Image.open, ".tif": tifffile.imread, ".npy": np.load}[picture.suffix](output)
    again = np.asarray(again)
    assert again.dtype == values.dtype and again.shape == values.shape
    if integer:
        np.testing.assert_array_equal(again, values)
    else:
        np.testing.assert_allclose(again, values, atol=1e-6)


@pytest.mark.parametrize("read", [pictures.read, map_files.read_weight])
def test_a_tiff_of_numbers_of_no_known_kind_is_refused_in_words(tmp_path, read):
    """8 bits, declared as floating point."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 4), np.int8), photometric="minisblack", byteorder="<")
    signed, floating = (struct.pack("<HHIHH", 339, 3, 1, kind, 0) for kind in (2, 3))  # tag SampleFormat
    assert path.read_bytes().count(signed) == 1
    path.write_bytes(path.read_bytes().replace(signed, floating))
    with pytest.raises(StudyError, match="a.tif: numbers of an unknown kind; give 8 or 16 bits"):
        read(path)


@pytest.mark.parametrize("packing", ["tiff_lzw", "packbits"])
@pytest.mark.parametrize("photometric", [0, 1])  # white is 0, black is 0
@pytest.mark.parametrize("values", [COLOUR8, GREY8, GREY16, FLOAT], ids=["colour8", "grey8", "grey16", "float32"])
def test_packed_tiff_is_read_as_plain(tmp_path, values, photometric, packing):
    path = tmp_path / "a.tif"
    tags = {} if values.ndim == 3 else {262: photometric}
    Image.fromarray(values).save(path, compression=packing, tiffinfo=tags)
    with Image.open(path) as there:
        assert there.tag_v2[262] == tags.get(262, 2)
    picture = pictures.read(path)
    expected = values
    if tags == {262: 0} and values is not GREY8:  # which Pillow inverts as it writes, and these it does not
        expected = 65535 - values if values is GREY16 else -values
    np.testing.assert_allclose(picture.values(picture.channels), expected, atol=1e-6)


def test_bits_and_inverse_tiff(tmp_path):
    Image.fromarray(GREY8 > 99).save(tmp_path / "bits.tif", compression="group4")
    np.testing.assert_array_equal(pictures.read(tmp_path / "bits.tif").channels[0], GREY8 > 99)
    tifffile.imwrite(tmp_path / "inverse.tif", GREY16, photometric="miniswhite")
    np.testing.assert_allclose(pictures.read(tmp_path / "inverse.tif").channels[0], 1 - GREY16 / 65535, atol=1e-6)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]


@pytest.mark.parametrize(
    ("name", "values", "profile"),
    [
        ("a.png", COLOUR8, SRGB),
        ("a.png", GREY8, GREY_PROFILE),
        ("a.png", GREY16, GREY_PROFILE),
        ("a.jpg", COLOUR8, SRGB),
        ("a.webp", ALPHA, SRGB),
        ("a.tif", COLOUR8, SRGB),
        ("a.tif", COLOUR16, SRGB),
    ],
)
def test_a_profile_goes_with_its_colours(tmp_path, name, values, profile):
    save(tmp_path / name, values, **({"iccprofile": profile} if name == "a.tif" else {"icc_profile": profile}))
    picture = pictures.read(tmp_path / name)
    outputs = {"b.tif": picture, "float.tif": picture.as_float(), "b.png": picture}
    for output, written in outputs.items():
        pictures.write(tmp_path / output, written, picture.channels)
        assert pictures.read(tmp_path / output).profile == profile
    with Image.open(tmp_path / "b.png") as seen:
        assert seen.info["icc_profile"] == profile
    with tifffile.TiffFile(tmp_path / "b.tif") as seen:
        assert seen.pages.first.tags[34675].value == profile
    assert pictures.read(save(tmp_path / "none.png", COLOUR8)).profile is None


def test_a_profile_of_colours_that_are_no_more_is_left_out(tmp_path):
    ink = Image.fromarray(COLOUR8).convert("CMYK")
    ink.save(tmp_path / "a.jpg", icc_profile=SRGB[:16] + b"CMYK" + SRGB[20:])
    ink.save(tmp_path / "a.tif", icc_profile=SRGB[:16] + b"CMYK" + SRGB[20:])
    assert pictures.read(tmp_path / "a.jpg").profile is None and pictures.read(tmp_path / "a.tif").profile is None


def test_palettes_and_two_levels_become_colour_and_grey(tmp_path):
    Image.fromarray(COLOUR8).quantize(16).save(tmp_path / "palette.png")
    assert pictures.read(tmp_path / "palette.png").channels.shape == (3, 7, 9)
    Image.fromarray(GREY8 > 99).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(pictures.read(tmp_path / "bits.png").channels[0], GREY8 > 99)
    Image.fromarray(COLOUR8).convert("CMYK").save(tmp_path / "print.jpg")
    assert pictures.read(tmp_path / "print.jpg").channels.shape == (3, 7, 9)


def test_noise_beyond_the_range_is_clipped_only_in_integers(tmp_path):
    path = save(tmp_path / "a.png", GREY8)
    picture = pictures.read(path)
    assert picture.values(picture.channels * 0 + 1.2).max() == 255 and picture.values(picture.channels - 9).min() == 0
    picture = pictures.read(save(tmp_path / "a.npy", FLOAT))
    assert picture.values(picture.channels + 1).max() > 1


def test_the_range_of_other_numbers_is_said_or_given(tmp_path):
    values = (1000 * FLOAT - 500).astype(np.float32)
    picture = pictures.read(save(tmp_path / "a.npy", values))
    assert picture.assumed and (picture.channels.min(), picture.channels.max()) == (0, 1)
    picture = pictures.read(tmp_path / "a.npy", limits=(-1024, 3071))
    assert not picture.assumed
    np.testing.assert_allclose(picture.channels[0], (values + 1024) / 4095, rtol=1e-5)
    np.testing.assert_allclose(picture.values(picture.channels), values, atol=1e-3)
    big_endian = pictures.read(save(tmp_path / "big.npy", GREY16.astype(">u2")))
    np.testing.assert_allclose(big_endian.channels[0], GREY16 / 65535, atol=1e-6)
    integers = np.arange(-20, 43, dtype=np.int16).reshape(7, 9)
    picture = pictures.read(save(tmp_path / "i.npy", integers))
    np.testing.assert_array_equal(picture.values(picture.channels), integers)
    with pytest.raises(StudyError, match="low < high"):
        pictures.read(tmp_path / "a.npy", limits=(1, 1))


def test_dicom_is_read_as_a_viewer_shows_it(tmp_path):
    values = RANDOM.integers(-1000, 1000, (6, 8), np.int16)
    window = {"RescaleSlope": 2, "RescaleIntercept": -10, "WindowCenter": 40, "WindowWidth": 400}
    picture = pictures.read(hostile.dicom(tmp_path / "a.dcm", values, **window))
    low, high = 40 - 0.5 - 399 / 2, 40 - 0.5 + 399 / 2  # PS3.3, C.11.2.1.2.1
    np.testing.assert_allclose(picture.channels[0], (2.0 * values - 10 - low) / (high - low), rtol=1e-5)
    assert picture.suffix == ".tif" and picture.values(picture.channels).dtype == np.float32
    inverse = pictures.read(
        hostile.dicom(tmp_path / "b.dcm", values, PhotometricInterpretation="MONOCHROME1", **window)
    )
    np.testing.assert_allclose(inverse.channels, 1 - picture.channels, rtol=1e-4, atol=1e-5)
    for limits in ((0, 1000), (-2000, 500)):  # those given take the place of the window's
        within = [pictures.read(tmp_path / name, limits).channels[0] for name in ("a.dcm", "b.dcm")]
        expected = (2.0 * values - 10 - limits[0]) / (limits[1] - limits[0])
        np.testing.assert_allclose(within[0], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(within[1], 1 - expected, rtol=1e-5, atol=1e-5)
    exact = pictures.read(hostile.dicom(tmp_path / "c.dcm", values, VOILUTFunction="LINEAR_EXACT", **window))
    np.testing.assert_allclose(exact.channels[0], (2.0 * values - 10 + 160) / 400, rtol=1e-5, atol=1e-6)
    for unused in ({"VOILUTFunction": ""}, {"VOILUTSequence": []}):
        again = pictures.read(hostile.dicom(tmp_path / "unused.dcm", values, **window, **unused))
        np.testing.assert_array_equal(again.channels, picture.channels)
    eight = pictures.read(hostile.dicom(tmp_path / "eight.dcm", GREY8))
    np.testing.assert_allclose(eight.channels[0], GREY8 / 255, atol=1e-6)
    bare = pictures.read(hostile.dicom(tmp_path / "d.dcm", values))
    assert bare.assumed == (values.min(), values.max())
    assert (bare.channels.min(), bare.channels.max()) == (0, 1)
    colour = pictures.read(hostile.dicom(tmp_path / "e.dcm", COLOUR8))
    np.testing.assert_allclose(np.moveaxis(colour.channels, 0, -1), COLOUR8 / 255, atol=1e-6)


def table(first, depth, entries):
    """A VOILUTSequence: the values from `first` on are looked up in `entries`."""
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, depth])
    item.add_new("LUTData", "US", [int(entry) for entry in entries])
    return [item]


@pytest.mark.parametrize(
    ("tags", "ends"),
    [
        ({"WindowCenter": 1050, "WindowWidth": 2000}, ((1000 - 50) / 1999, (1100 - 50) / 1999)),
        (
            {"WindowCenter": 1050, "WindowWidth": 2000, "VOILUTFunction": "SIGMOID"},
            (1 / (1 + np.exp(0.1)), 1 / (1 + np.exp(-0.1))),
        ),
        (
            {"WindowCenter": -1050, "WindowWidth": 2000, "VOILUTFunction": "SIGMOID", "RescaleSlope": -1},
            (1 / (1 + np.exp(-0.1)), 1 / (1 + np.exp(0.1))),
        ),
        ({"VOILUTSequence": table(0, 12, range(4096))}, (1000 / 4095, 1100 / 4095)),
        ({"VOILUTSequence": table(1000, 8, range(20, 121))}, (20 / 255, 120 / 255)),
        ({"VOILUTSequence": table(900, 8, [7] * 100 + [50] * 300)}, (50 / 255, 50 / 255)),
    ],
    ids=["LINEAR", "SIGMOID", "SIGMOID of negative slope", "12 bits", "8 bits", "8 bits of many values"],
)
def test_a_window_of_dicom_has_the_ends_of_what_it_gives(tmp_path, tags, ends):
    """PS3.3, C.11.2: not those of the values that happen to be in the image."""
    values = np.linspace(1000, 1100, 101).astype(np.uint16).reshape(1, -1)
    tags = {"BitsStored": 12, "HighBit": 11, **tags} | ({"RescaleIntercept": 0} if "RescaleSlope" in tags else {})
    picture = pictures.read(hostile.dicom(tmp_path / "a.dcm", values, **tags))
    np.testing.assert_allclose(picture.channels[0, 0, [0, -1]], ends, atol=1e-6)
    assert picture.assumed is None
    sign = tags.get("RescaleSlope", 1)
    given = pictures.read(tmp_path / "a.dcm", sorted((sign * 900, sign * 1300)))  # in place of the window
    expected = (values - 900.0) / 400
    np.testing.assert_allclose(given.channels[0], expected if sign == 1 else 1 - expected, atol=1e-6)


def test_an_unknown_window_of_dicom_is_said(tmp_path):
    window = {"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "CUBIC"}
    hostile.dicom(tmp_path / "a.dcm", GREY16, **window)
    with pytest.raises(StudyError, match="a.dcm: a window of the unknown kind 'CUBIC'; give limits"):
        pictures.read(tmp_path / "a.dcm")
    np.testing.assert_allclose(pictures.read(tmp_path / "a.dcm", (0, 65535)).channels[0], GREY16 / 65535, atol=1e-6)


@pytest.mark.parametrize(("kind", "name"), [(np.float32, "FloatPixelData"), (np.float64, "DoubleFloatPixelData")])
def test_dicom_of_floating_point_is_read(tmp_path, kind, name):
    """It has no BitsStored (PS3.3, C.7.6.24 and C.7.6.25)."""
    values = FLOAT.astype(kind)
    data = pydicom.dcmread(hostile.dicom(tmp_path / "a.dcm", values))
    del data.PixelData, data.BitsStored, data.HighBit, data.PixelRepresentation
    setattr(data, name, values.tobytes())
    data.save_as(tmp_path / "a.dcm")
    np.testing.assert_allclose(pictures.read(tmp_path / "a.dcm").channels[0], FLOAT, atol=1e-6)


@pytest.mark.parametrize("name", ["SC_ybr_full_422_uncompressed.dcm", "SC_rgb_rle.dcm"])
def test_colours_of_scans_that_others_made(name):
    path = get_testdata_file(name)
    expected = pydicom.dcmread(path).pixel_array  # pydicom makes RGB of YBR
    assert expected.shape[-1] == 3
    np.testing.assert_allclose(np.moveaxis(pictures.read(path).channels, 0, -1), expected / 255, atol=1e-6)


def test_packed_scans_are_read_or_refused_with_what_to_do(tmp_path):
    path, grey = tmp_path / "a.dcm", np.full((16, 24), 90, np.uint8)

    def packed(jpeg, syntax, rows=grey):
        content = {"PixelData": encapsulate([jpeg]), "TransferSyntaxUID": syntax}
        return pictures.read(hostile.dicom(path, rows, **content))

    jpeg = hostile.encoded(grey, "JPEG")
    np.testing.assert_allclose(packed(jpeg, JPEGBaseline8Bit).channels[0], grey / 255, atol=1e-6)
    for other, syntax, rows in ((jpeg, JPEGLSLossless, grey), (jpeg, JPEGBaseline8Bit, grey[:4, :4])):
        with pytest.raises(StudyError, match=r"a\.dcm: its pixels are packed as .*; save it with its pixels unpacked"):
            packed(other, syntax, rows)
    with pytest.raises(StudyError, match="more than 16 MiB of packed pixels"):
        packed(bytes(2**24), RLELossless)
    # Found by `make fuzz`: the name of a packing with line feeds in it.
    hostile.dicom(path, grey)
    syntax = b"1.2.840.10008.1.2.1\0"
    assert path.read_bytes().count(syntax) == 1
    path.write_bytes(path.read_bytes().replace(syntax, b"1.2.840.;0\0\n\n\x1b[2J\r1\0"))
    with pytest.raises(StudyError, match="packed as 1.2.840.;0") as error:
        pictures.read(path)
    assert str(error.value).isprintable()
    assert Image.MAX_IMAGE_PIXELS == pictures.MOST_PIXELS


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees clockwise
    Image.fromarray(COLOUR8).save(tmp_path / "turned.png", exif=exif)
    found = pictures.read(tmp_path / "turned.png")
    np.testing.assert_allclose(np.moveaxis(found.channels, 0, -1), np.rot90(COLOUR8, -1) / 255, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_tiff_is_what_pillow_makes_of_it(tmp_path, orientation):
    """TIFF 6.0, tag 274, by tifffile (16 bits) and by Pillow (packed)."""
    tifffile.imwrite(tmp_path / "a.tif", COLOUR16, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(COLOUR8).save(tmp_path / "b.tif", compression="tiff_lzw", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "b.tif"))
    numbered = Image.fromarray(np.arange(63, dtype=np.uint8).reshape(7, 9))
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # of Image.Transpose, by EXIF
    order = np.asarray(numbered if orientation == 1 else numbered.transpose(turned[orientation]))
    for name, values in (("a", COLOUR16 / 65535), ("b", COLOUR8 / 255)):
        found = np.moveaxis(pictures.read(tmp_path / f"{name}.tif").channels, 0, -1)
        np.testing.assert_allclose(found, values.reshape(63, 3)[order], atol=1e-6)
    np.testing.assert_allclose(
        np.moveaxis(pictures.read(tmp_path / "b.tif").channels, 0, -1), np.asarray(upright) / 255
    )


def test_grey_with_transparency_comes_back_in_every_format(tmp_path):
    values = np.stack([GREY8, 255 - GREY8], axis=-1)
    Image.fromarray(values, "LA").save(tmp_path / "a.png")
    picture = pictures.read(tmp_path / "a.png")
    for name in ("b.png", "b.tif", "b.npy"):
        pictures.write(tmp_path / name, picture, picture.channels)
        again = pictures.read(tmp_path / name)
        np.testing.assert_array_equal(again.values(again.channels), values)
    floating = picture.as_float()
    pictures.write(tmp_path / "c.tif", floating, floating.channels)
    again = pictures.read(tmp_path / "c.tif")
    np.testing.assert_allclose(again.values(again.channels), values / 255, atol=1e-6)
    double = pictures.read(save(tmp_path / "d.npy", values / 255)).as_float()
    pictures.write(tmp_path / "d.tif", double, double.channels)
    assert tifffile.imread(tmp_path / "d.tif").dtype == np.float32
    np.testing.assert_allclose(tifffile.imread(tmp_path / "d.tif"), values / 255, atol=1e-6)


def test_a_scan_that_others_made():
    path = get_testdata_file("CT_small.dcm")
    data = pydicom.dcmread(path)
    picture = pictures.read(path)
    values = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
    np.testing.assert_allclose(picture.channels[0], (values - values.min()) / np.ptp(values), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.txt", lambda path: path.write_text("x"), "does not end like an image's; rename it, DICOM to .dcm"),
        ("IM0001", lambda path: hostile.dicom(path, GREY8), "does not end like an image's; rename it, DICOM to .dcm"),
        ("a.png", lambda path: None, "no such file"),
        ("a.png", lambda path: path.write_bytes(b"no image"), "another kind; replace it or leave it out"),
        ("a.tif", lambda path: path.write_bytes(b"II*\0"), "cannot be read as an image"),
        ("a.dcm", lambda path: path.write_bytes(b"x" * 200), "cannot be read as an image"),
        ("a.npy", lambda path: np.save(path, np.array([{}]), allow_pickle=True), "cannot be read as an image"),
        ("a.npy", lambda path: path.write_bytes(archive()), "not one array; save the one"),
        ("a.dcm", lambda path: without_pixels(path), "a DICOM file without pixels; replace it"),
        ("a.npy", lambda path: np.save(path, np.zeros((2, 3, 4, 5))), "one image is needed"),
        ("a.npy", lambda path: np.save(path, np.zeros((9, 9, 7))), "one image is needed"),
        ("a.npy", lambda path: np.save(path, np.full((4, 4), np.nan)), "16 pixels are NaN or infinite; replace it"),
        ("a.npy", lambda path: np.save(path, np.zeros((4, 4), complex)), "floating point"),
        ("a.npy", lambda path: np.save(path, np.full((4, 4), 9.0)), "low < high"),
        ("a.npy", lambda path: np.save(path, np.zeros((4, 4), np.int32)), "shape (4, 4); give 8 or 16 bits"),
        (
            "a.tif",
            lambda path: tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint8), photometric="minisblack"),
            "more than one image",
        ),
        ("a.gif", lambda path: hostile_gif(path), "2 images"),
        ("a.png", lambda path: path.write_bytes(hostile.png(header=(4, 4, 16, 4, 0, 0, 0))), "would lose 8"),
        (
            "a.png",
            lambda path: path.write_bytes(hostile.png((b"tRNS", bytes(6)), header=(4, 4, 16, 2, 0, 0, 0))),
            "would lose 8",
        ),
        (
            "a.tif",
            lambda path: Image.fromarray(np.full((4, 4), 70000, np.int32)).save(path, compression="tiff_lzw"),
            "outside 0 to 65535",
        ),
        (
            "a.png",
            lambda path: path.write_bytes(hostile.png((b"tRNS", bytes(2)), header=(4, 4, 16, 0, 0, 0, 0))),
            "one colour or grey that is transparent, of 16 bits",
        ),
        (
            "a.tif",
            lambda path: lzw(path, np.zeros((4, 4, 3), np.float32), photometric="rgb"),
            "packed in a way that this reader cannot undo without loss; save it unpacked",
        ),
        ("a.tif", lambda path: lzw(path, np.zeros((4, 4))), "cannot undo without loss; save it unpacked"),
        (
            "a.tif",
            lambda path: lzw(path, np.zeros((4, 4, 2), np.uint16), planarconfig="contig", extrasamples=["unassalpha"]),
            "cannot undo without loss; save it unpacked",
        ),
        ("a.ppm", lambda path: path.write_bytes(b"P6 2 1 65535\n" + bytes(12)), "would lose 8"),
        ("a.ppm", lambda path: path.write_bytes(b"P3 1 1 1000\n1 2 999\n"), "would lose 8"),
        (
            "a.tif",
            lambda path: tifffile.imwrite(path, ALPHA, photometric="rgb", extrasamples=["assocalpha"]),
            "multiplied by its transparency",
        ),
        ("a.png", lambda path: path.write_bytes(hostile.png(header=(60000, 60000, 8, 0, 0, 0, 0), data=b"x")), "a.png"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, name, make, message):
    path = tmp_path / name
    make(path)
    with pytest.raises(StudyError) as caught:
        pictures.read(path)
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert "; " in str(caught.value) or message == "no such file", "it says what to do"


@pytest.mark.parametrize("read", [pictures.read, map_files.read_weight])
@pytest.mark.parametrize(
    ("error", "message"), [(PermissionError(13, "Permission denied"), "may not be read"), (MemoryError(), "free some")]
)
def test_a_file_that_may_not_be_read_or_is_too_large_here_is_not_called_damaged(
    tmp_path, monkeypatch, read, error, message
):
    def load(*_, **__):
        raise error

    save(tmp_path / "a.npy", GREY8)
    monkeypatch.setattr(np, "load", load)
    with pytest.raises(StudyError, match=f"a.npy: .*{message}") as caught:
        read(tmp_path / "a.npy")
    assert "damaged" not in str(caught.value) and "replace" not in str(caught.value)


def lzw(path, values, **options):
    """A TIFF that says that it is packed by LZW, as tifffile itself cannot pack it."""
    tifffile.imwrite(path, values, byteorder="<", **{"photometric": "minisblack", **options})
    plain, packed = (struct.pack("<HHIHH", 259, 3, 1, packing, 0) for packing in (1, 5))
    assert path.read_bytes().count(plain) == 1
    path.write_bytes(path.read_bytes().replace(plain, packed))


def archive():
    file = io.BytesIO()
    np.savez(file, image=GREY8)
    return file.getvalue()


def without_pixels(path):
    hostile.dicom(path, GREY8)
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)


def hostile_gif(path):
    first, second = Image.fromarray(GREY8), Image.fromarray(255 - GREY8)
    first.save(path, save_all=True, append_images=[second])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".dcm"])
def test_no_damaged_image_ends_in_a_traceback(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of decoders that are imported when they are needed
    path = tmp_path / f"a{suffix}"
    contents = [content for content, _ in hostile.images().values()]
    contents += [content for end, content in hostile.scans() if end == suffix]
    with hostile.confined(tmp_path):
        for content in contents:
            path.write_bytes(content)
            try:
                picture = pictures.read(path)
            except StudyError as error:
                assert str(path) in str(error)
            else:
                assert np.isfinite(picture.channels).all()
