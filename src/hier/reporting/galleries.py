"""The same queries in every run of a dataset, and where HIER and another method differ on them."""

from collections import Counter
from typing import Any, NamedTuple

from hier.config.run import Run
from hier.results.paper import name_of

Views = dict[str, dict[str, Any]]  # by run, views.json


class Duel(NamedTuple):
    """A HIER run and one of another method with the same backbone, dimension and seed.

    A query is right if its nearest neighbour is of its class. Numbers of shared queries.
    """

    hier: str
    other: str
    name: str  # of the other's method
    won: int  # HIER right, the other wrong
    lost: int
    both: int  # right in both
    neither: int


class Comparison:
    """The runs of one dataset beside each other.

    Args:
        runs: in the order of the suite; all have the same shared queries.
        settings: of every run of the suite.
    """

    def __init__(self, runs: Views, settings: dict[str, Run]) -> None:
        self.names = list(runs)
        self.settings = {name: settings[name] for name in runs}
        self.queries = [
            {query["row"]: query for query in views["galleries"]["shared"]}
            for views in runs.values()
        ]

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
        by_method = [self.settings[name].method == "hier" for name in self.names]
        setting = [_setting(self.settings[name]) for name in self.names]
        numbers = range(len(self.names))
        return [
            self._duel(hier, other)
            for hier in numbers
            for other in numbers
            if by_method[hier] and not by_method[other] and setting[hier] == setting[other]
        ]

    def _duel(self, hier: int, other: int) -> Duel:
        found = Counter(marks[hier] + marks[other] for marks in map(self.right, self.rows()))
        counts = (found[pair] for pair in ("10", "01", "11", "00"))
        return Duel(self.names[hier], self.names[other], self.method(other), *counts)


def _setting(run: Run) -> tuple[str, int, int]:
    return run.backbone.name, run.dim, run.seed
