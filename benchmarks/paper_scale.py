"""What one run of the paper's Table 1 costs on this machine, on made-up images of a dataset's size.

    python benchmarks/paper_scale.py                      paper settings; a GPU, and 7 GB of disk
    python benchmarks/paper_scale.py --run smoke-hier-test_resnet-16-s0 --suite smoke      seconds on a CPU

It writes noise as an image store and an index, trains the run on it from random weights for a few
epochs with the pipeline's own loader, loop and evaluation, and prints what that took as a Markdown
table, with the hours that `hier plan` then predicts for the suite. Neither DVC nor Snakemake takes
part; Hydra only where no --params is given.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import checkout
from hier.config.dataset import Counts, Dataset
from hier.config.run import Run
from hier.config.settings import Settings
from hier.config.suite import Suite
from hier.data.index import check_index, write_index
from hier.data.store import ImageStore
from hier.errors import ConfigError, HierError
from hier.evaluation.retrieval.embed import embed
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.evaluation.retrieval.while_training import recalls_of
from hier.files.atomic import full_disk_is_clear
from hier.gpus import acquire_gpus
from hier.ledger.artifacts import read_images
from hier.ledger.record import environment
from hier.models.network import EmbeddingNetwork
from hier.planning.plan import EMBEDS_FASTER, Hours
from hier.progress import progress
from hier.results.measures import MEASURES, computed
from hier.stages.evaluate import Evaluation
from hier.stages.train import training_rows
from hier.training.batches import TrainingImages
from hier.training.checkpoint import Checkpoints
from hier.training.loop import train
from hier.training.model_selection import Recalls
from interleaved import peak_memory

WIDTH, HEIGHT = 500, 375
"""The usual photo of CUB, in pixels, for a network that sees 224 pixels."""
SEES = 224

OPTIONS: dict[str, tuple[type, str | int | None, str]] = {
    "--suite": (str, "table1", "where the run is from, and whose hours are predicted"),
    "--params": (Path, None, "take the suite from this params.yaml, written by `hier compose`"),
    "--run": (str, "cub-hier-vit_small-384-s0", "the run"),
    "--epochs": (int, 2, "epochs; the last is what is reported"),
    "--images": (int, None, "images of each side, training and test (the dataset's own numbers)"),
    "--classes": (int, None, "classes of each side (the dataset's own numbers)"),
    "--size": (int, None, "pixels that the network sees; the stored images go with it (the run's)"),
    "--batch": (int, None, "images in a step, more than the regulariser's neighbours (the run's)"),
    "--workers": (int, None, "loader processes (the run's)"),
    "--out": (Path, None, "folder for the images while it runs (the system's temporary folder)"),
}


@dataclass(frozen=True)
class Epoch:
    """Times on a clock, in seconds, at the start, after training and after evaluation."""

    start: float
    trained: float
    evaluated: float


@dataclass(frozen=True)
class Figures:
    """What the benchmark found. Rates are in images per second, of the last epoch."""

    device: str
    memory: int  # bytes: allocated on the GPU or, without one, resident, at the most
    epochs: list[Epoch]
    images_per_epoch: int  # trained on
    embedding: float  # rate of the final embedding, without the comparison
    metrics: dict[str, Any]  # of the final embedding; of noise, so they mean nothing

    @property
    def training(self) -> float:
        """The rate of training, with the loader and without evaluation."""
        last = self.epochs[-1]
        return self.images_per_epoch / (last.trained - last.start)

    @property
    def seconds_per_epoch(self) -> float:
        """The last epoch with its evaluation."""
        return self.epochs[-1].evaluated - self.epochs[-1].start


class Clock:
    """Notes when each epoch starts, when its training ends and when its evaluation ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def note(self) -> None:
        """Note the time, once the GPU has done all that it was given."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def around(self, recalls: Recalls) -> Recalls:
        """`recalls`, noting when it starts and ends."""

        def timed(network: EmbeddingNetwork) -> dict[str, float]:
            self.note()
            found = recalls(network)
            self.note()
            return found

        return timed

    def epochs(self) -> list[Epoch]:
        times = iter(self.times)
        return [Epoch(*three) for three in zip(times, times, times, strict=True)]


class TimedImages(TrainingImages):
    """Training images that note on a clock when an epoch starts."""

    def __init__(self, *arguments: Any, clock: Clock) -> None:
        super().__init__(*arguments)
        self.clock = clock

    def epoch(
        self,
        epoch: int,
        device: torch.device,
        start: int = 0,
        stop: Callable[[], bool] = lambda: False,
        part: slice = slice(None),
    ) -> Iterator[tuple[Tensor, Tensor]]:
        self.clock.note()
        yield from super().epoch(epoch, device, start, stop, part)


def main(arguments: list[str] | None = None) -> None:
    """Make the data, run the benchmark, print the table."""
    options = parse(arguments)
    try:
        suite = suite_of(options)
        run, dataset = chosen(suite, options)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
        with (
            acquire_gpus(run.runtime, "benchmarks/paper_scale.py"),
            tempfile.TemporaryDirectory(prefix="paper-scale-", dir=options.out) as folder,
        ):
            print(table(measure(run, dataset, Path(folder)), run, dataset, suite))
    except HierError as error:
        sys.exit(f"error: {error}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, (kind, default, text) in OPTIONS.items():
        metavar = {int: "N", str: "NAME", Path: "PATH"}[kind]
        shown = text if default is None else f"{text} ({default})"
        parser.add_argument(name, type=kind, default=default, metavar=metavar, help=shown)
    return parser.parse_args(arguments)


def suite_of(options: argparse.Namespace) -> Suite:
    """The suite that the options name."""
    if options.params:
        return Settings.read(options.params).suite()
    from hier.config.compose import compose

    return compose([f"suite={options.suite}"], checkout.ROOT / "conf")


def chosen(suite: Suite, options: argparse.Namespace) -> tuple[Run, Dataset]:
    """The run with random weights and the options' settings, and a dataset as large as they say.

    Raises:
        UnknownNameError: the suite has no such run.
        ConfigError: settings that do not go together, or the backbone is frozen to the last epoch.
    """
    run = suite.run(options.run)
    warm_up = run.schedule.warmup_epochs
    if options.epochs <= warm_up:
        raise ConfigError(
            f"--epochs {options.epochs}: in its first {warm_up} epochs {run.name} trains no backbone; "
            f"give at least {warm_up + 1}"
        )
    dataset = suite.dataset(run.dataset)
    changes: dict[str, dict[str, Any]] = {
        "backbone": {"weights": None},
        "schedule": {"epochs": options.epochs},
        "protocol": {"test_every": 1},
    }
    if options.batch:
        changes["sampler"] = {"batch_size": options.batch}
    if options.workers is not None:
        changes["runtime"] = {"workers": options.workers}
    if options.size:
        resize = round(run.embed.resize * options.size / run.embed.crop)
        changes["augmentation"] = {"size": options.size}
        changes["embed"] = {"resize": resize, "crop": options.size}
    return changed(run, changes), dataset.model_copy(
        update={"counts": counts_of(dataset, options), "superclass": False}
    )


def changed(run: Run, changes: dict[str, dict[str, Any]]) -> Run:
    """The run with some settings of its groups changed, checked anew."""
    settings = run.model_dump()
    for group, values in changes.items():
        settings[group] |= values
    try:
        return Run.model_validate(settings)
    except ValueError as error:
        raise ConfigError(" ".join(str(error).split())) from error


def counts_of(dataset: Dataset, options: argparse.Namespace) -> Counts:
    """The dataset's numbers, or those of the options for each side; every test image is a query."""
    own = dataset.counts
    test = sum(images for split, images in own.images.items() if split != "train")
    return Counts(
        images={
            "train": options.images or own.images["train"],
            "test": options.images or test,
        },
        train_classes=options.classes or own.train_classes,
        test_classes=options.classes or own.test_classes,
    )


