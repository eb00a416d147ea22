"""What Recall@K costs beside the matrix product alone, a search row by row, and faiss.

    python benchmarks/retrieval.py            at the sizes of In-Shop and SOP; some minutes on 2 cores
    python benchmarks/retrieval.py --quick    In-Shop alone, half of each bound; some 30 seconds
    python benchmarks/retrieval.py --queries 20000 --gallery 20000

All take turns in one process and one thread, each round anew, on made-up embeddings whose items lie
around random class centres, half of them on the clip radius. It prints a Markdown table with the
median ratios of the rounds and their spread, and exits with 1 where a bound is missed.

The search row by row and, beyond 20,000 queries, pytorch-metric-learning's AccuracyCalculator (with
faiss, as many neighbours as the largest K asks for) work on a sample of the queries against the whole
gallery; their times are scaled to all queries.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

import checkout  # noqa: F401
from hier.evaluation.retrieval.recall import Metric, recall_at_k
from hier.evaluation.retrieval.tiles import TILE
from hier.geometry.poincare import distance_matrix, exp0
from hier.geometry.products import inner_products
from interleaved import Table, Turns, peak_memory

C, CLIP_RADIUS, DIM = 0.1, 2.3, 128
ROWS, LISTED, LISTED_WHOLE = 50, 2000, 20_000
"""Queries in the samples of the search row by row and of the AccuracyCalculator, and how many it
takes as they are."""
SHORT, MOST_TIMES = 100_000, 10
"""Fewer queries are looked for again and again in a turn, up to this many or this often."""
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


@dataclass(frozen=True)
class Sides:
    """Embeddings on the ball and labels of the queries and the gallery."""

    query: Tensor
    query_labels: Tensor
    gallery: Tensor
    gallery_labels: Tensor


def main(arguments: list[str] | None = None) -> None:
    """Run the rounds, print the table."""
    options = parse(arguments)
    torch.set_num_threads(1)
    threadpool_limits(1)  # NumPy's threads and PyTorch's would wait for each other
    settings = list(SETTINGS[:1] if options.quick else SETTINGS)
    if options.queries:
        classes = max(1, options.queries * 11_316 // 60_502)
        settings = [Setting("custom", options.queries, options.gallery, classes, SETTINGS[-1].ks)]
    ease = 2.0 if options.quick else 1.0
    table = Table(lenient=options.quick)
    for setting in settings:
        compare(table, setting, options.rounds, ease)
    table.end()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="In-Shop's size alone, half of each bound")
    parser.add_argument("--queries", type=int, default=0, metavar="N", help="this many instead")
    parser.add_argument("--gallery", type=int, default=0, metavar="N", help="0: the queries")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each (3)")
    return parser.parse_args(arguments)


def compare(table: Table, setting: Setting, rounds: int, ease: float) -> None:
    """Run the rounds of a setting, print its rows."""
    sides, turns, memory = made_up(setting), Turns(), 0
    calculator = accuracy_calculator(setting)
    rows, listed = min(ROWS, setting.queries), setting.queries
    if listed > LISTED_WHOLE:
        listed = LISTED
    times = min(MOST_TIMES, max(1, SHORT // setting.queries))
    for _ in range(rounds):
        for metric in METRICS:
            turns.note(metric, partial(again, partial(ours, sides, setting, metric), times), times)
        memory = memory or peak_memory(sides.query.device)  # before the others have taken any
        turns.note("product", partial(again, partial(products, sides), times), times)
        turns.note("row by row", partial(row_by_row, sides, rows), rows / setting.queries)
        if calculator:
            turns.note("faiss", partial(calculator, sides, listed), listed / setting.queries)
    for metric in METRICS:
        table.ratio(setting, turns, metric, "product", at_most=1.5 * ease)
        table.ratio(setting, turns, "row by row", metric, at_least=20 / ease)
        if calculator and metric == "cosine":
            table.ratio(setting, turns, "faiss", metric, at_least=1.5 / ease)
    table.figure(setting, "peak memory, GB", memory / 1e9, at_most=2)


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


def again(work: Callable[[], object], times: int) -> None:
    """What takes a fraction of a second is done several times in its turn."""
    for _ in range(times):
        work()


def products(sides: Sides) -> None:
    """All float32 products of queries and gallery, in the tiles that Recall@K takes."""
    queries, items = TILE[sides.query.device.type]
    buffer = sides.query.new_empty(queries * items)
    for query in sides.query.split(queries):
        for gallery in sides.gallery.split(items):
            out = buffer[: len(query) * len(gallery)].view(len(query), len(gallery))
            inner_products(query, gallery, out)


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


if __name__ == "__main__":
    main()
