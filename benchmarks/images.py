"""What a training image costs: from the image store, beside decoding the original file each time.

    python benchmarks/images.py            192 photos of 500 × 375 pixels; about a minute
    python benchmarks/images.py --quick    48 photos, half of each bound; some 10 seconds

Both sides give the same thing, an epoch of normalised batches at the same augmentation
distribution, from one process on one thread: the plain side opens each file with Pillow and goes
through torchvision's RandomResizedCrop (bicubic), flip, ToTensor and Normalize, as the official code
does; ours is the training's own loader over the prepared store. The photos are made up, with the
spectrum of natural ones (1/f), as JPEGs of quality 90.

Below are other formats that a store could have: an augmented crop out of each, and its disk space
for one image. The last row opens a store of SOP's 120,053 images. A Markdown table is printed, with
the median ratios of the rounds and their spread; a missed bound is exit status 1.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

import checkout
from hier.config.compose import compose
from hier.config.run import Run
from hier.config.suite import Suite
from hier.data.augmentation import augment
from hier.data.index import read_index, write_index
from hier.data.layouts import Row, to_table
from hier.data.store import ImageStore, write_store
from hier.models import torchvision_ops
from hier.training.batches import TrainingImages
from interleaved import Table, Turns

HEIGHT, WIDTH = 375, 500
SOP_IMAGES = 120_053
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG 95": {"format": "JPEG", "quality": 95},
    "WebP lossless": {"format": "WEBP", "lossless": True},
    "PNG": {"format": "PNG"},
}
Pixels = NDArray[np.uint8]


def main(arguments: list[str] | None = None) -> None:
    """Run the rounds, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="48 photos, half of each bound")
    parser.add_argument("--images", type=int, metavar="N", help="photos (192, quick: 48)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each (5)")
    options = parser.parse_args(arguments)
    images = options.images or (48 if options.quick else 192)
    torch.set_num_threads(1)
    printed = Table(lenient=options.quick)
    with tempfile.TemporaryDirectory() as folder:
        compare(printed, Path(folder), images, options.rounds, 2.0 if options.quick else 1.0)
        printed.figure("SOP's index", "opening its store, s", opening(Path(folder)), at_most=1)
    printed.end()


def compare(printed: Table, folder: Path, images: int, rounds: int, ease: float) -> None:
    """Run the rounds on `images` photos, print their rows."""
    run, turns, setting = settings(images), Turns(), f"photos {WIDTH} × {HEIGHT}"
    index, sizes = photos(folder, images), {}
    store = prepared(folder, index, run)
    sizes["store"] = store.path.stat().st_size / images
    sizes["original files"] = sum((folder / name).stat().st_size for name in index["image"]) / images
    ours = TrainingImages(store, np.arange(images), index["label"].to_numpy(), run)
    originals = plain_loader(folder, index, run)
    encoded = {name: encode(store, options) for name, options in FORMATS.items()}
    for _ in range(rounds):
        turns.note("original files", partial(all_of, originals))
        turns.note("store", lambda: all_of(ours.epoch(0, torch.device("cpu"))))
        for name, files in encoded.items():
            turns.note(name, partial(decoded_crops, files, run))
        turns.note("store's crops", lambda: crops((store[row] for row in range(images)), run))
    printed.ratio(setting, turns, "original files", "store", at_least=4 / ease)
    for name, files in encoded.items():
        printed.ratio(setting, turns, name, "store's crops")
        sizes[name] = sum(map(len, files)) / images
    for name, size in sizes.items():
        printed.figure(setting, f"{name}: KB for an image", size / 1e3)


@cache
def table1() -> Suite:
    """The paper's suite."""
    return compose(["suite=table1", "methods=[hier]"], checkout.ROOT / "conf")


