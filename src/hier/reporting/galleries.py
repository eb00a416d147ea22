"""The same queries in every run of a dataset, and where HIER and another method differ on them."""

from collections import Counter
from itertools import product
from typing import Any, NamedTuple

from hier.config.run import Run
from hier.results.paper import name_of

Views = dict[str, dict[str, Any]]  # by run, views.json


class Duel(NamedTuple):
    """A HIER run and one of another method with the same backbone, dimension and seed, by numbers of
    shared queries; one is right if its nearest neighbour is of its class."""

    hier: str
    other: str
    name: str  # of the other's method
    won: int  # HIER right, the other wrong
    lost: int
    both: int  # right in both
    neither: int


class Comparison:
    """The runs of one dataset beside each other, by the settings of every run of the suite."""

    def __init__(self, runs: Views, settings: dict[str, Run]) -> None:
        self.names = list(runs)
        self.settings = {name: settings[name] for name in runs}
        shared = (views["galleries"]["shared"] for views in runs.values())
        self.queries = [{query["row"]: query for query in queries} for queries in shared]

    def rows(self) -> list[int]:
        """Rows of the shared queries, in the order of the first run that has them."""
        return list(dict.fromkeys(row for queries in self.queries for row in queries))

    def query(self, run: int, row: int) -> dict[str, Any] | None:
        """A query of a run, by its number; None where it has not got it."""
        return self.queries[run].get(row)

    def right(self, row: int) -> str:
        """For each run 1 where the query is right, 0 where it is wrong, - where there is none."""
        found = (queries.get(row) for queries in self.queries)
        return "".join("-" if query is None else str(int(query["correct"])) for query in found)

    def groups(self) -> dict[str, list[int]]:
        """The numbers of the runs with one backbone, dimension and seed, by these in words; none
        where there is only one such group of several runs."""
        found: dict[str, list[int]] = {}
        for number, name in enumerate(self.names):
            backbone, dim, seed = _setting(self.settings[name])
            found.setdefault(f"{backbone}, {dim} dimensions, seed {seed}", []).append(number)
        several = {words: numbers for words, numbers in found.items() if len(numbers) > 1}
        return several if len(several) > 1 else {}

    def repeats(self) -> bool:
        """Whether two runs are of one method, so that its name does not tell them apart."""
        return len({run.method for run in self.settings.values()}) < len(self.names)

    def method(self, run: int) -> str:
        """What the paper calls a run's method."""
        return name_of(self.settings[self.names[run]].method)

    def duels(self) -> list[Duel]:
        """Every HIER run against every other method in its setting."""
        marks, found = [*map(self.right, self.rows())], []
        runs = [*enumerate(self.settings.items())]
        for (hier, (name, run)), (other, (other_name, other_run)) in product(runs, runs):
            fits = run.method == "hier" != other_run.method and _setting(run) == _setting(other_run)
            if fits:
                pairs = Counter(of[hier] + of[other] for of in marks)
                counts = (pairs[pair] for pair in ("10", "01", "11", "00"))
                found.append(Duel(name, other_name, self.method(other), *counts))
        return found


def _setting(run: Run) -> tuple[str, int, int]:
    return run.backbone.name, run.dim, run.seed
