"""Crops and flips against torchvision's own transforms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from hier.config.run import Augmentation, Embed
from hier.data import augmentation
from hier.data.augmentation import crop_box
from hier.models import torchvision_ops

torchvision_ops.ensure()

from torchvision.transforms import (  # noqa: E402
    CenterCrop,
    Compose,
    InterpolationMode,
    RandomResizedCrop,
    Resize,
)

BICUBIC = InterpolationMode.BICUBIC


def config(scale=(0.2, 1.0), ratio=(0.75, 4 / 3), size=16, flip=0.0):
    return Augmentation(size=size, scale=list(scale), ratio=list(ratio), flip=flip)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def augment(*given):
    return augmentation.augment(*given).numpy()


def centre_crop(*given):
    return augmentation.centre_crop(*given).numpy()


def assert_pillows(actual, expected):
    """Pillow's pixels but for rounding: where the order of rows and columns is another, in a quarter."""
    difference = np.abs(actual.astype(int) - expected)
    assert difference.max() <= 8
    assert (difference > 1).mean() <= 0.05
    assert difference.mean() <= 0.4


def boxes(height, width, asked, draws, seed=0):
    """Crops as rows of top, left, height, width, as torchvision gives them."""
    rng = np.random.default_rng(seed)
    drawn = np.array([crop_box(height, width, asked, rng) for _ in range(draws)])
    left, top, right, bottom = drawn.T
    return np.stack([top, left, bottom - top, right - left], axis=1)


def official_boxes(height, width, asked, draws, seed=0):
    """The same from torchvision."""
    image = torch.zeros(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return np.array([RandomResizedCrop.get_params(image, asked.scale, asked.ratio) for _ in range(draws)])


class FixedDraws:
    """A generator whose every draw is the lowest (0) or highest (1) value that it may give."""

    def __init__(self, *shares):
        self.shares = list(shares)

    def uniform(self, low, high):
        return low + self.shares.pop(0) * (high - low)

    def integers(self, high):
        return round(self.shares.pop(0) * (high - 1))


@pytest.mark.parametrize(
    ("height", "width", "asked"),
    [
        (224, 224, config()),
        (256, 341, config(scale=(0.08, 1.0))),
        (500, 150, config()),  # most draws do not fit: rejection and fallback count
        (64, 64, config(scale=(0.5, 1.0), ratio=(0.5, 1.5))),
    ],
)
def test_crops_are_distributed_as_torchvisions(height, width, asked):
    ours = boxes(height, width, asked, 4000)
    theirs = official_boxes(height, width, asked, 4000)

    def statistics(b):
        b = b.astype(float)
        return {
            "area": b[:, 2] * b[:, 3] / (height * width),
            "log ratio": np.log(b[:, 3] / b[:, 2]),
            "top": b[:, 0],
            "left": b[:, 1],
            "centre": (b[:, 0] + b[:, 2] / 2) / height,
            "bottom": b[:, 0] + b[:, 2],
            "right": b[:, 1] + b[:, 3],
        }

    for (name, a), b in zip(statistics(ours).items(), statistics(theirs).values(), strict=True):
        assert stats.ks_2samp(a, b, method="asymp").pvalue > 1e-3, name
    whole = [float((b[:, 2:] == (height, width)).all(1).mean()) for b in (ours, theirs)]
    assert whole[0] == pytest.approx(whole[1], abs=0.02)


def test_area_is_uniform_and_log_ratio_is_uniform():
    b = boxes(4000, 4000, config(scale=(0.1, 0.5)), 4000)  # every draw fits
    area = b[:, 2] * b[:, 3] / 4000**2
    ratio = np.log(b[:, 3] / b[:, 2])
    assert stats.kstest(area, stats.uniform(0.1, 0.4).cdf).pvalue > 1e-3
    low, high = math.log(0.75), math.log(4 / 3)
    assert stats.kstest(ratio, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(area, ratio)[0, 1]) < 0.06
    for start, side in ((b[:, 0], b[:, 2]), (b[:, 1], b[:, 3])):
        assert stats.kstest((start + 0.5) / (4000 - side + 1), stats.uniform.cdf).pvalue > 1e-3


def test_the_corners_are_reached_and_not_passed():
    asked = config(scale=(0.25, 1.0), ratio=(1.0, 1.0))
    first = crop_box(20, 20, asked, FixedDraws(0, 0, 0, 0))
    last = crop_box(20, 20, asked, FixedDraws(0, 0, 1, 1))
    assert (first, last) == ((0, 0, 10, 10), (10, 10, 20, 20))
    assert crop_box(20, 20, asked, FixedDraws(1, 0, 1, 1)) == (0, 0, 20, 20)
    # The vertical position is drawn first, and width is √(area · ratio).
    tall = config(scale=(0.5, 0.5), ratio=(0.5, 0.5))
    assert crop_box(20, 20, tall, FixedDraws(0, 0, 0, 1)) == (10, 0, 20, 20)


@settings(deadline=None, derandomize=True)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.floats(0.02, 1.0),
    st.floats(0.5, 1.0),
    st.integers(0, 2**32),
)
def test_the_crop_is_never_empty_and_lies_inside(height, width, smallest, ratio, seed):
    asked = config(scale=(smallest, 1.0), ratio=(ratio, 1 / ratio))
    left, top, right, bottom = crop_box(height, width, asked, np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.5, 1.0), st.floats(1.0, 2.0))
