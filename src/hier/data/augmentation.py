"""What an image goes through before the network: random crop and flip, or the centre crop."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hier.config.run import Augmentation, Embed

Pixels = NDArray[np.uint8]


def augment(image: Pixels, config: Augmentation, rng: np.random.Generator) -> Pixels:
    """RandomResizedCrop (bicubic) and horizontal flip of one image, uint8 (H×W×3) → (S×S×3)."""
    box = crop_box(image.shape[0], image.shape[1], config, rng)
    crop = Image.fromarray(image).crop(box).resize((config.size,) * 2, Image.Resampling.BICUBIC)
    pixels = np.asarray(crop)
    return pixels[:, ::-1] if rng.random() < config.flip else pixels


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


def centre_crop(image: Pixels, config: Embed) -> Pixels:
    """Short side to `resize` (bicubic), then the central `crop` px square, uint8 (H×W×3)."""
    height, width = image.shape[:2]
    short = min(height, width)
    if short != config.resize:
        size = (width * config.resize // short, height * config.resize // short)
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        height, width = image.shape[:2]
    top, left = round((height - config.crop) / 2), round((width - config.crop) / 2)
    return image[top : top + config.crop, left : left + config.crop]
