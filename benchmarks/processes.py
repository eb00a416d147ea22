"""A run trained by one process and by two: the same bytes, and how many images a second.

    python benchmarks/processes.py            vit_small and resnet50; some 5 minutes on 2 cores
    python benchmarks/processes.py --quick    vit_small, one turn; a minute

Both train Table 1's CUB run of HIER on photos of noise, 24 to a batch in two shards, in float32 on the CPU,
one thread each. They take turns. What is timed is the second of two epochs, with its checkpoint: the start
of another process takes seconds once. Where the bytes of network and proxies differ, exit status is 1.

A Markdown table is printed.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

import checkout
from hier.config.compose import compose
from hier.config.run import Run
from hier.data.store import ImageStore
from hier.stages.train import tensors
from hier.training.batches import TrainingImages
from hier.training.checkpoint import Checkpoints
from hier.training.loop import train
from hier.training.together import together
from interleaved import Table, Turns
from paper_scale import write_noise
from step import RUNS

BATCH, SHARDS, STEPS, EPOCHS = 24, 2, 2, 2
EDGE = 256
SETTINGS: dict[str, dict[str, Any]] = {
    "backbone": {"weights": None, "batch_norm": "eval"},
    "sampler": {"batch_size": BATCH, "images_per_class": 2, "shards": SHARDS, "epoch": "images"},
    "schedule": {"epochs": EPOCHS, "warmup_epochs": 0},
    "runtime": {"device": "cpu", "precision": "float32", "threads": 1, "workers": 0},
}


def main(arguments: list[str] | None = None) -> None:
    """Run the rounds, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="vit_small, one turn")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each (3, quick: 1)")
    options = parser.parse_args(arguments)
    suite, printed = compose(["suite=table1"], checkout.ROOT / "conf"), Table(lenient=options.quick)
    for name in ["vit_small"] if options.quick else RUNS:
        run = changed(suite.runs[RUNS[name]], SETTINGS)
        compare(printed, name, run, options.rounds or (1 if options.quick else 3))
    printed.end()


def changed(run: Run, settings: dict[str, dict[str, Any]]) -> Run:
    """The run with some of its groups' settings replaced."""
    groups = {name: getattr(run, name).model_copy(update=keys) for name, keys in settings.items()}
    return run.model_copy(update=groups)


def compare(printed: Table, name: str, run: Run, rounds: int) -> None:
    """Train by one and by two processes in turn, print a network's rows."""
    turns, bytes_of = Turns(), {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            for processes in (1, 2):
                what = "one process" if processes == 1 else "two processes"
                runtime = {"runtime": {"processes": processes}}
                home = Path(folder, f"{turn}-{processes}")
                seconds, found = trained(changed(run, runtime), home)
                turns.seconds.setdefault(what, []).append(seconds)
                bytes_of[what, turn] = found
    setting = f"{name}, {BATCH} images in {SHARDS} shards"
    printed.ratio(setting, turns, "one process", "two processes")
    for what in turns.seconds:
        printed.figure(setting, f"images per second, {what}", STEPS * BATCH / turns.median(what))
    different = len({*bytes_of.values()})
    printed.figure(setting, "different results", different, at_most=1)


def trained(run: Run, folder: Path) -> tuple[float, str]:
    """Train the run; return the seconds of its last epoch and the SHA-256 of network and proxies."""
    folder.mkdir()
    number, each = STEPS * BATCH, EDGE * EDGE * 3
    write_noise(folder / "images.npy", number, each)
    index = pd.DataFrame({"height": EDGE, "width": EDGE, "offset": np.arange(number) * each})
    classes = np.arange(number) // (2 * STEPS)
    images = TimedImages(ImageStore(folder / "images.npy", index), np.arange(number), classes, run)
    checkpoints = Checkpoints(run.name, "benchmark", folder)
    with together(run, images, BATCH // 2, checkpoints) as group:
        network, objective, _ = train(run, images, BATCH // 2, checkpoints, group=group)
        seconds = time.perf_counter() - images.started
    content = b"".join(save(tensors(module)) for module in (network, objective))
    return seconds, hashlib.sha256(content).hexdigest()


class TimedImages(TrainingImages):
    """Training images that note when the last epoch started."""

    started = 0.0

    def epoch(self, *arguments: Any, **options: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.started = time.perf_counter()
        yield from super().epoch(*arguments, **options)


if __name__ == "__main__":
    main()