def test_where_nothing_fits_the_centre_is_cropped_as_in_torchvision(height, width, low, high):
    # Crops of the full area never fit where the image is far from every ratio.
    asked = config(scale=(1.0, 1.0), ratio=(low, high))
    stretched = width * 40
    assume(stretched / height > 4)
    for h, w in ((height, stretched), (stretched, height)):
        top, left, crop_height, crop_width = official_boxes(h, w, asked, 1)[0]
        expected = (left, top, left + crop_width, top + crop_height)
        assert crop_box(h, w, asked, np.random.default_rng(0)) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 1000), (433, 0, 566, 100)),  # as wide as the highest ratio, 4/3, allows
        ((1000, 100), (0, 433, 100, 566)),  # as tall as the lowest, 3/4, allows
        ((3, 301), (148, 0, 152, 3)),
    ],
)
def test_known_centre_crops(size, expected):
    assert crop_box(*size, config(scale=(1.0, 1.0)), np.random.default_rng(0)) == expected


def test_ten_tries_and_no_more():
    misfit = [1.0, 1.0]  # full area at the highest ratio does not fit a square
    fits = [0.0, 0.5, 0.0, 0.0]
    asked = config(scale=(0.25, 1.0), ratio=(0.5, 2.0))
    assert crop_box(20, 20, asked, FixedDraws(*misfit * 9, *fits)) == (0, 0, 10, 10)
    assert crop_box(20, 20, asked, FixedDraws(*misfit * 10)) == (0, 0, 20, 20)


def test_augment_gives_torchvisions_pixels_for_the_same_box():
    image, asked = noise(37, 53), config(size=24)
    [(top, left, height, width)] = boxes(37, 53, asked, 1, seed=5)
    torchvisions = RandomResizedCrop(24, interpolation=BICUBIC)
    torchvisions.get_params = lambda *_: (top, left, height, width)
    actual = augment(image, asked, np.random.default_rng(5))
    assert (actual.shape, actual.dtype) == ((24, 24, 3), np.uint8)
    assert_pillows(actual, np.asarray(torchvisions(Image.fromarray(image))))
    # The crop comes before the resize: no pixel outside the box has a say.
    outside = image.copy()
    outside[:top], outside[top + height :] = 0, 255
    outside[:, :left], outside[:, left + width :] = 255, 0
    again = augment(outside, asked, np.random.default_rng(5))
    np.testing.assert_array_equal(actual, again)


def photo(height, width, seed=0):
    """What cameras give rather than noise: neighbours are alike (a spectrum of 1/f)."""
    waves = np.fft.rfft2(np.random.default_rng(seed).normal(size=(3, height, width)))
    up, along = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    waves /= np.maximum(np.hypot(up, along), 1 / max(height, width))
    image = np.fft.irfft2(waves, s=(height, width)).transpose(1, 2, 0)
    return (128 + 50 * image / image.std()).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(90, 120), (120, 90)])
