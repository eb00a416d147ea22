"""Each kind of pixel that Pillow opens, against colours that are worked out by hand or by NumPy."""

import struct
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fakes.pictures import noise, stored, stored_one
from hier.data.pixels import to_rgb
from hier.errors import ImageError

FULL = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)  # every value of 16 bits
ROUNDED = np.array([round(Fraction(v * 255, 65535)) for v in range(1 << 16)]).reshape(256, 256)
GREY = noise(12, 16)[..., 0]


def grey(values):
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2", "a.pgm"])
def test_every_value_of_16_bits_is_rounded_to_the_nearest_of_8(tmp_path, name):
    Image.fromarray(FULL).save(tmp_path / name)
    np.testing.assert_array_equal(stored_one(tmp_path, name), grey(ROUNDED))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I;16N", "I"])
def test_every_mode_of_16_bits_is_the_same_picture(mode):
    kind = {"I;16B": ">u2", "I;16L": "<u2", "I": "=i4"}.get(mode, "=u2")
    image = Image.frombytes(mode, (256, 256), FULL.astype(kind).tobytes())
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), grey(ROUNDED))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "packed.tif", "big_endian.tif"])
def test_8_bits_stored_as_16_come_back(tmp_path, name):
    wide = GREY.astype(np.uint16) * 257
    kind = {"packed.tif": {"compression": "tiff_lzw"}}.get(name, {})
    if name == "big_endian.tif":
        Image.frombytes("I;16B", (16, 12), wide.astype(">u2").tobytes()).save(tmp_path / name)
    else:
        Image.fromarray(wide).save(tmp_path / name, **kind)
    np.testing.assert_array_equal(stored_one(tmp_path, name), grey(GREY))


def png(width, height, depth, colour, rows):
    """A PNG written by hand, since Pillow writes no colour of 16 bits."""
    import zlib

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("colour", "bands"), [(2, 3), (4, 2), (6, 4)])
def test_colour_of_16_bits_comes_back_where_it_was_8(tmp_path, colour, bands):
    narrow = np.random.default_rng(1).integers(0, 256, (12, 16, bands), np.uint8)
    rows = (narrow.astype(np.uint16) * 257).astype(">u2")
    (tmp_path / "a.png").write_bytes(png(16, 12, 16, colour, rows))
    expected = narrow[..., :3] if bands > 2 else grey(narrow[..., 0])
    np.testing.assert_array_equal(stored_one(tmp_path, "a.png"), expected)


def test_colour_of_16_bits_is_off_by_one_at_most(tmp_path):
    rows = np.repeat(FULL[..., None], 3, axis=2).astype(">u2")
    (tmp_path / "a.png").write_bytes(png(256, 256, 16, 2, rows))
    assert np.abs(stored_one(tmp_path, "a.png").astype(int) - grey(ROUNDED)).max() == 1


def tiff(values, **tags):
    """A TIFF of one strip, of any sample format, written by hand."""
    height, width = values.shape
    data = values.tobytes()
    entries = {256: width, 257: height, 258: values.itemsize * 8, 259: 1, 262: 1, 273: 0, 277: 1}
    entries |= {278: height, 279: len(data), 339: 1} | {int(k[1:]): v for k, v in tags.items()}
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    body = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    for tag, value in sorted(entries.items()):
        body += struct.pack("<HHII", tag, 4, 1, value)
    return body + struct.pack("<I", 0) + data


def test_white_may_be_zero_in_a_tiff(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(FULL.astype("<u2"), t262=0))
    np.testing.assert_array_equal(stored_one(tmp_path, "a.tif"), grey(255 - ROUNDED))


def test_a_tiff_of_12_bits_is_white_at_4095(tmp_path):
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    pairs = values.reshape(-1, 2).astype(int)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1
    )
    strip = packed.astype(np.uint8).reshape(64, 96)
    (tmp_path / "a.tif").write_bytes(tiff(strip, t256=64, t258=12))
    expected = [round(Fraction(v * 255, 4095)) for v in range(4096)]
    np.testing.assert_array_equal(stored_one(tmp_path, "a.tif"), grey(np.reshape(expected, (64, 64))))


