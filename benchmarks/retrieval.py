"""What Recall@K costs beside the matrix product alone, a search row by row, and faiss.

    python benchmarks/retrieval.py            at the sizes of In-Shop and SOP; some minutes on 2 cores
    python benchmarks/retrieval.py --quick    8,000 × 8,000, half of each bound; some 20 seconds
    python benchmarks/retrieval.py --queries 20000 --gallery 20000

All take turns in one process, each round anew, on made-up embeddings whose items lie around random
class centres, half of them on the clip radius. It prints a Markdown table with the median ratios of
the rounds and their spread, and exits with 1 where a bound is missed.

The search row by row and pytorch-metric-learning's AccuracyCalculator (with faiss, as many neighbours
as the largest K asks for) work on a sample of the queries against the whole gallery; their times are
scaled to all queries.
"""

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from hier.evaluation.ranks import TILE
from hier.evaluation.recall import Metric, recall_at_k
from hier.geometry.poincare import distance_matrix, exp0

C, CLIP_RADIUS, DIM = 0.1, 2.3, 128
ROWS, LISTED = 50, 2000
"""Queries in the samples of the search row by row and of the AccuracyCalculator."""
METRICS: tuple[Metric, ...] = ("poincare", "cosine")


@dataclass(frozen=True)
class Setting:
    """How large the problem is."""

    name: str
    queries: int
    gallery: int  # 0: the queries are the gallery
    classes: int
    ks: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.queries:,} × {self.items:,}"

    @property
    def items(self) -> int:
        return self.gallery or self.queries


# The smaller first: the peak memory is that of the process so far.
SETTINGS = (
    Setting("In-Shop", 14_218, 12_612, 3_985, (1, 10, 20, 30)),
    Setting("SOP", 60_502, 0, 11_316, (1, 10, 100, 1000)),
)
QUICK = Setting("quick", 8_000, 0, 1_500, (1, 10, 100, 1000))


@dataclass(frozen=True)
class Sides:
    """Embeddings on the ball and labels of the queries and the gallery."""

    query: Tensor
    query_labels: Tensor
    gallery: Tensor
    gallery_labels: Tensor


@dataclass
class Times:
    """Seconds of each round, by what was timed."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, work: Callable[[], object], share: float = 1.0) -> None:
        """Time `work`, which does a share of what is asked for."""
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.setdefault(name, []).append((time.perf_counter() - started) / share)

    def ratios(self, name: str, to: str) -> list[float]:
        return [a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True)]


def main(arguments: list[str] | None = None) -> None:
    """Run the rounds, print the table."""
    options = parse(arguments)
    settings = [QUICK] if options.quick else list(SETTINGS)
    if options.queries:
        classes = max(1, options.queries * 11_316 // 60_502)
        settings = [Setting("custom", options.queries, options.gallery, classes, QUICK.ks)]
    ease = 2.0 if options.quick else 1.0
    print(
        "| setting | compared | median | spread | bound | seconds |\n|---|---|---:|---:|---:|---:|"
    )
    missed = [compare(setting, options.rounds, ease) for setting in settings]
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"\n{torch.get_num_threads()} threads, torch {torch.__version__}, load {load}")
    sys.exit(1 if any(missed) else 0)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="8,000 × 8,000, half of each bound")
    parser.add_argument("--queries", type=int, default=0, metavar="N", help="this many instead")
    parser.add_argument("--gallery", type=int, default=0, metavar="N", help="0: the queries")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each (3)")
    return parser.parse_args(arguments)


def compare(setting: Setting, rounds: int, ease: float) -> bool:
    """Print the setting's rows; whether a bound is missed."""
    sides, times, memory = made_up(setting), Times(), 0
    calculator = accuracy_calculator(setting)
    rows, listed = min(ROWS, setting.queries), min(LISTED, setting.queries)
    for _ in range(rounds):
        for metric in METRICS:
            times.note(metric, partial(ours, sides, setting, metric))
        memory = memory or peak_memory(sides.query.device)  # before the others have taken any
        times.note("product", partial(products, sides))
        times.note("row by row", partial(row_by_row, sides, rows), rows / setting.queries)
        if calculator:
            times.note("faiss", partial(calculator, sides, listed), listed / setting.queries)
    missed = False
    for metric in METRICS:
        missed |= row(setting, times, metric, "product", 1.5 * ease, least=False)
        missed |= row(setting, times, "row by row", metric, 20 / ease, least=True)
        if calculator and metric == "cosine":
            missed |= row(setting, times, "faiss", metric, 3 / ease, least=True)
    print(f"| {setting} | peak memory, GB | {memory / 1e9:.2f} | | ≤ 2 | |", flush=True)
    return missed or memory > 2e9


