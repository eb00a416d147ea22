"""A whole HIER training step, beside the plain step of the official recipe.

    python benchmarks/step.py            vit_small and resnet50; some 3 minutes on 2 cores
    python benchmarks/step.py --quick    vit_small, a smaller batch, one turn; some 20 seconds

A step is forward, Proxy-Anchor loss, HIER regulariser, backward, clipped gradients and AdamW, on a
batch of Table 1's CUB run: 180 images and the run's precision on a GPU, 24 images in float32 on a
CPU. Sides, by turns in one process:

    plain           images as planes, AdamW unfused, the regulariser as its formulas stand
    ours            what `hier train` does: channels last, fused AdamW, the blockwise regulariser
    no regulariser  ours without it: the difference is its share of a step

On a GPU also `compiled` (runtime.compile), and ours fed by the loader from an image store of 500 × 375
pixels with 16 workers, or as many as there are processors. Bounds, on a GPU alone: the regulariser
takes at most 5 % of vit_small's step, and the loader leaves it at least 85 % of its speed. The last
row is Table 1's hours at the rates of these two networks.

A Markdown table is printed; a missed bound is exit status 1.
"""

import argparse
import os
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import baselines
import checkout
from hier.config.compose import compose
from hier.config.run import NoRegularizer, Run
from hier.config.suite import Suite
from hier.data.store import ImageStore
from hier.losses.hier import HierRegularizer
from hier.models.network import build_network
from hier.planning.plan import EMBEDS_FASTER, images_of
from hier.training.batches import TrainingImages
from hier.training.determinism import make_deterministic
from hier.training.objective import Objective
from hier.training.step import Step
from interleaved import Table, Turns
from paper_scale import write_noise

RUNS = {"vit_small": "cub-hier-vit_small-384-s0", "resnet50": "cub-hier-resnet50-512-s0"}
CPU_BATCH, QUICK_BATCH = 24, 22
"""Little more than the neighbours that the regulariser asks for."""
STEPS, WORKERS = 10, 16
HEIGHT, WIDTH = 375, 500


def main(arguments: list[str] | None = None) -> None:
    """Run the rounds, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="vit_small, a smaller batch, one turn")
    parser.add_argument("--batch", type=int, metavar="B", help="images in a batch")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each (3, quick: 1)")
    options = parser.parse_args(arguments)
    suite = compose(["suite=table1"], checkout.ROOT / "conf")
    printed, rates = Table(lenient=options.quick), {}
    for name in ["vit_small"] if options.quick else RUNS:
        run = suite.runs[RUNS[name]]
        device = make_deterministic(run.runtime)
        torch.set_num_threads(min(run.runtime.threads, os.cpu_count() or 1))
        cpu = QUICK_BATCH if options.quick else CPU_BATCH
        batch = options.batch or (cpu if device.type == "cpu" else run.sampler.batch_size)
        rounds = options.rounds or (1 if options.quick else 3)
        rates[name] = compare(printed, name, with_batch(run, batch), device, rounds)
    if not options.quick:
        printed.figure("Table 1", f"hours of its {len(suite.runs)} runs at these rates", hours(suite, rates))
    printed.end()


def with_batch(run: Run, batch: int) -> Run:
    """The run with batches of that size, two images of each class."""
    sampler = run.sampler.model_copy(update={"batch_size": batch, "images_per_class": 2})
    return run.model_copy(update={"sampler": sampler})


def compare(printed: Table, name: str, run: Run, device: torch.device, rounds: int) -> float:
    """Run the rounds on a network, print its rows; return how many images a second ours trains on."""
    gpu, batch, turns = device.type == "cuda", run.sampler.batch_size, Turns()
    without = run.model_copy(update={"regularizer": NoRegularizer(name="none")})
    sides = {"plain": Plain(run, device), "ours": Side(run, device)}
    sides["no regulariser"] = Side(without, device)
    if gpu:
        compiled = run.runtime.model_copy(update={"compile": True})
        sides["compiled"] = Side(run.model_copy(update={"runtime": compiled}), device)
    steps = STEPS if gpu else 1
    for side in sides.values():
        side.work(1)  # memory, kernels, the compiler
    for _ in range(rounds):
        for what, side in sides.items():
            turns.note(what, partial(side.work, steps), steps)
    setting = f"{name}, {batch} images"
    printed.ratio(setting, turns, "plain", "ours")
    share = 100 * (1 - turns.median("no regulariser") / turns.median("ours"))
    small = gpu and name == "vit_small"
    printed.figure(setting, "regulariser, % of the step", share, at_most=5 if small else None)
    if gpu:
        printed.ratio(setting, turns, "compiled", "ours")
        with tempfile.TemporaryDirectory() as folder:
            feed(turns, sides["ours"], stored(run, Path(folder)), rounds)
        bound = 0.85 if name == "vit_small" else None
        printed.ratio(setting, turns, "ours", "ours from the store", at_least=bound)
    for what in ("plain", "ours"):
        printed.figure(setting, f"images per second, {what}", batch / turns.median(what))
    return batch / turns.median("ours")


class Side:
    """A network in training and a batch on its device, by what `hier train` consists of."""

    def __init__(self, run: Run, device: torch.device) -> None:
        size, edge = run.sampler.batch_size, run.augmentation.size
        torch.manual_seed(0)
        self.network = build_network(run.backbone, run.head, pretrained=False).to(device).train()
        self.objective = Objective(run, size // 2).to(device)
        self.step = Step(run, self.network, self.objective, device)
        images = torch.randn(size, 3, edge, edge, device=device)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.classes = torch.arange(size, device=device) // 2
        self.generator = torch.Generator(device).manual_seed(0)

    def work(self, steps: int) -> None:
        """Learn from the batch again and again."""
        for _ in range(steps):
            self.step(self.images, self.classes, self.generator)

    def follow(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Learn from other batches."""
        for images, classes in batches:
            self.step(images, classes, self.generator)