def measure(run: Run, dataset: Dataset, folder: Path) -> Figures:
    """Train and evaluate the run on noise that is written below `folder`."""
    index_path, store_path = folder / "index.parquet", folder / "images.npy"
    make_data(dataset, run.augmentation.size, index_path, store_path)
    index, store = read_images(index_path, store_path)
    rows, held_out = training_rows(index, run)
    labels, classes = np.unique(index["label"].to_numpy()[rows], return_inverse=True)
    clock = Clock()
    images = TimedImages(store, rows, classes, run, clock=clock)
    if not images.steps:
        raise ConfigError(f"{len(rows)} training images are less than a batch of {run.sampler.batch_size}")
    recalls = clock.around(recalls_of(run, index, store, held_out, dataset.ks))
    checkpoints = Checkpoints(run.name, "benchmark", folder / "checkpoints")
    network, _, _ = train(run, images, len(labels), checkpoints, recalls)
    rate, metrics = embed_and_evaluate(network, run, dataset, index, store)
    device = next(network.parameters()).device
    return Figures(
        device=name_of(device), memory=peak_memory(device), epochs=clock.epochs(),
        images_per_epoch=images.steps * run.sampler.batch_size, embedding=rate, metrics=metrics,
    )  # fmt: skip


def make_data(dataset: Dataset, size: int, index_path: Path, store_path: Path) -> None:
    """Write an index and a store of noise, with as many images and classes as `dataset` says.

    Photos of `size` 224 are 500 × 375 pixels; others go with it.
    """
    height, width = round(HEIGHT * size / SEES), round(WIDTH * size / SEES)
    counts = dataset.counts
    train_images, test_images = counts.images["train"], counts.images["test"]
    labels = np.concatenate([
        np.sort(np.arange(train_images) % counts.train_classes),
        np.sort(np.arange(test_images) % counts.test_classes) + counts.train_classes,
    ])  # fmt: skip
    columns = {
        "image": [f"{number}.jpg" for number in range(len(labels))],
        "label": labels,
        "class_name": [f"class {label}" for label in labels],
        "superclass": [None] * len(labels),
        "split": ["train"] * train_images + ["test"] * test_images,
    }
    index = pd.DataFrame(
        {k: pd.Series(v, dtype="int64" if k == "label" else object) for k, v in columns.items()}
    )
    check_index(index, dataset)
    offsets = np.arange(len(index), dtype=np.int64) * height * width * 3
    write_index(index.assign(height=np.int32(height), width=np.int32(width), offset=offsets), index_path)
    write_noise(store_path, len(index), height * width * 3)


