"""The `demo` dataset: creatures drawn on the spot, in a known tree where look follows the tree.

Every class is a point in a space of looks (outline, hole, rings, spokes, eyes). The point is the
sum of one step per tree level, and steps shrink with depth: families differ at a glance, species
slightly. Every image moves its class's point a little and then draws it somewhere, at some size,
tilt and colour, on some background. Colour says nothing about the class, and all looks are
mirror-symmetric, so that a horizontal flip keeps the class.
"""

import gzip
import io
import math
import tarfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hier.config.dataset import Generate
from hier.files.atomic import atomic_file
from hier.progress import track

Array = NDArray[np.float64]

HARMONICS = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])  # of the outline
LOOKS = len(HARMONICS) + 7
FIRST_STEP = 3.0  # length of a family's step
SHRINK = 0.62  # each deeper level's step, relative to the one above
INDIVIDUAL = 0.12  # standard deviation of an individual's look around its class, per axis
TREE, IMAGE = 1, 2  # what a random generator is for
TOP = "CUB_200_2011"


@dataclass(frozen=True)
class Leaf:
    """One class: its place in the tree and its look."""

    path: tuple[int, ...]  # the child's number at each level, from 0
    names: tuple[str, ...]  # of the node at each level, from the family down to the class itself
    look: Array  # float64 (LOOKS)

    @property
    def superclass(self) -> str:
        """Names from the root to the class's parent, such as `A/A3`."""
        return "/".join(self.names[:-1])


def leaves(generate: Generate) -> list[Leaf]:
    """All classes in the order of their ids, whose first half is for training (CUB's rule).

    Neighbours in the tree go to opposite halves: where branching is even, half of the classes
    below every inner node are unseen in training.
    """
    paths = list(product(*(range(branches) for branches in generate.branching)))
    return [Leaf(p, _names(p), _look(generate.seed, p)) for p in paths[0::2] + paths[1::2]]


def draw(look: Array, size: int) -> NDArray[np.uint8]:
    """The class's look and nothing else: centred, upright, grey on black; uint8 (size, size, 3)."""
    plane = _plane(size, centre=(0.0, 0.0), scale=0.6, tilt=0.0)
    shape, shade = _figure(look, *plane, edge=2.0 / (0.6 * size))
    return _pixels((shape * (0.6 + 0.4 * shade))[..., None].repeat(3, axis=2))


def draw_image(generate: Generate, leaf: Leaf, number: int) -> NDArray[np.uint8]:
    """Image `number` (0-based) of a class, uint8 (size, size, 3); depends on no other image."""
    random = _random(generate.seed, IMAGE, *leaf.path, number)
    size = generate.size
    scale = random.uniform(0.52, 0.75)
    room = 0.92 - scale
    plane = _plane(
        size,
        centre=(random.uniform(-room, room), random.uniform(-room, room)),
        scale=scale,
        tilt=math.radians(random.uniform(-15, 15)),
    )
    look = leaf.look + random.normal(0, INDIVIDUAL, LOOKS)
    shape, shade = _figure(look, *plane, edge=2.0 / (scale * size))
    ground = _background(random, size)
    figure = random.uniform(0.5, 0.9, 3) + 0.45 * random.uniform(0.5, 0.8, 3) * shade[..., None]
    mixed = ground + shape[..., None] * (figure - ground)
    return _pixels(mixed + random.normal(0, random.uniform(0.01, 0.04), mixed.shape))