def test_augmented_photos_have_the_pixels_of_torchvisions(shape):
    """Means and spread by channel and by place, over many draws of either."""
    image, asked = photo(*shape), config(size=32, flip=0.5)
    official = RandomResizedCrop(32, (0.2, 1.0), interpolation=BICUBIC)
    opened, rng = Image.fromarray(image), np.random.default_rng(1)
    ours = np.array([augment(image, asked, rng) for _ in range(1500)], np.float64)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        theirs = np.array([official(opened) for _ in range(1500)], np.float64)
    theirs[::2] = theirs[::2, :, ::-1]
    for of in (np.mean, np.std):
        for axes in ((1, 2), (1, 2, 3)):
            a, b = of(ours, axis=axes), of(theirs, axis=axes)
            error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
            assert (np.abs(a.mean(0) - b.mean(0)) < 4 * error).all()
    rough = ours.mean(0) - theirs.mean(0)
    error = np.sqrt((ours.var(0) + theirs.var(0)) / len(ours))
    assert np.abs(rough / error).max() < 6


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.integers(1, 70))
def test_resized_photos_are_pillows(height, width, to_height, to_width):
    image = photo(height, width) if min(height, width) > 1 else noise(height, width)
    image.flags.writeable = False  # as the store has it
    actual = augmentation.resize(image, to_height, to_width)
    assert (actual.shape, actual.dtype) == ((to_height, to_width, 3), torch.uint8)
    opened = Image.fromarray(image).resize((to_width, to_height), Image.Resampling.BICUBIC)
    assert_pillows(actual.numpy(), np.asarray(opened))
    if (height, width) == (to_height, to_width):
        np.testing.assert_array_equal(actual, image)


@pytest.mark.parametrize("shape", [(16, 16), (40, 9), (9, 40), (1, 1), (200, 300)])
@pytest.mark.parametrize("size", [8, 17])
def test_augment_gives_squares_and_leaves_the_image_alone(shape, size):
    image = noise(*shape)
    for seed in range(5):
        asked = config(size=size, flip=0.5)
        actual = augment(image, asked, np.random.default_rng(seed))
        assert (actual.shape, actual.dtype) == ((size, size, 3), np.uint8)
    np.testing.assert_array_equal(image, noise(*shape))


def test_flip_is_never_always_or_as_often_as_asked():
    image = noise(16, 16)

    def augmented(flip, seed):
        return augment(image, config(flip=flip), np.random.default_rng(seed))

    flipped = 0
    for seed in range(400):
        plain = augmented(0.0, seed)
        np.testing.assert_array_equal(augmented(1.0, seed), plain[:, ::-1])
        flipped += int((augmented(0.3, seed) != plain).any())
    assert abs(flipped - 120) < 4 * math.sqrt(400 * 0.3 * 0.7)


def test_the_flip_is_left_to_right():
    image = np.zeros((16, 16, 3), np.uint8)
    image[0, 0] = 255
    asked = config(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=1.0)
    flipped = augment(image, asked, np.random.default_rng(0))
    assert np.argwhere(flipped[..., 0]).tolist() == [[0, 15]]


def test_augment_is_a_function_of_its_generator():
    image, asked = noise(64, 48), config(flip=0.5)
    once, again = (augment(image, asked, np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert (once != augment(image, asked, np.random.default_rng(3))).any()


SIZES = [(40, 40), (40, 57), (57, 40), (41, 40), (33, 64), (64, 33), (20, 31), (31, 20), (300, 127)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("resize", "crop"), [(40, 40), (40, 32), (41, 32), (33, 32), (32, 9), (36, 35)])
def test_centre_crop_is_torchvisions(height, width, resize, crop):
    image = noise(height, width)
    official = Compose([Resize(resize, interpolation=BICUBIC), CenterCrop(crop)])
    expected = np.asarray(official(Image.fromarray(image)))
    actual = centre_crop(image, Embed(resize=resize, crop=crop, batch_size=1))
    assert (actual.shape, actual.dtype) == ((crop, crop, 3), np.uint8)
    assert_pillows(actual, expected)
    if min(height, width) == resize:
        np.testing.assert_array_equal(actual, expected)


@settings(deadline=None, derandomize=True)
@given(st.integers(8, 90), st.integers(8, 90), st.integers(8, 40), st.integers(8, 40))
def test_centre_crop_is_torchvisions_at_any_size(height, width, one, other):
    crop, resize = sorted((one, other))
    image = noise(height, width)
    official = Compose([Resize(resize, interpolation=BICUBIC), CenterCrop(crop)])
    actual = centre_crop(image, Embed(resize=resize, crop=crop, batch_size=1))
    assert_pillows(actual, np.asarray(official(Image.fromarray(image))))
