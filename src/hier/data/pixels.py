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
exact for an 8-bit picture × 257 and else one beside the rounded value at most. Of an animation or of
pages the first is taken. Colour profiles are not looked at.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

PLAIN = (
    "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB",
)  # fmt: skip
WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N")
MEND = "save it with 8 or 16 bits a pixel"

FRAMES = "hold several frames or pages; the first of each is stored"
DARK = "hold 16 bits of which only the lower 8 are used; they are stored as nearly black"

BITS, PHOTOMETRIC, SAMPLES = 258, 262, 339  # tags of TIFF
WHITE_IS_ZERO, SIGNED = 0, 2


class Picture(NamedTuple):
    """A decoded file: its pixels in mode RGB, and what is to be told of it, each a verb phrase."""

    rgb: Image.Image
    remarks: list[str]


def read(path: Path) -> Picture:
    """Decode a file.

    Raises:
        OSError, ValueError: it is missing or damaged, or its pixels cannot be mapped faithfully.
    """
    try:
        with Image.open(path) as opened:
            picture = Picture(to_rgb(opened), [])
            if getattr(opened, "is_animated", False):
                picture.remarks.append(FRAMES)
            if opened.mode in WIDE and 0 < np.asarray(opened).max() < 256:
                picture.remarks.append(DARK)
            return picture
    except UnidentifiedImageError as error:
        raise ValueError(
            f"Pillow knows neither this format nor this kind of pixels; {MEND}, as PNG"
        ) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as RGB; EXIF rotation is left as it is.

    Raises:
        ValueError: its pixels cannot be mapped faithfully; names the mode and the mend.
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


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """Values of 16 bits, or of a TIFF's 12, as 8 bits (height×width): the nearest, without ties."""
    values = np.asarray(image).astype(np.int64)
    tags = _tags(image)
    white = 4095 if tags.get(BITS) == (12,) else 65535
    least, most = values.min(), values.max()
    if least < 0 or most > white:
        raise ValueError(
            f"it has whole numbers (mode {image.mode}) from {least} to {most}, beyond 0 to {white}; {MEND}"
        )
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