class Plain(Side):
    """The same from plain parts, as the official code has them."""

    def __init__(self, run: Run, device: torch.device) -> None:
        super().__init__(run, device)
        self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.images = self.images.contiguous()
        self.generator = torch.Generator().manual_seed(0)
        assert isinstance(self.objective.regularizer, HierRegularizer)
        self.objective.regularizer = PlainRegularizer(self.objective.regularizer)
        for group in self.step.optimizer.param_groups:
            group["fused"] = False


class PlainRegularizer(nn.Module):
    """The regulariser as its formulas stand, with the proxies of the given one."""

    def __init__(self, module: HierRegularizer) -> None:
        super().__init__()
        self.module = module

    def forward(self, z: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
        return baselines.regularizer(self.module, z, classes, generator)


def stored(run: Run, folder: Path) -> TrainingImages:
    """Photos of noise in an image store, enough for an epoch of STEPS + 1 steps."""
    number, each = (STEPS + 1) * run.sampler.batch_size, HEIGHT * WIDTH * 3
    write_noise(folder / "images.npy", number, each)
    index = pd.DataFrame({"height": HEIGHT, "width": WIDTH, "offset": np.arange(number) * each})
    workers = min(WORKERS, os.cpu_count() or 1)
    loading = run.model_copy(update={"runtime": run.runtime.model_copy(update={"workers": workers})})
    store = ImageStore(folder / "images.npy", index)
    classes = np.arange(number) % (run.sampler.batch_size // 2)
    return TrainingImages(store, np.arange(number), classes, loading)


def feed(turns: Turns, side: Side, images: TrainingImages, rounds: int) -> None:
    """Time the steps of epochs after their first, for which the workers start."""
    for epoch in range(rounds):
        batches = images.epoch(epoch, side.images.device)
        side.follow([next(batches)])
        turns.note("ours from the store", partial(side.follow, batches), images.steps - 1)


def hours(suite: Suite, rates: dict[str, float]) -> float:
    """What the suite's runs take at the rates of ResNet-50 and, for the transformers, ViT-S."""
    total = 0.0
    for run in suite.runs.values():
        trained, embedded = images_of(run, suite.dataset(run.dataset))
        rate = rates["resnet50" if run.backbone.name == "resnet50" else "vit_small"]
        total += (trained + embedded / EMBEDS_FASTER) / rate
    return total / 3600


if __name__ == "__main__":
    main()
