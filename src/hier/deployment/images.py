"""Images from outside of the pipeline, through the same steps as those of its archives."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from hier.data.augmentation import centre_crop
from hier.data.in_place import look_into
from hier.data.pixels import read, to_rgb
from hier.data.store import shrink
from hier.deployment.stored import Stored
from hier.errors import ConfigError, PictureError

Pixels = NDArray[np.uint8]
Source = str | Path | Image.Image | Pixels
Sources = Source | Iterable[Source]


class Pictures(Dataset[Tensor]):
    """Images resized and cropped as a run's are in evaluation, uint8 (S×S×3)."""

    def __init__(self, sources: list[Source], model: Stored) -> None:
        self.sources, self.model = sources, model

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, number: int) -> Tensor:
        """Raises PictureError: it cannot be read; ConfigError: it is nothing of which pixels are known."""
        image = shrink(_picture(self.sources[number], self.model), self.model.store_size)
        return centre_crop(np.asarray(image), self.model.embed)


def list_sources(images: Sources) -> list[Source]:
    """One image, those of a folder in the order of their paths, or several, as a list.

    Raises ConfigError: there is none; LayoutError: a folder cannot be read."""
    single = isinstance(images, (str, Path, Image.Image)) or getattr(images, "ndim", 0) == 3
    found: list[Source] = []
    for source in cast(Iterable[Source], [images] if single else images):
        if isinstance(source, (str, Path)) and Path(source).is_dir():
            found += photos_in(Path(source))[0]
        else:
            found.append(source)
    if not found:
        raise ConfigError(f"{images if single else 'the list'} holds no image; name some")
    return found


def photos_in(folder: Path) -> tuple[list[Path], list[str]]:
    """The photos below a folder, sorted by their paths, and what is left out, a line each.

    Raises ConfigError: there is no photo; LayoutError: it cannot be read."""
    found = look_into(folder)
    if not found.photos:
        raise ConfigError(
            f"{folder} holds no photo, by the ends of the names ({len(found.others)} other files)"
        )
    return [folder / photo for photo in found.photos], list(found.remarks())


def _picture(source: Source, model: Stored) -> Image.Image:
    """Its pixels in mode RGB, turned as the run's images are."""
    if isinstance(source, (str, Path)):
        return open_picture(Path(source), model)
    if isinstance(source, Image.Image):
        try:
            return to_rgb(ImageOps.exif_transpose(source) if model.exif == "upright" else source)
        except ValueError as error:
            raise PictureError(f"cannot take an image of PIL: {error}") from error
    if getattr(source, "dtype", None) == np.uint8 and source.ndim == 3 and source.shape[2] == 3:
        return Image.fromarray(np.ascontiguousarray(source))
    raise ConfigError(f"an image is a path, PIL's, or an array H×W×3 of uint8, not {_kind(source)}")


def open_picture(path: Path, model: Stored) -> Image.Image:
    """A photo's pixels in mode RGB. Raises PictureError: it cannot be read."""
    if not path.is_file():
        raise PictureError(f"{path} is no file; name a photo, or a folder of photos")
    try:
        return read(path, model.exif)[0]
    except Exception as error:  # a damaged file makes Pillow's readers raise whatever they meet
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"cannot read {path}: {reason}") from error


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{'×'.join(map(str, shape))} of {value.dtype}"
