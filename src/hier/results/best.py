"""Which method has the highest mean over seeds, and from which others that tells it apart.

Every sentence and every bold figure that names a best comes from here. Only methods of one dataset,
backbone and dimension are held against each other.
"""

from collections.abc import Iterable, Sequence
from math import nan, sqrt
from statistics import mean, stdev, variance
from typing import NamedTuple, Self

import pandas as pd

GROUP = ["dataset", "backbone", "dim"]
RULE = (
    "Two means are told apart where Welch's 95 % interval of their difference, over the seeds, does not "
    "hold 0."
)


class Score(NamedTuple):
    """A method's mean of a measure in percent, over `seeds` runs; `sd` is NaN of one."""

    method: str
    mean: float
    sd: float
    seeds: int

    @classmethod
    def of(cls, method: str, values: Sequence[float]) -> Self:
        several = len(values) > 1
        return cls(method, mean(values), stdev(values) if several else nan, len(values))

    def in_words(self) -> str:
        return f"{self.figure()} ({'one seed' if self.seeds == 1 else f'{self.seeds} seeds'})"

    def figure(self) -> str:
        """As a table shows it."""
        return f"{self.mean:.2f}" + (f" ± {self.sd:.2f}" if self.seeds > 1 else "")


class Standing(NamedTuple):
    """The methods of a dataset, backbone and dimension, each in one of four places, by their means.

    `first` have the highest mean, to the two decimals that are shown; `alike` are not told apart
    from it, `lower` are, and of `unknown` that is not known, since one side has one seed.
    """

    dataset: str
    backbone: str
    dim: int
    first: list[Score]
    alike: list[Score]
    lower: list[Score]
    unknown: list[Score]


def standings(cells: pd.DataFrame, measure: str) -> list[Standing]:
    """Who stands where in a measure, for each group in which two methods or more have a figure."""
    had = cells[(cells["measure"] == measure) & cells["value"].notna()]
    found = []
    for (dataset, backbone, dim), group in had.groupby(GROUP, sort=False):
        values = {str(m): of.tolist() for m, of in group.groupby("method", sort=False)["value"]}
        if len(values) > 1:
            found.append(Standing(str(dataset), str(backbone), int(dim), *_places(values)))
    return found


def _places(values: dict[str, list[float]]) -> tuple[list[Score], ...]:
    scores = sorted((Score.of(*item) for item in values.items()), key=lambda score: -score.mean)
    shown = round(scores[0].mean, 2)
    first = [score for score in scores if round(score.mean, 2) == shown]
    alike, lower, unknown = list[Score](), list[Score](), list[Score]()
    for score in scores[len(first) :]:
        verdicts = {told_apart(values[best.method], values[score.method]) for best in first}
        place = unknown if None in verdicts else alike if False in verdicts else lower
        place.append(score)
    return sorted(first, key=lambda score: list(values).index(score.method)), alike, lower, unknown


def told_apart(one: Sequence[float], other: Sequence[float]) -> bool | None:
    """Whether Welch's 95 % interval of the difference of two means leaves out 0; None where one side
    has a single value, which has no spread.
    """
    if min(len(one), len(other)) < 2:
        return None
    apart = abs(mean(one) - mean(other))
    parts = [(variance(values) / len(values), len(values) - 1) for values in (one, other)]
    error = sum(part for part, _ in parts)
    if error == 0:
        return apart > 0
    from scipy.special import stdtrit

    freedom = error**2 / sum(part**2 / n for part, n in parts)
    return bool(apart > stdtrit(freedom, 0.975) * sqrt(error))


def highest(values: pd.Series, groups: Iterable[pd.Series]) -> pd.Series:
    """Whether each value (percent) shows as the highest of its group, in which there is another."""
    by = values.round(2).groupby(list(groups), sort=False)
    marked: pd.Series = (values.round(2) == by.transform("max")) & (by.transform("count") > 1)
    return marked


def best_in_words(cells: pd.DataFrame) -> list[str]:
    """For each group of standings by R@1 a sentence, and where means were compared, the rule."""
    found = standings(cells, "R@1")
    datasets = [standing.dataset for standing in found]
    sentences = [_sentence(s, several=datasets.count(s.dataset) > 1) for s in found]
    return [*sentences, RULE] if any(s.alike or s.lower for s in found) else sentences


def _sentence(standing: Standing, several: bool) -> str:
    first, rest = standing.first, standing.unknown
    setting = f" ({standing.backbone}, D {standing.dim})" if several else ""
    names = " and ".join(score.method for score in first)
    start = (
        f"R@1 on {standing.dataset}'s unseen classes{setting}: {names} "
        f"{'has' if len(first) == 1 else 'have'} the highest "
    )
    if any(score.seeds == 1 for score in first):
        following = f"; the next is {rest[0].method} with {_next(rest[0])}" if rest else ""
        return (
            f"{start}figure, {first[0].mean:.2f} (one seed, no spread known){following}. "
            "One seed does not tell methods apart."
        )
    parts = {
        "Not told apart from it": standing.alike,
        "Lower": standing.lower,
        "Not known, for want of a spread": rest,
    }
    tails = [f" {words}: {_listed(scores)}." for words, scores in parts.items() if scores]
    return f"{start}mean, {' and '.join(score.in_words() for score in first)}.{''.join(tails)}"


def _next(score: Score) -> str:
    return score.figure() if score.seeds == 1 else score.in_words()


def _listed(scores: Iterable[Score]) -> str:
    return ", ".join(f"{score.method} {score.in_words()}" for score in scores)


def means(cells: pd.DataFrame) -> list[tuple[tuple[str, str, int, str], dict[str, Score]]]:
    """By dataset, backbone, dimension and method, the score of each measure that has a figure."""
    had = cells[cells["value"].notna()]
    found: dict[tuple[str, str, int, str], dict[str, Score]] = {}
    for (*setting, measure), group in had.groupby([*GROUP, "method", "measure"], sort=False):
        dataset, backbone, dim, method = setting
        key = (str(dataset), str(backbone), int(dim), str(method))
        found.setdefault(key, {})[str(measure)] = Score.of(key[3], group["value"].tolist())
    return list(found.items())