def test_whole_numbers_of_32_bits_count_as_16(tmp_path):
    Image.fromarray(FULL.astype(np.int32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(stored_one(tmp_path, "a.tif"), grey(ROUNDED))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.array([[0, 65536]], np.int32), r"\(mode I\) from 0 to 65536, beyond 0 to 65535"),
        (np.array([[-1, 5]], np.int32), r"\(mode I\) from -1 to 5, beyond 0 to 65535"),
        (np.array([[0.0, 1.0]], np.float32), r"floats from 0 to 1 \(mode F\), and nothing says"),
        (np.array([[0.0, np.nan]], np.float32), r"floats \(mode F\), some of them not finite"),
        (np.array([[0.0, np.inf]], np.float32), r"floats \(mode F\), some of them not finite"),
    ],
)
def test_what_has_no_known_white_is_an_error(tmp_path, values, says):
    Image.fromarray(np.tile(values, (8, 4))).save(tmp_path / "a.tif")
    message = rf"cannot decode a\.tif \(class class 0\) of tiny: .*{says}.*save it with 8 or 16 bits"
    with pytest.raises(ImageError, match=message) as caught:
        stored_one(tmp_path, "a.tif")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "images.npy").exists()


def test_signed_bytes_of_a_tiff_are_an_error(tmp_path):
    """Pillow opens them as unsigned ones: -1 would be white."""
    (tmp_path / "a.tif").write_bytes(tiff(np.full((8, 8), -1, np.int8), t339=2))
    with pytest.raises(ImageError, match=r"a\.tif .* signed numbers of 8 bits \(mode L\)"):
        stored_one(tmp_path, "a.tif")


def test_a_kind_of_pixels_that_pillow_does_not_know_is_an_error(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(np.zeros((8, 8)), t339=3))  # float64
    with pytest.raises(ImageError, match=r"a\.tif .* Pillow knows neither .* save it with 8") as caught:
        stored_one(tmp_path, "a.tif")
    assert str(tmp_path) not in str(caught.value)


def test_a_nearly_black_picture_of_16_bits_is_told_once(tmp_path, capsys):
    """Most likely it holds 8-bit values; what is stored is what the file says."""
    for name, values in {"a.png": GREY, "b.png": GREY, "c.png": FULL, "d.png": GREY * 0}.items():
        Image.fromarray(values.astype(np.uint16)).save(tmp_path / name)
    stored(tmp_path, "a.png", "b.png", "c.png", "d.png")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("tiny: 2 of 4 images hold 16 bits of which only the lower 8 are used")
    assert "a.png" in said


RED, BLUE = (200, 30, 10), (10, 30, 200)


def palette(**info):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*BLUE, *RED])
    image.info |= info
    return image


def of(mode, *colour):
    return Image.new(mode, (8, 8), colour if len(colour) > 1 else colour[0])


# What a pixel is, and what it must become; the numbers are worked out by hand.
MODES = {
    "1": (of("1", 1), (255, 255, 255)),
    "L": (of("L", 77), (77, 77, 77)),
    "LA": (of("LA", 77, 0), (77, 77, 77)),
    "La": (of("La", 50, 128), (99, 99, 99)),  # 50 × 255 / 128, which Pillow rounds down
    "P": (palette(), RED),
    "P with a transparent colour": (palette(transparency=1), RED),
    "P with transparencies": (palette(transparency=b"\0\x80"), RED),
    "RGB": (of("RGB", *RED), RED),
    "RGBA": (of("RGBA", *RED, 0), RED),
    "RGBa": (of("RGBa", 100, 15, 5, 128), (199, 29, 9)),  # × 255 / 128
    "RGBX": (of("RGBX", *RED, 9), RED),
    "CMYK": (of("CMYK", 0, 255, 255, 0), (255, 0, 0)),
    "CMYK, half black": (of("CMYK", 0, 255, 0, 128), (127, 0, 127)),
    "YCbCr": (of("YCbCr", 76, 85, 255), (254, 0, 0)),  # ITU-R 601
    "HSV": (of("HSV", 85, 255, 255), (0, 255, 0)),
    "L with a transparent grey": (of("L", 77), (77, 77, 77)),
}
MODES["L with a transparent grey"][0].info["transparency"] = 77


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_its_colour(name):
    image, colour = MODES[name]
    found = np.asarray(to_rgb(image))
    assert found.shape == (8, 8, 3)
    assert (found == colour).all()