def write_archive(generate: Generate, path: Path) -> None:
    """Write the dataset as a .tgz in CUB-200-2011's layout, plus `superclasses.txt`, whole or not at all.

    `superclasses.txt` has lines `<class id> <path>`, such as `12 A/A3`. The same `generate` gives
    the same bytes (with the same releases of NumPy, Pillow and zlib). Raises DiskFullError.
    """
    classes = list(enumerate(leaves(generate), start=1))
    folders = {class_id: f"{class_id:03d}.{leaf.names[-1]}" for class_id, leaf in classes}
    lists: dict[str, list[str]] = {
        "images.txt": [],
        "image_class_labels.txt": [],
        "train_test_split.txt": [],
        "classes.txt": [f"{class_id} {folder}" for class_id, folder in folders.items()],
        "superclasses.txt": [f"{class_id} {leaf.superclass}" for class_id, leaf in classes],
    }
    jobs = list(product(classes, range(generate.images_per_class)))
    with (
        atomic_file(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for image_id, job in enumerate(track(jobs, "drawing demo images"), start=1):
            (class_id, leaf), number = job
            name = f"{folders[class_id]}/{leaf.names[-1]}_{number + 1:04d}.jpg"
            jpeg = io.BytesIO()
            Image.fromarray(draw_image(generate, leaf, number)).save(jpeg, "JPEG", quality=92)
            _add(tar, f"images/{name}", jpeg.getvalue())
            lists["images.txt"].append(f"{image_id} {name}")
            lists["image_class_labels.txt"].append(f"{image_id} {class_id}")
            lists["train_test_split.txt"].append(f"{image_id} {int(2 * (class_id - 1) < len(classes))}")
        for file, lines in lists.items():
            _add(tar, file, "".join(f"{line}\n" for line in lines).encode())


def _random(seed: int, *key: int) -> np.random.Generator:
    # NumPy pads short seeds with zeros, so (1, 2) and (1, 2, 0) would be one stream: no zeros.
    return np.random.default_rng([seed, *(part + 1 for part in key)])


def _names(path: tuple[int, ...]) -> tuple[str, ...]:
    """`(0, 2, 1)` → `("A", "A3", "A3-2")`."""
    family = (chr(64 + path[0] // 26) if path[0] >= 26 else "") + chr(65 + path[0] % 26)
    names = [family]
    for level, child in enumerate(path[1:], start=1):
        names.append(f"{names[-1]}{'-' if level > 1 else ''}{child + 1}")
    return tuple(names)


def _look(seed: int, path: tuple[int, ...]) -> Array:
    look = np.zeros(LOOKS)
    for depth in range(len(path)):
        step = _random(seed, TREE, *path[: depth + 1]).normal(size=LOOKS)
        look += FIRST_STEP * SHRINK**depth * step / np.linalg.norm(step)
    return look


def _plane(size: int, centre: tuple[float, float], scale: float, tilt: float) -> tuple[Array, Array]:
    """The figure's own coordinates (x right, y up) of every pixel, each (size, size)."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid((axis - centre[0]) / scale, (-axis - centre[1]) / scale)
    return math.cos(tilt) * x + math.sin(tilt) * y, math.cos(tilt) * y - math.sin(tilt) * x


def _figure(look: Array, x: Array, y: Array, edge: float) -> tuple[Array, Array]:
    """Cover (0–1) and shade (−1–1) of the figure in its own coordinates; `edge` is one pixel."""
    waves, (hole, rings, spokes, mix, eye_x, eye_y, eye) = np.split(look, [len(HARMONICS)])
    radius, angle = np.hypot(x, y), np.abs(np.arctan2(x, y))  # the angle from the top: symmetric
    swing = np.tensordot(0.22 * np.tanh(waves), np.cos(HARMONICS[:, None, None] * angle), axes=1)
    outline = 0.8 * np.exp(swing)
    cover = _inside(outline - radius, edge)
    cover *= 1 - _inside(0.2 + 0.2 * math.tanh(hole) - radius, edge)
    share = 0.5 + 0.5 * math.tanh(mix)
    shade = share * np.sin(2 * math.pi * (1.6 + math.tanh(rings)) * radius / outline)
    shade = shade + (1 - share) * np.cos((6 + 4 * math.tanh(spokes)) * angle)
    distance = np.hypot(np.abs(x) - 0.35 - 0.2 * math.tanh(eye_x), y - 0.3 * math.tanh(eye_y))
    spots = _inside(0.14 + 0.1 * math.tanh(eye) - distance, edge)
    return cover, shade + spots * (1.5 - shade)


def _inside(depth: Array, edge: float) -> Array:
    """1 where `depth` > 0, 0 elsewhere, with a border one pixel soft."""
    return np.clip(depth / edge + 0.5, 0, 1)


def _background(random: np.random.Generator, size: int) -> Array:
    """A darker coloured ramp with a few soft patches, (size, size, 3)."""
    axis = np.linspace(-1, 1, size)
    x, y = np.meshgrid(axis, axis)
    ground = random.uniform(0.05, 0.45, 3) + 0.1 * x[..., None] * random.uniform(-1, 1, 3)
    ground += 0.1 * y[..., None] * random.uniform(-1, 1, 3)
    for _ in range(random.integers(2, 5)):
        centre, width = random.uniform(-1, 1, 2), random.uniform(0.2, 0.5)
        patch = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / width**2)
        ground += patch[..., None] * random.uniform(-0.15, 0.15, 3)
    return ground


def _pixels(values: Array) -> NDArray[np.uint8]:
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(f"{TOP}/{name}")
    member.size, member.mtime, member.mode = len(content), 0, 0o644
    tar.addfile(member, io.BytesIO(content))
