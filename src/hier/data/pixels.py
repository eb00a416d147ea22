"""A picture's file as 8-bit RGB: what becomes of each kind of pixel that Pillow opens.

| mode of Pillow | becomes |
|---|---|
| RGB, RGBX | its three bytes |
| L, 1 | grey; 1 bit is black or white |
| RGBA, LA, PA | its colour: alpha is dropped, and no background shows |
| RGBa, La | its colour, divided by alpha first |
| P | its palette's colour, of transparent entries too |
| CMYK, YCbCr, HSV | Pillow's RGB of it; CMYK in a JPEG counts as inverted, as Adobe has it |
| LAB | sRGB, by LittleCMS |
| I;16, I;16B, I;16L, I;16N | grey: value × 255 / 65535, rounded; an 8-bit picture × 257 comes back exactly |
| the same in a TIFF | of 12 bits: value × 255 / 4095, rounded; where 0 is white: 255 less that |
| I (32 bits) | as 16 bits; an error where a value is below 0 or above 65535 |
| F | an error: no file says which number is white |
| any other | an error |

Colour of 16 bits is 8 bits before it comes here: Pillow keeps each value's upper byte, which is
exact for an 8-bit picture × 257 and else one beside the rounded value at most. The first picture of an
animation or of pages is taken. Colour profiles are not looked at.

EXIF (or XMP) may say that a picture is to be turned or mirrored to be upright: see `read`.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Transpose

from hier.config.dataset import Exif

PLAIN = (
    "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB",
)  # fmt: skip
WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N")
MEND = "save it with 8 or 16 bits a pixel"

FRAMES = "hold several frames or pages; the first of each is stored"
DARK = "hold 16 bits of which only the lower 8 are used; they are stored as nearly black"

EXIF_WARNINGS = "(Possibly corrupt|Corrupt) EXIF data|Tag (offset|data)|Metadata Warning"
NO_EXIF = "have EXIF data of which the orientation cannot be read; they are taken as upright"

# What makes a picture of that orientation upright, and what undoes it.
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
BACK = TURNS | {6: Transpose.ROTATE_90, 8: Transpose.ROTATE_270}

BITS, PHOTOMETRIC, SAMPLES = 258, 262, 339  # tags of TIFF
WHITE_IS_ZERO, SIGNED = 0, 2


def read(path: Path, exif: Exif = "as_stored") -> tuple[Image.Image, list[str]]:
    """A file's pixels in mode RGB, and remarks on it, each a verb phrase.

    Args:
        exif: whether pixels come as they lie in the file, or upright as a viewer shows them.

    Raises OSError, ValueError: it is missing, damaged, or has pixels that cannot be mapped faithfully."""
    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.filterwarnings("ignore", EXIF_WARNINGS)  # they name no file
            turn, remarks = _turn(opened, exif)  # first: a TIFF that is loaded has forgotten it
            rgb = to_rgb(opened)
            if getattr(opened, "is_animated", False):
                remarks.append(FRAMES)
            if opened.mode in WIDE and 0 < np.asarray(opened).max() < 256:
                remarks.append(DARK)
            return rgb if turn is None else rgb.transpose(turn), remarks
    except UnidentifiedImageError as error:
        reason = "it is damaged, or Pillow knows neither its format nor its kind of pixels"
        raise ValueError(f"{reason}; {MEND}, as PNG") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as RGB, as it lies.

    Raises ValueError, with the mode and the mend, where its pixels cannot be mapped faithfully.
    """
    if image.mode in WIDE:
        return Image.fromarray(_grey(image)).convert("RGB")
    if reason := _unclear(image):
        raise ValueError(f"it has {reason}; {MEND}")
    if image.mode == "La":
        image = image.convert("LA")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _turn(image: Image.Image, exif: Exif) -> tuple[Transpose | None, list[str]]:
    """What makes the loaded pixels lie as they are asked for, and remarks on it.

    Pillow loads a TIFF upright, and all else as it is stored.
    """
    if (exif == "upright") == bool(_tags(image)):
        return None, []
    orientation = _orientation(image)
    turns = TURNS if exif == "upright" else BACK
    return turns.get(orientation or 1), [] if orientation else [NO_EXIF]


def _orientation(image: Image.Image) -> int | None:
    """From 1 to 8, and 1 where there is none; None where it cannot be read."""
    with warnings.catch_warnings(record=True) as damage:
        warnings.simplefilter("always")
        try:
            found = image.getexif().get(ExifTags.Base.Orientation, 0)
            if found == 0 and "exif" in image.info:  # Pillow opens a JPEG in silence of its damage
                Image.Exif().load(image.info["exif"])
        except Exception:  # whatever damaged data lead Pillow to
            return None
    if found == 0:
        return None if damage else 1
    return found if found in range(1, 9) else None


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """Values of 16 bits, or of a TIFF's 12, as 8 bits (height×width): the nearest, without ties."""
    values = np.asarray(image).astype(np.int64)
    tags = _tags(image)
    white = 4095 if tags.get(BITS) == (12,) else 65535
    least, most = values.min(), values.max()
    if least < 0 or most > white:
        reason = f"whole numbers (mode {image.mode}) from {least} to {most}, beyond 0 to {white}"
        raise ValueError(f"it has {reason}; {MEND}")
    narrow = ((values * 255 + white // 2) // white).astype(np.uint8)
    return 255 - narrow if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else narrow


def _unclear(image: Image.Image) -> str | None:
    """What pixels it has, where nobody can say which colours they are."""
    if image.mode == "F":
        values = np.asarray(image)
        if not np.isfinite(values).all():
            return "floats (mode F), some of them not finite"
        span = f"from {values.min():.6g} to {values.max():.6g}"
        return f"floats {span} (mode F), and nothing says which of them is white"
    if image.mode not in PLAIN:
        return f"pixels of mode {image.mode}, which are not known here"
    if _tags(image).get(SAMPLES, (1,))[0] == SIGNED:
        return f"signed numbers of 8 bits (mode {image.mode})"
    return None


def _tags(image: Image.Image) -> Any:
    """The tags of a TIFF; of anything else, none."""
    return getattr(image, "tag_v2", {})
