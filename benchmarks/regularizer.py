"""What one forward and backward of the HIER regulariser costs beside its formulas written down plainly.

    python benchmarks/regularizer.py            some 2 minutes on 2 cores
    python benchmarks/regularizer.py --quick    fewer rounds, half of each bound; some 30 seconds

Batch 180, 128 dimensions, 512 hierarchical proxies, K 20, 50 triplets for each anchor, as in the paper;
larger batches and more proxies without the plain side, whose tensors would not fit. Prints a Markdown
table and exits with 1 where a bound is missed. Each side's memory is the peak of a process of its own
beyond what the process held before.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import checkout  # noqa: F401
from baselines import regularizer as plain
from hier.geometry.poincare import exp0
from hier.losses.hier import HierRegularizer
from interleaved import Table, Turns, peak_memory

DIM, C, CLIP_RADIUS = 128, 0.1, 2.3
LARGER = ((180, 1024), (360, 512), (360, 1024), (720, 512), (720, 2048))
Loss = Callable[[HierRegularizer, Tensor, Tensor, torch.Generator], Tensor]


def fast(module: HierRegularizer, z: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    return module(z, labels, generator)


SIDES: dict[str, Loss] = {"plain": plain, "hier": fast}


def main(arguments: list[str] | None = None) -> None:
    """Run the rounds, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, half of each bound")
    parser.add_argument("--memory", choices=list(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.memory:
        print(memory_here(SIDES[options.memory]))
        return
    gpu = torch.cuda.is_available()
    ease, rounds = (2, 3) if options.quick else (1, 7)
    table, turns, case = Table(lenient=options.quick), Turns(), made_up(180, 512)
    setting = f"B 180, P 512{', GPU' if gpu else ''}"
    step(fast, *case)  # warm
    for _ in range(rounds):
        for name, loss in SIDES.items():
            turns.note(name, partial(step, loss, *case))
    table.ratio(setting, turns, "plain", "hier", at_least=(8 if gpu else 6) / ease)
    peaks = {name: memory_of(name) for name in SIDES}
    table.figure(setting, "plain's memory, GB", peaks["plain"] / 1e9)
    table.figure(setting, "hier's share of it", peaks["hier"] / peaks["plain"], 0.1 * ease)
    for batch, proxies in () if options.quick else LARGER:
        larger = made_up(batch, proxies)
        for _ in range(3):
            turns.note(f"B {batch}, P {proxies}", partial(step, fast, *larger))
        table.figure(f"B {batch}, P {proxies}", "hier, s", turns.median(f"B {batch}, P {proxies}"))
    table.end()


def made_up(batch: int, proxies: int) -> tuple[HierRegularizer, Tensor, Tensor]:
    """A regulariser, and embeddings around class centres, four images of each class."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    module = HierRegularizer(
        proxies, DIM, curvature=C, clip_radius=CLIP_RADIUS, neighbours=20, triplets_per_anchor=50,
        temperature=0.1, margin=0.1, generator=generator,
    )  # fmt: skip
    labels = torch.arange(batch) // 4
    centres = torch.randn(batch // 4, DIM, generator=generator)
    u = 0.2 * (centres[labels] + 0.7 * torch.randn(batch, DIM, generator=generator))
    return module.to(device), exp0(u, C, CLIP_RADIUS).to(device), labels.to(device)


def step(loss: Loss, module: HierRegularizer, z: Tensor, labels: Tensor) -> None:
    """One forward and backward."""
    module.proxies.grad = None
    generator = torch.Generator(z.device if loss is fast else "cpu").manual_seed(1)
    loss(module, z.requires_grad_(), labels, generator).backward()


def memory_of(side: str) -> int:
    """Bytes that a side takes at its peak, in a process of its own."""
    command = [sys.executable, __file__, "--memory", side]
    return int(subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout)


def memory_here(loss: Loss) -> int:
    """Bytes that this process takes at its peak beyond what the inputs and a small step took."""
    step(loss, *made_up(20, 20))
    case = made_up(180, 512)
    before = peak_memory(case[1].device)
    step(loss, *case)
    return peak_memory(case[1].device) - before


if __name__ == "__main__":
    main()
