"""The image store: every image decoded once, at the size that training needs or as it is, in one file.

`images.npy` is a flat uint8 array (NumPy's format, so that it can be memory-mapped) with the
images back to back as height × width × 3. Where each begins and how large it is stands in the
index. No decoder runs while training, and what is not looked at is not read.
"""

import sys
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from hier.config.dataset import Dataset
from hier.data.pixels import read
from hier.errors import ImageError, LayoutError, MissingInputError, StaleError
from hier.files.atomic import atomic_file
from hier.progress import progress

Pixels = NDArray[np.uint8]
Crop = tuple[int, int, int, int] | None  # the part of an image that is stored, all of it without one


def write_store(root: Path, index: pd.DataFrame, dataset: Dataset, path: Path) -> pd.DataFrame:
    """Decode the images of `index` (paths below `root`) into the store at `path`; return `index` with the
    columns height, width (int32, pixels) and offset (int64, bytes from the start of the array).

    One image at a time is in memory. The file appears whole or not at all. Remarks on images (see
    hier.data.pixels) are printed once each, on standard error. Raises ImageError: an image is missing or
    damaged, or its pixels cannot be mapped to RGB; LayoutError: its path leads out of `root`, or it has more
    pixels than the dataset promises; DiskFullError."""
    shapes, offsets, end = [], [], 0
    remarks: dict[str, list[str]] = {}
    with (
        atomic_file(path) as temporary,
        temporary.open("w+b") as stream,
        progress(f"storing images of {dataset.name}", len(index)) as shown,
    ):
        _write_header(stream, 0)
        crops = index["crop"] if "crop" in index else [None] * len(index)
        for image, class_name, crop in zip(index["image"], index["class_name"], crops, strict=True):
            pixels, noted = _decode(root, image, class_name, crop, dataset)
            for remark, example in noted.items():
                remarks.setdefault(remark, []).append(example)
            stream.write(pixels.tobytes())
            shapes.append(pixels.shape[:2])
            offsets.append(end)
            end += pixels.size
            shown.update()
        _write_header(stream, end)
    for remark, examples in remarks.items():
        of = f"{len(examples)} of {len(index)} images"
        print(f"{dataset.name}: {of} {remark} (such as {examples[0]})", file=sys.stderr)
    height, width = np.array(shapes, dtype=np.int32).reshape(-1, 2).T
    return index.assign(height=height, width=width, offset=np.array(offsets, dtype=np.int64))


class ImageStore:
    """The images of an index, by row number.

    It can be pickled for loader workers: the file is opened, read-only, at the first access.

    Raises, at the first access:
        MissingInputError: the store is not there.
        StaleError: it does not hold what the index says.
        ValueError: it is no such file.
    """

    def __init__(self, path: Path, index: pd.DataFrame) -> None:
        self.path = path
        self._shapes = index[["height", "width"]].to_numpy(np.int64)
        self._offsets = index["offset"].to_numpy(np.int64)
        self._bytes: Pixels | None = None

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, row: int) -> Pixels:
        """The image's pixels in the file, uint8 (height×width×3), RGB, read-only."""
        if self._bytes is None:
            self._bytes = self._open()
        height, width = self._shapes[row]
        start = self._offsets[row]
        return self._bytes[start : start + height * width * 3].reshape(height, width, 3)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_bytes": None}

    def _open(self) -> Pixels:
        if not self.path.exists():
            raise MissingInputError(self.path, f"hier prepare {self.path.parent.name}")
        mapped = np.lib.format.open_memmap(self.path, mode="r")
        opened: Pixels = mapped.view(np.ndarray)  # cheaper to slice
        if opened.dtype != np.uint8 or opened.ndim > 1:
            shape = "×".join(map(str, opened.shape))
            raise ValueError(f"it holds {opened.dtype} ({shape}), where bytes in a row belong")
        expected = int(self._shapes.prod(axis=1).sum() * 3)
        if opened.size != expected:
            raise StaleError(
                f"{self.path} holds {opened.size} bytes, its index says {expected}; "
                f"make both again with: hier prepare {self.path.parent.name}"
            )
        return opened


def _decode(
    root: Path, image: str, class_name: str, crop: Crop, dataset: Dataset
) -> tuple[Pixels, dict[str, str]]:
    """The pixels to store, and remarks on the file, with its name; errors as of `write_store`."""
    real = (root / image).resolve()
    if not real.is_relative_to(root.resolve()):
        where = f"image '{image}' (class {class_name}) leads out of the archive, to {real}"
        raise LayoutError(f"{dataset.name}: {where}; is this the right archive?")
    try:
        rgb, remarks = read(root / image, dataset.exif)
        if crop and (crop[2] > rgb.width or crop[3] > rgb.height):
            raise ValueError(f"its crop {crop} leads out of its {rgb.width} × {rgb.height} pixels")
        pixels = np.asarray(shrink(rgb.crop(crop) if crop else rgb, dataset.store_size))
    except Exception as error:  # a damaged file makes Pillow's readers raise whatever they meet
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        reason = reason or type(error).__name__
        in_place = any(file.folder for source in dataset.sources for file in source.files)
        raise ImageError(dataset.name, image, class_name, reason, in_place) from error
    noted, size = dict.fromkeys(remarks, image), rgb.size
    promised = tuple(dataset.image_size or size)
    found, expected = (f"{width} × {height}" for width, height in (size, promised))
    if size[0] > promised[0] or size[1] > promised[1]:
        raise LayoutError(
            f"{dataset.name}: {image} has {found} pixels, and {expected} are promised (image_size in conf/"
            f"dataset/{dataset.name}.yaml); is it of a set of higher resolution?{dataset.advice}"
        )
    if size != promised:
        noted[f"have fewer than the {expected} pixels that are promised"] = f"{image}, {found}"
    return pixels, noted


def shrink(image: Image.Image, short: int | Literal["exact"]) -> Image.Image:
    """The short side becomes `short` pixels (bicubic, aspect kept); smaller images stay."""
    smaller, larger = sorted(image.size)
    if short == "exact" or smaller <= short:
        return image
    long = int(short * larger / smaller)
    size = (short, long) if image.width <= image.height else (long, short)
    return image.resize(size, Image.Resampling.BICUBIC)


def _write_header(stream: BinaryIO, length: int) -> None:
    """Write the header in place: NumPy pads it so that any length fits."""
    stream.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(stream, header)
