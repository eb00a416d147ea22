"""The one list of measures: what `evaluate` computes, and how all that comes after it shows it.

A measure is added here alone. metrics.json has the measures by their keys, in this order; table, pages,
expected values and plots take names, digits and directions from here. Nothing heavy is imported: `compute`
gets objects of hier.stages.evaluate and hier.evaluation, by their attributes.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """A number, or a family of numbers such as Recall@K for each K of the dataset."""

    key: str  # its name in metrics.json
    title: str  # its name in tables and pages; of a family with `{}` in place of K or of the level
    # gives its value as JSON, of a family a mapping by what stands for `{}`; None where it is not defined.
    # The argument is an Evaluation, or for TREES an Agreement.
    compute: Callable[[Any], Any]
    percent: bool = True  # whether it is a share, shown times 100
    higher_is_better: bool = True  # its direction
    digits: int = 2  # how many are shown after the point
    graded: bool = True  # whether it is a column of the table, which is held against expected values
    everywhere: bool = True  # whether it is defined for every run
    shares: str = "class"  # what a query and a right neighbour have in common
    # key of the number of queries that no neighbour can be right for.
    without_match: str = "queries_without_match"
    leaves_out: bool = False  # whether it leaves those out whatever `evaluate.unmatched` says
    meaning: str = ""  # in words

    @property
    def family(self) -> bool:
        return "{}" in self.title

    def name(self, of: object = "") -> str:
        """The name of a column: of a family for one K or level."""
        return self.title.format(of)

    def member(self, name: str) -> str | None:
        """The K or level that a column's name is of, "" for no family; None for another measure's."""
        if not self.family:
            return "" if name == self.title else None
        before, _, after = self.title.partition("{}")
        inside = name.removeprefix(before).removesuffix(after)
        return inside if self.name(inside) == name else None

    def names(self, members: Iterable[object]) -> list[str]:
        """The names of its columns: of a family for each K or level."""
        return [self.name(of) for of in members] if self.family else [self.title]

    def values(self, found: Any) -> dict[str, float]:
        """What metrics.json holds under the key, by column, as it is shown; ValueError where it is no
        mapping of K to a number, or a number is none that the measure can have."""
        if self.family and not isinstance(found, dict):
            raise ValueError(f"{self.key} is no mapping of K to a number")
        shares = {self.name(k): v for k, v in (found if self.family else {"": found}).items()}
        least, most = (0, 1) if self.percent else (-sys.float_info.max, sys.float_info.max)
        for name, value in shares.items():
            if type(value) not in (int, float) or not least <= value <= most:
                kind = "number from 0 to 1" if self.percent else "finite number"
                raise ValueError(f"{name} is {str(value)[:40]!r}, which is no {kind}")
        return {k: float(100 * v if self.percent else v) for k, v in shares.items()}

    def show(self, value: float | None) -> str:
        """A value as tables and pages show it."""
        return "–" if value is None or math.isnan(value) else f"{value:.{self.digits}f}"


RECALL = Measure("recall", "R@{}", lambda of: of.retrieval.class_recall(of.ks))
SUPERCLASS_RECALL = Measure(
    "superclass_recall", "super-class R@{}", lambda of: of.retrieval.superclass_recall(of.ks),
    everywhere=False, shares="super-class", without_match="superclass_queries_without_match",
)  # fmt: skip
FEATURE_RECALL = Measure(
    "feature_recall",
    "features R@{}",
    lambda of: of.features and of.features.class_recall(of.ks),
    everywhere=False,
)
HEADLINE = RECALL.name(1)
"""The column by which methods are compared and epochs are chosen."""


def _other(key: str, compute: Callable[[Any], Any], title: str = "", **more: Any) -> Measure:
    """What metrics.json holds beside the columns of the table."""
    more = {"percent": False, "graded": False, "everywhere": False} | more
    return Measure(key, title or key, compute, **more)


def _count(key: str) -> Measure:
    return _other(key, lambda of: of.retrieval.counts().get(key))


COUNTS = ("queries", "queries_without_match", "superclass_queries_without_match", "gallery")
# Of a tree of images, with a 95 % interval: `value`, `low`, `high`.
TREES = (
    Measure(
        "dendrogram_purity", "purity by {}", digits=1,
        compute=lambda of: {t: of.dendrogram_purity(i) for i, t in enumerate(of.levels.titles)},
        meaning="Dendrogram purity: pick two images of a kind; of the smallest subtree with both, the "
        "percentage that is of that kind.",
    ),
    Measure(
        "lca_spearman", "LCA Spearman", percent=False,
        compute=lambda of: of.spearman() if len(of.levels.titles) > 1 else None,
        meaning="LCA Spearman: correlation (−1 to 1) of distances in the tree with distances in the known "
        "levels.",
    ),
    _other("purity_by_depth", lambda of: of.purity_by_depth()),
)  # fmt: skip

MEASURES = (
    RECALL,
    SUPERCLASS_RECALL,
    FEATURE_RECALL,
    Measure("map_at_r", "MAP@R", lambda of: of.retrieval.map_at_r(), leaves_out=True),
    _other("clip_share", lambda of: of.clip_share(), "Embeddings on the clip radius", percent=True),
    *map(_count, COUNTS),
    _other("best_on_test", lambda of: of.best_on_test),
    _other("hierarchy", lambda of: of.trees and of.trees.metrics(lambda t: computed(TREES, t))),
)


def computed(measures: Iterable[Measure], of: Any) -> dict[str, Any]:
    """The values of measures by their keys, without those that are not defined."""
    found = ((measure.key, measure.compute(of)) for measure in measures)
    return {key: value for key, value in found if value is not None}


def graded() -> Iterator[Measure]:
    """The measures of the table, in the order of its columns."""
    return (measure for measure in MEASURES if measure.graded)


def measure_of(name: str) -> Measure:
    """The measure that a column of the table is of; of an unknown name one with the usual digits."""
    known = (measure for measure in graded() if measure.member(name) is not None)
    return next(known, Measure(name, name, lambda _: None))


def show(name: str, value: float | None) -> str:
    """A value of a column as tables and pages show it."""
    return measure_of(name).show(value)


def values(metrics: dict[str, Any]) -> dict[str, float]:
    """The values of a metrics file as they are shown, by the names of the table's columns; ValueError
    where one is lacking, or is none that its measure can have."""
    if lacking := [m.key for m in graded() if m.everywhere and m.key not in metrics]:
        raise ValueError(f"it holds no {lacking[0]}")
    had = (measure for measure in graded() if measure.key in metrics)
    return {name: value for m in had for name, value in m.values(metrics[m.key]).items()}


def names_of_every_run(ks: Iterable[int]) -> list[str]:
    """The columns that every run of a dataset with these K has."""
    return [name for measure in graded() if measure.everywhere for name in measure.names(ks)]


def judged(measure: Measure, metrics: dict[str, Any], leaves_out: bool) -> dict[str, int]:
    """Of how many queries a measure is the mean: `queries`, `unmatched` (how many of these can never be
    right and count as misses), `left_out` (how many more are not judged, since they cannot be right:
    `leaves_out` is whether `evaluate.unmatched` says so). Empty where the metrics do not say."""
    if "queries_without_match" not in metrics:
        return {}
    every = metrics["queries"] + metrics["queries_without_match"] * leaves_out
    without, out = metrics.get(measure.without_match, 0), leaves_out or measure.leaves_out
    unmatched, left_out = without * (not out), without * out
    return {"queries": every - left_out, "unmatched": unmatched, "left_out": left_out}


def unmatched_in_words(measure: Measure, without: int, every: int, left_out: bool, runs: str = "") -> str:
    """How many queries can never be right in a measure, and what becomes of them in it (they are left out,
    or count as misses) and in those that ask for the same; `runs` names the runs, where not all."""
    out = [m.name("K") for m in graded() if m.leaves_out and m.shares == measure.shares]
    if left_out:
        out = [measure.name("K"), *out]
    fate = [] if left_out else [f"counted as misses in {measure.name('K')}"]
    fate += [f"left out of {' and '.join(out)}"] if out else []
    return (
        f"{without} of {every} queries can never be right, having no other image of their "
        f"{measure.shares} to find; they are {' and '.join(fate)}{runs and f' in {runs}'} "
        "(evaluate.unmatched)"
    )