def test_lab_becomes_srgb(tmp_path):
    """By the formulas of CIE and of sRGB, with the matrix from D50 that Lindbloom gives."""
    lightness, a, b = 60, 20, 30
    y = (lightness + 16) / 116
    cubes = [t**3 if t > 6 / 29 else (t - 4 / 29) * 108 / 841 for t in (y + a / 500, y, y - b / 200)]
    matrix = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = np.array(matrix) @ (np.array(cubes) * [0.96422, 1.0, 0.82521])
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    of("LAB", round(lightness * 2.55), a + 128, b + 128).save(tmp_path / "a.tif")
    assert np.abs(stored_one(tmp_path, "a.tif") - expected).max() < 2


def test_a_palette_with_alpha_keeps_its_colours():
    image = palette().convert("PA")
    image.putalpha(of("L", 0))
    assert image.mode == "PA"
    assert to_rgb(image).getpixel((0, 0)) == RED


def test_a_mode_that_nobody_knows_is_an_error(monkeypatch):
    image = of("L", 3)
    monkeypatch.setattr(image, "_mode", "X;3")
    with pytest.raises(ValueError, match=r"pixels of mode X;3, .* save it with 8 or 16 bits"):
        to_rgb(image)


def test_transparent_files_show_their_colours(tmp_path):
    """Whatever shines through is no background's: alpha is dropped, palettes are looked up."""
    for transparency in (1, b"\0\x80"):
        palette().save(tmp_path / "a.png", transparency=transparency)
        assert (stored_one(tmp_path, "a.png") == RED).all()
    palette().save(tmp_path / "a.gif", transparency=1)
    assert (stored_one(tmp_path, "a.gif") == RED).all()
    of("RGBA", *RED, 1).save(tmp_path / "a.webp", lossless=True, exact=True)
    assert (stored_one(tmp_path, "a.webp") == RED).all()
    of("RGB", *RED).save(tmp_path / "b.png", transparency=RED)
    assert (stored_one(tmp_path, "b.png") == RED).all()


def test_adobes_inverted_cmyk_is_not_negative(tmp_path):
    of("CMYK", 0, 255, 255, 0).save(tmp_path / "a.jpg", quality=100)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    assert np.abs(stored_one(tmp_path, "a.jpg").astype(int) - (255, 0, 0)).max() <= 2


def frames(name, folder):
    first, second = of("RGB", *RED), of("RGB", *BLUE)
    lossless = {"a.webp": {"lossless": True}}.get(name, {})
    first.save(folder / name, save_all=True, append_images=[second], **lossless)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_of_several_frames_the_first_is_taken_and_that_is_told(tmp_path, name, capsys):
    frames(name, tmp_path)
    of("RGB", *BLUE).save(tmp_path / "b.png")
    store = stored(tmp_path, "b.png", name)
    assert (store[1] == RED).all()
    assert capsys.readouterr().err == (
        f"tiny: 1 of 2 images hold several frames or pages; the first of each is stored (such as {name})\n"
    )


def test_one_frame_is_not_worth_a_word(tmp_path, capsys):
    for name in ("a.gif", "a.png", "a.webp", "a.tif", "a.jpg"):
        of("RGB", *RED).save(tmp_path / name)
    stored(tmp_path, "a.gif", "a.png", "a.webp", "a.tif", "a.jpg")
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("ignore")  # Pillow says some of it as a warning and reads on
@pytest.mark.parametrize("kind", ["tif", "webp", "gif", "png", "jpg", "jp2"])
def test_damage_anywhere_is_one_line_or_none(tmp_path, kind):
    """Whatever a reader meets in a damaged file is an ImageError, and nothing half-written is left."""
    path = tmp_path / f"a.{kind}"
    Image.fromarray(noise(24, 24)).save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for turn in range(60):
        exif = ("as_stored", "upright")[turn % 2]
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 400), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(1, len(whole) + 1)])
        with suppress(ImageError):
            stored(tmp_path, path.name, exif=exif)
        assert {file.name for file in tmp_path.iterdir()} <= {path.name, "images.npy"}


def test_pillow_knows_no_other_kinds_of_pixels():
    """A new mode of Pillow's must be thought about before it is stored."""
    known = {mode for mode, _ in TiffImagePlugin.OPEN_INFO.values()}
    assert known <= {
        *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"),
        *("I", "I;16", "I;16B", "F"),
    }