def write_noise(path: Path, images: int, each: int) -> None:
    """Write a store of `images` images of `each` random bytes.

    Raises:
        DiskFullError: no space left.
    """
    rng = np.random.default_rng(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": (images * each,)}
    with full_disk_is_clear(path), path.open("wb") as stream, progress("noise", images) as shown:
        np.lib.format.write_array_header_1_0(stream, header)
        for _ in range(images):
            stream.write(rng.bytes(each))
            shown.update()


def embed_and_evaluate(
    network: EmbeddingNetwork, run: Run, dataset: Dataset, index: pd.DataFrame, store: ImageStore
) -> tuple[float, dict[str, Any]]:
    """Images embedded per second, and the metrics, as the last two stages of a run give them."""
    test = np.flatnonzero(index["split"] != "train")
    started = time.perf_counter()
    embeddings = embed(network, store, test, run, next(network.parameters()).device)
    rate = len(test) / (time.perf_counter() - started)
    retrieval = Retrieval(embeddings, index.iloc[test], run)
    return rate, computed(MEASURES, Evaluation(run, dataset.ks, retrieval))


def name_of(device: torch.device) -> str:
    """The GPU's name, or the processor's and how many of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    found = environment()
    return f"{found['processor']}, {found['cpus']} CPUs"


def table(figures: Figures, run: Run, dataset: Dataset, suite: Suite) -> str:
    """The figures as a Markdown table, and what `hier plan` makes of them."""
    rate, last = figures.training, figures.epochs[-1]
    epochs = suite.run(run.name).schedule.epochs
    counts, runtime = dataset.counts, run.runtime
    rows = {
        "device": figures.device,
        "torch": torch.__version__,
        "run": f"{run.name}: {run.backbone.timm}, random weights",
        "settings": f"{run.augmentation.size} px, batches of {run.sampler.batch_size}, "
        f"{runtime.precision if torch.cuda.is_available() and runtime.device != 'cpu' else 'float32'}, "
        f"{runtime.threads} threads, {runtime.workers} loader workers",
        "images, training + test": f"{counts.images['train']:,} + {counts.images['test']:,} of "
        f"{counts.train_classes} + {counts.test_classes} classes",
        f"training, images/s (epoch {len(figures.epochs)})": shown(rate),
        "embedding, images/s": shown(figures.embedding),
        "peak memory, GB": shown(figures.memory / 1e9),
        "epoch with evaluation, s": f"{figures.seconds_per_epoch:.2f}",
        "of which evaluation, s": f"{last.evaluated - last.trained:.2f}",
        f"this run, {epochs} such epochs, hours": shown(
            epochs * figures.seconds_per_epoch / 3600
        ),
        f"suite {suite.suite}, {len(suite.runs)} runs, hours on one such device":
            shown(Hours(suite, rate).total()),
    }  # fmt: skip
    lines = ["| figure | value |", "|---|---:|", *(f"| {k} | {v} |" for k, v in rows.items())]
    return "\n".join([
        *lines,
        "",
        f"The suite's hours are those of `hier plan suite={suite.suite} --images-per-second {rate:.4g}`: "
        f"every backbone trains at this rate and embeds {EMBEDS_FASTER:g} times as fast.",
    ])  # fmt: skip


def shown(figure: float) -> str:
    """Three digits or more, with commas between thousands."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


if __name__ == "__main__":
    main()
