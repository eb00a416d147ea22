"""EXIF orientation: eight ways in which one picture can lie in its file, and how it is stored."""

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from fakes.pictures import dataset_of, noise, stored, stored_one

UPRIGHT = noise(6, 9)  # as it is to be seen; no turn and no mirror leaves it the same
SAVE = {
    "a.jpg": {"quality": 100, "subsampling": 0},
    "a.png": {},
    "a.webp": {"lossless": True},
    "a.tif": {},
    "packed.tif": {"compression": "tiff_lzw"},
}
# Where row 0 and column 0 of the stored pixels are in the picture (EXIF 2.3, tag 274), as what
# takes (row, column, 1) of the upright picture to that of the stored one; h and w are upright.
MATRICES = {
    1: lambda h, w: [[1, 0, 0], [0, 1, 0]],  # row 0 on top, column 0 on the left
    2: lambda h, w: [[1, 0, 0], [0, -1, w - 1]],  # top, right
    3: lambda h, w: [[-1, 0, h - 1], [0, -1, w - 1]],  # bottom, right
    4: lambda h, w: [[-1, 0, h - 1], [0, 1, 0]],  # bottom, left
    5: lambda h, w: [[0, 1, 0], [1, 0, 0]],  # left, top
    6: lambda h, w: [[0, -1, w - 1], [1, 0, 0]],  # right, top
    7: lambda h, w: [[0, -1, w - 1], [-1, 0, h - 1]],  # right, bottom
    8: lambda h, w: [[0, 1, 0], [-1, 0, h - 1]],  # left, bottom
}


def as_a_camera_has_it(picture, orientation):
    """The pixels that a file of that orientation holds."""
    height, width = picture.shape[:2]
    matrix = np.array(MATRICES[orientation](height, width))
    lying = picture if orientation < 5 else picture.transpose(1, 0, 2)
    found = np.empty_like(lying)
    for row in range(height):
        for column in range(width):
            found[tuple(matrix @ (row, column, 1))] = picture[row, column]
    return found


def exif_of(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@pytest.mark.parametrize("name", SAVE)
@pytest.mark.parametrize("orientation", MATRICES)
def test_every_orientation_as_stored_and_upright(tmp_path, name, orientation):
    lying = as_a_camera_has_it(UPRIGHT, orientation)
    path = tmp_path / name
    Image.fromarray(lying).save(path, exif=exif_of(orientation), **SAVE[name])
    near = 12 if name == "a.jpg" else 0
    with Image.open(path) as opened:
        library = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    for exif, expected in (("upright", UPRIGHT), ("upright", library), ("as_stored", lying)):
        found = stored_one(tmp_path, name, exif=exif)
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).max() <= (near if expected is not library else 0)
    np.testing.assert_array_equal(stored_one(tmp_path, name), stored_one(tmp_path, name, exif="as_stored"))


def test_wide_and_palette_pictures_turn_too(tmp_path):
    wide = UPRIGHT[..., 0].astype(np.uint16) * 257
    Image.fromarray(np.rot90(wide)).save(tmp_path / "a.png", exif=exif_of(6))
    found = stored_one(tmp_path, "a.png", exif="upright")
    np.testing.assert_array_equal(found, np.repeat(UPRIGHT[..., :1], 3, axis=2))


def test_the_short_side_is_that_of_the_upright_picture(tmp_path):
    Image.fromarray(noise(20, 60)).save(tmp_path / "a.png", exif=exif_of(6))
    assert stored_one(tmp_path, "a.png", exif="upright", store_size=10).shape == (30, 10, 3)


DAMAGED = {
    "cut short": exif_of(6).tobytes()[:12],
    "no TIFF in it": b"Exif\0\0nonsense that is no TIFF",
    "an offset to nowhere": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "one half of a header": b"Exif\0\0II",
    "nine": exif_of(9).tobytes(),
    "a word": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # in Image.open below; the store shows none
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_exif_is_told_and_leaves_the_picture_as_it_is(tmp_path, kind, damage, capsys):
    name = f"a.{kind}"
    Image.fromarray(UPRIGHT).save(tmp_path / name, exif=DAMAGED[damage])
    Image.fromarray(UPRIGHT).save(tmp_path / "b.png")
    with Image.open(tmp_path / name) as opened:
        expected = np.asarray(opened.convert("RGB"))
    store = stored(tmp_path, "b.png", name, exif="upright")
    np.testing.assert_array_equal(store[1], expected)
    assert capsys.readouterr().err == (
        "tiny: 1 of 2 images have EXIF data of which the orientation cannot be read; "
        f"they are taken as upright (such as {name})\n"
    )
    stored(tmp_path, "b.png", name)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("exif", [None, exif_of(1), exif_of(0), Image.Exif()])
def test_no_orientation_is_upright_without_a_word(tmp_path, exif, capsys):
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", **({} if exif is None else {"exif": exif}))
    np.testing.assert_array_equal(stored_one(tmp_path, "a.png", exif="upright"), UPRIGHT)
    assert capsys.readouterr().err == ""


def test_a_damaged_tag_elsewhere_does_not_hide_the_orientation(tmp_path, capsys):
    """Cameras' own tags often point past the end; the orientation before them is sound."""
    exif = exif_of(3).tobytes()
    order = "little" if exif[6:8] == b"II" else "big"
    two = bytearray(exif[:14] + (2).to_bytes(2, order) + exif[16:28])
    maker = (271).to_bytes(2, order) + (2).to_bytes(2, order)
    two += maker + (5000).to_bytes(4, order) + (9000).to_bytes(4, order) + bytes(4)
    Image.fromarray(UPRIGHT[::-1, ::-1]).save(tmp_path / "a.png", exif=bytes(two))
    np.testing.assert_array_equal(stored_one(tmp_path, "a.png", exif="upright"), UPRIGHT)
    assert capsys.readouterr().err == ""


def test_the_default_is_as_stored():
    assert dataset_of().exif == "as_stored"
