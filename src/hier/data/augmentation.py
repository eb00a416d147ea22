"""What an image goes through before the network: random crop and flip, or the centre crop."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from hier.config.run import Augmentation, Embed

Pixels = NDArray[np.uint8]


def augment(image: Pixels, config: Augmentation, rng: np.random.Generator) -> Tensor:
    """RandomResizedCrop (bicubic) and horizontal flip of one image, uint8 (H×W×3) → (S×S×3).

    Of an image that is memory-mapped, only the rows of the crop are read.
    """
    left, top, right, bottom = crop_box(image.shape[0], image.shape[1], config, rng)
    pixels = resize(image[top:bottom, left:right], config.size, config.size)
    return pixels.flip(1) if rng.random() < config.flip else pixels


def resize(image: Pixels, height: int, width: int) -> Tensor:
    """Bicubic with antialiasing, uint8 (H×W×3) → (height×width×3): Pillow's pixels, give or take 1.

    PyTorch's kernel for bytes takes an eighth of Pillow's time.
    """
    pixels = torch.from_numpy(np.array(image))  # a copy: torch takes no array that is read-only
    if image.shape[:2] == (height, width):
        return pixels
    batch = pixels[None].permute(0, 3, 1, 2)  # channels last in memory, and so is what comes out
    return interpolate(batch, (height, width), mode="bicubic", antialias=True)[0].permute(1, 2, 0)


def crop_box(
    height: int, width: int, config: Augmentation, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw (left, top, right, bottom) as torchvision's RandomResizedCrop does.

    Area uniform in `scale`, aspect ratio log-uniform in `ratio`, ten tries, then the centre crop
    of the nearest allowed ratio.
    """
    smallest, largest = config.scale
    low, high = (math.log(r) for r in config.ratio)
    for _ in range(10):
        area = height * width * rng.uniform(smallest, largest)
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            return left, top, left + w, top + h
    ratio = min(max(width / height, config.ratio[0]), config.ratio[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def centre_crop(image: Pixels, config: Embed) -> Tensor:
    """Short side to `resize` (bicubic), then the central `crop` px square, uint8 (H×W×3)."""
    short = min(image.shape[:2])
    height, width = (side * config.resize // short for side in image.shape[:2])
    top, left = round((height - config.crop) / 2), round((width - config.crop) / 2)
    return resize(image, height, width)[top : top + config.crop, left : left + config.crop]
