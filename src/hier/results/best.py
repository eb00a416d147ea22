"""Which method has the highest mean over seeds, and from which others that tells it apart.

Every sentence and every bold value that names a best comes from here. Only methods of one dataset,
backbone and dimension are held against each other.
"""

from collections.abc import Iterable
from math import sqrt
from typing import NamedTuple

import pandas as pd

from hier.results.means import GROUP, Mean, mean_of, means
from hier.results.measures import HEADLINE, measure_of, show

RULE = (
    "Two means are told apart where Welch's 95 % interval of their difference, over the seeds, does not "
    "hold 0."
)


class Standing(NamedTuple):
    """The methods of a dataset, backbone and dimension, each in one of four places, by their means.

    `first` have the highest mean, to the two decimals that are shown; `alike` are not told apart
    from it, `lower` are, and of `unknown` that is not known, since one side has one seed.
    """

    dataset: str
    backbone: str
    dim: int
    first: list[Mean]
    alike: list[Mean]
    lower: list[Mean]
    unknown: list[Mean]


def statuses(cells: pd.DataFrame) -> list[Standing]:
    """Who stands where by HEADLINE, for each group in which two methods or more have a value."""
    had = means(cells[(cells["measure"] == HEADLINE) & cells["value"].notna()])
    return [
        Standing(str(dataset), str(backbone), int(dim), *_places(group))
        for (dataset, backbone, dim), group in had.groupby(GROUP, sort=False)
        if len(group) > 1
    ]


def _places(group: pd.DataFrame) -> tuple[list[Mean], ...]:
    methods = [mean_of(row) for _, row in group.iterrows()]
    highest = round(max(method.mean for method in methods), 2)
    first = [method for method in methods if round(method.mean, 2) == highest]
    alike, lower, unknown = list[Mean](), list[Mean](), list[Mean]()
    for method in sorted(methods, key=lambda method: -method.mean):
        if method not in first:
            verdicts = {told_apart(best, method) for best in first}
            place = unknown if None in verdicts else alike if False in verdicts else lower
            place.append(method)
    return first, alike, lower, unknown


def told_apart(one: Mean, other: Mean) -> bool | None:
    """Whether Welch's 95 % interval of the difference of two means leaves out 0; None where one side
    has a single value, which has no spread.
    """
    if min(one.seeds, other.seeds) < 2:
        return None
    apart = abs(one.mean - other.mean)
    parts = [(of.sd**2 / of.seeds, of.seeds - 1) for of in (one, other)]
    error = sum(part for part, _ in parts)
    if error == 0:
        return apart > 0
    from scipy.special import stdtrit

    freedom = error**2 / sum(part**2 / n for part, n in parts)
    return bool(apart > stdtrit(freedom, 0.975) * sqrt(error))


def best(values: pd.Series, groups: Iterable[pd.Series], measure: str) -> pd.Series:
    """Whether each value shows as the best of its group, in which there is another."""
    of = measure_of(measure)
    shown = values.round(of.digits)
    by = shown.groupby(list(groups), sort=False)
    top = by.transform("max" if of.higher_is_better else "min")
    marked: pd.Series = (shown == top) & (by.transform("count") > 1)
    return marked


def best_in_words(cells: pd.DataFrame) -> list[str]:
    """For each group of statuses by HEADLINE a sentence, and where means were compared, the rule."""
    found = statuses(cells)
    datasets = [status.dataset for status in found]
    sentences = [_sentence(s, several=datasets.count(s.dataset) > 1) for s in found]
    return [*sentences, RULE] if any(s.alike or s.lower for s in found) else sentences


def _sentence(status: Standing, several: bool) -> str:
    first, rest = status.first, status.unknown
    setting = f" ({status.backbone}, D {status.dim})" if several else ""
    names = " and ".join(score.method for score in first)
    start = (
        f"{HEADLINE} on {status.dataset}'s unseen classes{setting}: {names} "
        f"{'has' if len(first) == 1 else 'have'} the highest "
    )
    if any(score.seeds == 1 for score in first):
        following = f"; the next is {rest[0].method} with {_next(rest[0])}" if rest else ""
        return (
            f"{start}figure, {show(HEADLINE, first[0].mean)} (one seed, no spread known){following}. "
            "One seed does not tell methods apart."
        )
    parts = {
        "Not told apart from it": status.alike,
        "Lower": status.lower,
        "Not known, for want of a spread": rest,
    }
    tails = [f" {words}: {_listed(scores)}." for words, scores in parts.items() if scores]
    return (
        f"{start}mean, {' and '.join(score.describe(HEADLINE) for score in first)}.{''.join(tails)}"
    )


def _next(score: Mean) -> str:
    return score.show(HEADLINE) if score.seeds == 1 else score.describe(HEADLINE)


def _listed(scores: Iterable[Mean]) -> str:
    return ", ".join(f"{score.method} {score.describe(HEADLINE)}" for score in scores)
