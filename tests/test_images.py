"""Images: crop, resize and grey against a few lines by hand; damaged and odd files end in one clear line."""

import io

import numpy as np
import pytest
from PIL import Image

from tvmap import images
from tvmap.errors import StudyError


def encoded(pixels, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_crop_and_grey_without_resize_by_hand():
    colours = noise(10, 15, 3)
    square = colours[:, 2:12].astype(np.int64)  # (15 - 10) // 2 = 2 columns go on the left, 3 on the right
    grey = (square @ np.array([19595, 38470, 7471]) + 32768) >> 16  # ITU-R 601 luma, rounded to 8 bits
    got = images.read_grey(encoded(colours, "PNG"), "x", 10)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, grey.astype(np.float32) / np.float32(255))


def test_tall_image_is_cropped_top_and_bottom_and_keeps_its_orientation():
    pixels = noise(20, 8)
    np.testing.assert_array_equal(images.read_grey(encoded(pixels, "PNG"), "x", 8) * 255, pixels[6:14])


def test_resize_is_bicubic_with_antialiasing():
    pixels = np.tile(noise(64, 1), (1, 64))
    # By hand: Keys' cubic with a = -1/2, stretched by the factor 4 and normalised, at output centre (i + 1/2) * 4.
    expected = []
    for i in range(16):
        distance = np.abs((np.arange(64) + 0.5 - (i + 0.5) * 4) / 4)
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weight = np.where(distance < 1, near, np.where(distance < 2, far, 0))
        expected.append(weight / weight.sum() @ pixels[:, 0])
    got = images.read_grey(encoded(pixels, "PNG"), "x", 16)[:, 3] * 255
    np.testing.assert_allclose(got, np.clip(expected, 0, 255), atol=1.01)  # two roundings to 8 bits


def test_colour_is_resized_before_it_becomes_grey():
    colours = noise(40, 40, 3)
    by_hand = Image.fromarray(colours).resize((16, 16), Image.Resampling.BICUBIC).convert("L")
    got = images.read_grey(encoded(colours, "PNG"), "x", 16)
    np.testing.assert_array_equal(np.rint(got * 255), np.asarray(by_hand))


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3)])
def test_jpeg_grey_and_colour_from_bytes_and_from_a_path(tmp_path, shape):
    data = encoded(noise(*shape), "JPEG")
    path = tmp_path / "a.jpeg"
    path.write_bytes(data)
    got = images.read_grey(data, "a.jpeg", 20)
    assert got.shape == (20, 20) and 0 <= got.min() < got.max() <= 1
    np.testing.assert_array_equal(got, images.read_grey(path, "a.jpeg", 20))


def test_orientation_tag_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = noise(12, 12)
    got = images.read_grey(encoded(pixels, "PNG", exif=exif.tobytes()), "x", 12)
    np.testing.assert_array_equal(np.rint(got * 255), pixels)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind):
    pixels = (np.arange(64, dtype=np.uint16) * 1040).reshape(8, 8)
    got = images.read_grey(encoded(pixels, kind), "x", 8)
    np.testing.assert_allclose(got, pixels / 65535, atol=0.5 / 255 + 1e-6)


def test_palette_two_level_and_transparent_images_are_read():
    palette = Image.fromarray(noise(16, 16, 3)).quantize(16)
    two_level = Image.fromarray(noise(16, 16)).convert("1")
    transparent = Image.fromarray(noise(16, 16, 4))
    for picture, by_hand in [(palette, "RGB"), (two_level, "L"), (transparent, "RGB")]:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        expected = picture.convert(by_hand).resize((9, 9), Image.Resampling.BICUBIC).convert("L")
        np.testing.assert_array_equal(np.rint(images.read_grey(buffer.getvalue(), "x", 9) * 255), np.asarray(expected))


def huge_png():
    """A small PNG whose header declares 60000 x 60000 pixels."""
    data = bytearray(encoded(noise(4, 4), "PNG"))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def broken_files():
    jpeg = encoded(noise(64, 64), "JPEG")
    png = encoded(noise(64, 64), "PNG")
    return {
        "text": b"hello, no image",
        "empty": b"",
        "truncated JPEG": jpeg[: len(jpeg) // 2],
        "truncated PNG": png[: len(png) // 2],
        "damaged PNG": png[:200] + b"\0" * 50 + png[250:],
        "huge": huge_png(),
        "one pixel": encoded(noise(1, 1), "PNG"),
        "constant": encoded(np.full((20, 20), 7, np.uint8), "PNG"),
        "float": encoded(np.ones((8, 8), np.float32), "TIFF"),
    }


@pytest.mark.parametrize("kind", broken_files())
@pytest.mark.parametrize("read", [images.read_grey, images.read_tiles])
def test_bad_file_is_one_line_that_names_it(kind, read):
    with pytest.raises(StudyError) as caught:
        read(broken_files()[kind], "folder/bad.png", 8)
    assert str(caught.value).startswith("folder/bad.png: ") and "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(StudyError, match="gone.png"):
        images.read_grey(tmp_path / "gone.png", "gone.png", 8)


def test_tiles_are_the_photograph_in_four_parts():
    pixels = noise(21, 33)
    tiles = images.read_tiles(encoded(pixels, "PNG"), "x", 10) * 255
    expected = np.asarray(Image.fromarray(pixels).resize((31, 20), Image.Resampling.BICUBIC))
    assert tiles.shape == (4, 10, 10)
    together = np.block([[tiles[0], tiles[1]], [tiles[2], tiles[3]]])
    np.testing.assert_array_equal(np.rint(together), expected[:, 5:25])


@pytest.mark.parametrize(("shape", "count"), [((9, 40), 0), ((10, 19), 1), ((19, 40), 2), ((20, 20), 4)])
def test_number_of_tiles_without_enlarging(shape, count):
    assert images.read_tiles(encoded(noise(*shape), "PNG"), "x", 10).shape == (count, 10, 10)


def test_two_tiles_side_by_side_keep_the_pixels():
    pixels = noise(12, 25)
    tiles = np.rint(images.read_tiles(encoded(pixels, "PNG"), "x", 10) * 255)
    np.testing.assert_array_equal(np.concatenate(list(tiles), axis=1), pixels[1:11, 2:22])


def test_views_are_squares_from_anywhere_at_full_resolution():
    pixels = noise(16, 40)
    random = np.random.default_rng(0)
    views = np.rint(images.read_views(encoded(pixels, "PNG"), "x", 16, 60, random) * 255)
    pieces = np.stack([pixels[:, left : left + 16] for left in range(25)])
    found = [np.flatnonzero((pieces == view).all(axis=(1, 2))) for view in views]
    assert all(len(places) == 1 for places in found), "16 rows leave no smaller square than 16"
    assert {0, 24} <= {int(places[0]) for places in found}

    large = np.indices((40, 40)).sum(0).astype(np.uint8)
    slopes = [np.ptp(view[4:12, 8]) for view in images.read_views(encoded(large, "PNG"), "x", 16, 60, random)]
    sides = np.array(slopes) * 255 / 7 * 16
    assert 19 < sides.min() < 23 and 36 < sides.max() < 42, "from half the short side to all of it"


def test_views_without_detail_and_damaged_files():
    flat = images.read_views(encoded(np.full((20, 20), 7, np.uint8), "PNG"), "x", 8, 2, np.random.default_rng(0))
    assert flat.shape == (2, 8, 8) and (flat == np.float32(7 / 255)).all()
    with pytest.raises(StudyError, match="x: cannot be read"):
        images.read_views(b"no image", "x", 8, 2, np.random.default_rng(0))
