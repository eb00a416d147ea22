"""What portable kernels cost beside the processor's own.

    python benchmarks/kernels.py             some five minutes on 2 cores
    python benchmarks/kernels.py --quick     one turn of each, the smaller ones; some 30 seconds

Two processes, one with either kernels, take turns, since a process has its kernels from its start. Timed
are a training step of the demo, of grocery (EfficientNet-Lite0) and of ViT-S with 24 images, each of a
HIER run, and what `hier evaluate` computes at the size of In-Shop. Each is in one thread, on a CPU.

A Markdown table is printed. No figure has a bound: how fast the processor's own kernels are depends on it.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import checkout
from hier.kernels import PORTABLE, Kernels, choose_kernels

STEPS = {
    "demo, 64 images": ("demo", "demo-hier-test_resnet-64-s0", 64, 5),
    "grocery, 64 images": ("grocery", "grocery-hier-efficientnet_lite0-128-s0", 64, 1),
    "vit_small, 24 images": ("table1", "cub-hier-vit_small-384-s0", 24, 1),
}
"""By setting: suite, run, images in a batch, and how many steps a turn has."""
EVALUATE, QUERIES, GALLERY, CLASSES = "evaluate, In-Shop's size", 14_218, 12_612, 3_985
QUICK = ["demo, 64 images", EVALUATE]


def main(arguments: list[str] | None = None) -> None:
    """Start the two processes, let them take turns, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one turn of each, the smaller ones")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each (5, quick: 1)")
    parser.add_argument("--side", choices=["portable", "native"], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.side:
        answer(options.side)
        return
    rounds = options.rounds or (1 if options.quick else 5)
    sides = {kernels: Side(kernels) for kernels in ("portable", "native")}
    from interleaved import Table, Turns

    printed = Table()
    for setting in QUICK if options.quick else [*STEPS, EVALUATE]:
        turns = Turns()
        for side in sides.values():
            side.ask(setting)  # memory, the first kernels
        for _ in range(rounds):
            for kernels, side in sides.items():
                turns.seconds.setdefault(kernels, []).append(side.ask(setting))
        printed.ratio(setting, turns, "portable", "native")
    for side in sides.values():
        side.end()
    printed.end()


class Side:
    """A process with one kind of kernels, which times what it is asked for."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels
        environment = {name: value for name, value in os.environ.items() if name not in PORTABLE}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--side", kernels],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def ask(self, setting: str) -> float:
        """Seconds that `setting` takes there."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{setting}\n")
        for line in self.process.stdout:
            if line.startswith("{"):
                return float(json.loads(line)["seconds"])
        raise SystemExit(f"the process with {self.kernels} kernels has ended")

    def end(self) -> None:
        self.process.communicate()


def answer(kernels: Kernels) -> None:
    """Time each setting that is named on standard input."""
    choose_kernels(kernels)
    from interleaved import Turns

    made: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        setting, turns = line.strip(), Turns()
        if setting not in made:
            made[setting] = evaluation() if setting == EVALUATE else steps(setting)
        turns.note(setting, made[setting])
        print(json.dumps({"seconds": turns.median(setting)}), flush=True)


def steps(setting: str) -> Callable[[], Any]:
    """Some training steps of a HIER run."""

    import step
    from hier.config.compose import compose
    from hier.training.determinism import make_deterministic

    suite, name, batch, number = STEPS[setting]
    run = compose([f"suite={suite}"], checkout.ROOT / "conf").runs[name]
    runtime = run.runtime.model_copy(update={"threads": 1, "device": "cpu", "precision": "float32"})
    run = step.with_batch(run.model_copy(update={"runtime": runtime}), batch)
    return partial(step.Side(run, make_deterministic(runtime)).work, number)


def evaluation() -> Callable[[], Any]:
    """What `hier evaluate` computes of a HIER run, on made-up embeddings half of which are clipped."""
    import numpy as np
    import pandas as pd
    import torch

    from hier.config.compose import compose
    from hier.evaluation.hierarchy.levels import levels_of
    from hier.evaluation.hierarchy.trees import Trees
    from hier.evaluation.retrieval.queries_and_gallery import Retrieval
    from hier.results.measures import MEASURES, computed
    from hier.stages.evaluate import Evaluation
    from retrieval import Setting, made_up

    torch.set_num_threads(1)
    run = compose(["suite=table1"], checkout.ROOT / "conf").runs["inshop-hier-vit_small-128-s0"]
    sides = made_up(Setting("In-Shop", QUERIES, GALLERY, CLASSES, (1, 10, 20, 30)))
    embeddings = torch.cat([sides.query, sides.gallery])
    labels = torch.cat([sides.query_labels, sides.gallery_labels]).numpy()
    index = pd.DataFrame({
        "label": labels, "class_name": [f"class {label}" for label in labels],
        "superclass": [f"kind {label % 17}" for label in labels],
        "split": ["query"] * QUERIES + ["gallery"] * GALLERY,
    })  # fmt: skip
    proxies = torch.randn(512, run.dim, generator=torch.Generator().manual_seed(0))
    levels, rows = levels_of(index, ["class", "superclass"], "inshop"), np.arange(len(index))

    def evaluate() -> object:
        trees = Trees(embeddings, rows, levels, run, proxies)
        return computed(
            MEASURES, Evaluation(run, [1, 10, 20, 30], Retrieval(embeddings, index, run), None, trees)
        )

    return evaluate


if __name__ == "__main__":
    main()