def settings(images: int) -> Run:
    """Table 1's HIER run on CUB, in one process and in batches that the photos fill."""
    run = table1().runs["cub-hier-vit_small-384-s0"]
    sampler = run.sampler.model_copy(update={"batch_size": images // 2, "images_per_class": 2})
    runtime = run.runtime.model_copy(update={"workers": 0, "threads": 1})
    return run.model_copy(update={"sampler": sampler, "runtime": runtime})


def photos(folder: Path, images: int) -> pd.DataFrame:
    """Write that many JPEGs into `folder`; return their rows of an index."""
    rng, rows = np.random.default_rng(0), []
    for i in range(images):
        name = f"{i}.jpg"
        Image.fromarray(photo(rng)).save(folder / name, quality=90)
        rows.append(Row(name, i % (images // 4), f"class {i % (images // 4)}", None, "train"))
    return to_table(rows)


def photo(rng: np.random.Generator) -> Pixels:
    """Three channels of noise with the spectrum 1/f."""
    waves = np.fft.rfft2(rng.normal(size=(3, HEIGHT, WIDTH)))
    up, along = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)
    waves /= np.maximum(np.hypot(up, along), 1 / WIDTH)
    image = np.fft.irfft2(waves, s=(HEIGHT, WIDTH)).transpose(1, 2, 0)
    return (128 + 50 * image / image.std()).clip(0, 255).astype(np.uint8)


def prepared(folder: Path, index: pd.DataFrame, run: Run) -> ImageStore:
    """The image store as `hier prepare` writes it, at CUB's size."""
    path = folder / "images.npy"
    return ImageStore(path, write_store(folder, index, table1().dataset(run.dataset), path))


def plain_loader(folder: Path, index: pd.DataFrame, run: Run) -> DataLoader[torch.Tensor]:
    """Batches as the official code makes them, from the files, in the index's order."""
    torchvision_ops.ensure()
    from torchvision import transforms

    transform = transforms.Compose([
        transforms.RandomResizedCrop(
            run.augmentation.size, run.augmentation.scale, run.augmentation.ratio,
            interpolation=transforms.InterpolationMode.BICUBIC,
        ),
        transforms.RandomHorizontalFlip(run.augmentation.flip),
        transforms.ToTensor(),
        transforms.Normalize(run.backbone.mean, run.backbone.std),
    ])  # fmt: skip

    class Files(torch.utils.data.Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(index)

        def __getitem__(self, row: int) -> torch.Tensor:
            found: torch.Tensor = transform(Image.open(folder / index["image"][row]).convert("RGB"))
            return found

    return DataLoader(Files(), batch_size=run.sampler.batch_size)


def encode(store: ImageStore, options: dict[str, Any]) -> list[bytes]:
    """The stored images in another format."""
    files = []
    for row in range(len(store)):
        stream = io.BytesIO()
        Image.fromarray(store[row]).save(stream, **options)
        files.append(stream.getvalue())
    return files


def decode(file: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(file)))


def decoded_crops(files: list[bytes], run: Run) -> None:
    crops(map(decode, files), run)


def crops(images: Iterable[Pixels], run: Run) -> None:
    """Augment each image."""
    rng = np.random.default_rng(0)
    for image in images:
        augment(image, run.augmentation, rng)


def all_of(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def opening(folder: Path) -> float:
    """Seconds from an index and a store of SOP's number of images to the first pixel."""
    side, path = 8, folder / "sop.npy"
    np.save(path, np.zeros(SOP_IMAGES * side * side * 3, np.uint8))
    rows = (Row(f"kind/{i}.JPG", i // 5, f"{i // 5}", "kind", "train") for i in range(SOP_IMAGES))
    index = to_table(rows).assign(height=np.int32(side), width=np.int32(side))
    index["offset"] = np.arange(SOP_IMAGES) * side * side * 3
    write_index(index, folder / "index.parquet")
    started = time.perf_counter()
    ImageStore(path, read_index(folder / "index.parquet"))[SOP_IMAGES - 1].sum()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