def row(setting: Setting, times: Times, name: str, to: str, bound: float, least: bool) -> bool:
    """Print one ratio; whether it misses its bound."""
    ratios = times.ratios(name, to)
    median = statistics.median(ratios)
    seconds = " / ".join(f"{statistics.median(times.seconds[which]):.2f}" for which in (name, to))
    print(
        f"| {setting} | {name} / {to} | {median:.2f} | {min(ratios):.2f}–{max(ratios):.2f} "
        f"| {'≥' if least else '≤'} {bound:g} | {seconds} |",
        flush=True,
    )
    return median < bound if least else median > bound


def made_up(setting: Setting) -> Sides:
    """Items around the centres of random classes, half of them clipped."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(setting.classes, DIM, generator=generator)
    total = setting.queries + setting.gallery
    labels = torch.randint(setting.classes, (total,), generator=generator)
    u = centres[labels] + torch.randn(total, DIM, generator=generator)
    u *= 2 * CLIP_RADIUS * torch.rand(total, 1, generator=generator) / u.norm(dim=1, keepdim=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, labels = exp0(u, C, CLIP_RADIUS).to(device), labels.to(device)
    start = setting.queries if setting.gallery else 0
    return Sides(x[: setting.queries], labels[: setting.queries], x[start:], labels[start:])


def ours(sides: Sides, setting: Setting, metric: Metric) -> None:
    recall_at_k(
        sides.query, sides.query_labels, sides.gallery, sides.gallery_labels, setting.ks,
        metric, C if metric == "poincare" else None, exclude_self=not setting.gallery,
    )  # fmt: skip


def products(sides: Sides) -> None:
    """All float32 products of queries and gallery, in the tiles that Recall@K takes."""
    queries, items = TILE[sides.query.device.type]
    buffer = sides.query.new_empty(queries * items)
    for query in sides.query.split(queries):
        for gallery in sides.gallery.split(items):
            out = buffer[: len(query) * len(gallery)].view(len(query), len(gallery))
            torch.mm(query, gallery.T, out=out)


def row_by_row(sides: Sides, rows: int) -> list[int]:
    """Where the nearest own item of each of the first `rows` queries is in its sorted list, from 0;
    −1 where it has none. A query that is in the gallery finds itself.
    """
    places = []
    for i in range(rows):
        nearest = distance_matrix(sides.query[i : i + 1], sides.gallery, C)[0].argsort()
        own = (sides.gallery_labels[nearest] == sides.query_labels[i]).nonzero()
        places.append(int(own[0]) if len(own) else -1)
    return places


def accuracy_calculator(setting: Setting) -> Callable[[Sides, int], object] | None:
    """Precision@1 from faiss's lists of as many neighbours as the largest K; None without faiss."""
    try:
        import faiss
    except ImportError:
        print("(faiss is not installed: no comparison with it)", file=sys.stderr)
        return None
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    faiss.omp_set_num_threads(torch.get_num_threads())
    most = min(max(setting.ks), setting.items)
    calculator = AccuracyCalculator(include=("precision_at_1",), k=most)

    def search(sides: Sides, rows: int) -> object:
        return calculator.get_accuracy(
            sides.query[:rows], sides.query_labels[:rows], sides.gallery, sides.gallery_labels
        )

    return search


def peak_memory(device: torch.device) -> int:
    """Bytes allocated on the GPU, or resident in this process, at the most so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
