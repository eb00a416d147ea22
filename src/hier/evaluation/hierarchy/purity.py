"""How well a tree of images agrees with the known levels of their classes.

Every measure has a 95 % interval by a bootstrap over classes: a pair of images counts as often as the
pair of their classes was drawn. The tree, its purities and the ranks of distances stay, so that a draw
costs two products with a matrix of classes × classes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.evaluation.hierarchy.levels import Integers, Levels
from hier.evaluation.hierarchy.tree import Tree
from hier.seeding import numpy_generator

Values = NDArray[np.float64]

DRAWS = 1000
DEEPEST = 12  # depth down to which subtrees are looked at


def purity_by_depth(tree: Tree, levels: Levels) -> list[dict[str, Any]]:
    """For each depth the number of nodes with images below, the number of those images, and by level
    the share of them, in percent, that is of the most frequent kind below its node.
    """
    depths, size = tree.depths()[:-1], tree.sizes()[:-1]
    per_level = [tree.counts(*kinds)[:-1] for kinds in levels.kinds()]
    rows = []
    for depth in range(1, min(depths.max(initial=0), DEEPEST) + 1):
        here = (depths == depth) & (size > 0)
        images = int(size[here].sum())
        if images == 0:
            break
        largest = [int(counts[here].max(1).sum()) for counts in per_level]
        purity = {t: _percent(n / images) for t, n in zip(levels.titles, largest, strict=True)}
        rows.append({"depth": depth, "nodes": int(here.sum()), "images": images, "purity": purity})
    return rows


class Agreement:
    """How a tree of N images agrees with their levels, from all ordered pairs of two of them, of which
    at least one is of one class. The images stand in the order of their C classes.
    """

    def __init__(self, tree: Tree, levels: Levels) -> None:
        self.tree, self.levels = tree, levels
        by_class = np.argsort(levels.codes[0], kind="stable")
        self.codes = levels.codes[:, by_class]
        self.first = np.flatnonzero(np.diff(self.codes[0], prepend=-1))
        self.ancestor = tree.lowest_common()[np.ix_(by_class, by_class)]
        self.draws = _draws(len(self.first))

    def dendrogram_purity(self, level: int) -> dict[str, float]:
        """The share of a kind in the smallest subtree with two of that kind, mean over all such pairs
        (Heller and Ghahramani, "Bayesian Hierarchical Clustering", ICML 2005; exact)."""
        counts = self.tree.counts(*self.levels.kinds()[level])
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        kind = self.codes[level]
        same = kind[:, None] == kind[None, :]
        np.fill_diagonal(same, False)
        shares = np.where(same, share[self.ancestor, kind[:, None]], 0.0)
        total, pairs = (self._totals(self._by_class(part)) for part in (shares, same.astype(float)))
        with np.errstate(invalid="ignore"):  # a draw may have no pair
            return _interval(total / pairs, _percent)

    def spearman(self) -> dict[str, float]:
        """Spearman's correlation of the distances of pairs in the tree and in the known levels.

        In the tree, two images are as far apart as the smallest subtree with both has images; in the
        levels, as many as one has to go up to the first that they share. 0 where the tree, or the
        levels, have all pairs equally far apart.
        """
        images = len(self.ancestor)
        members = np.diff(self.first, append=images)
        pairs = np.outer(members, members) - np.diag(members)
        y = _ranks(_steps(self.codes[:, self.first]), pairs)
        x = _ranks(self.tree.sizes()[self.ancestor], 1 - np.eye(images, dtype=np.int64))
        np.fill_diagonal(x, 0.0)
        x_sum, xx_sum = self._by_class(x), self._by_class(x**2)
        sums = (pairs, x_sum, pairs * y, xx_sum, pairs * y**2, x_sum * y)
        drawn = _correlation(*(self._totals(part.astype(float)) for part in sums))
        if np.isnan(drawn[0]):
            return {"value": 0.0, "low": 0.0, "high": 0.0}
        return _interval(drawn, lambda value: round(float(value), 4))

    def purity_by_depth(self) -> list[dict[str, Any]]:
        return purity_by_depth(self.tree, self.levels)

    def _by_class(self, values: Values) -> Values:
        """Sums over the pairs of every two classes (C×C) of a value for every pair (N×N)."""
        sums: Values = np.add.reduceat(np.add.reduceat(values, self.first, 0), self.first, 1)
        return sums

    def _totals(self, sums: Values) -> Values:
        """The sum over all classes, then for each draw (1 + DRAWS). Two draws of one class make no pairs
        with each other: their images are the same."""
        within = np.diag(sums)
        across = sums - np.diag(within)
        totals: Values = ((self.draws @ across) * self.draws).sum(1) + self.draws @ within
        return totals


def _steps(codes: Integers) -> Integers:
    """How many levels two of C classes (L×C codes) have to go up to the first that they share (C×C)."""
    steps = np.full((codes.shape[1], codes.shape[1]), len(codes))
    for level in range(len(codes))[::-1]:
        steps[codes[level][:, None] == codes[level][None, :]] = level
    return steps


def _ranks(values: Integers, weights: Integers) -> Values:
    """Average ranks of small integers that count as often as their weights, between −1/2 and 1/2."""
    often = np.bincount(values.ravel(), weights.ravel())
    ranks = (np.cumsum(often) - often / 2.0) / max(often.sum(), 1.0) - 0.5
    return ranks[values]


def _draws(classes: int) -> Values:
    """How often each class is taken: all once, then for each draw (1 + DRAWS × C)."""
    generator = numpy_generator(0, "bootstrap over classes")
    drawn = generator.multinomial(classes, np.full(classes, 1.0 / classes), DRAWS)
    return np.vstack([np.ones(classes), drawn])


def _correlation(n: Values, x: Values, y: Values, xx: Values, yy: Values, xy: Values) -> Values:
    """Pearson's correlation from a number of pairs and sums over them; NaN where one side is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        across_x, across_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
        varies = (across_x > 1e-12) & (across_y > 1e-12)
        spread = np.sqrt(np.where(varies, across_x * across_y, np.nan))
        correlation: Values = (xy / n - x * y / n**2) / spread
    return correlation


def _interval(drawn: Values, shown: Callable[[float], float]) -> dict[str, float]:
    """Value and 95 % interval of a statistic of the whole and of each draw."""
    low, high = np.nanpercentile(drawn[1:], [2.5, 97.5])
    return {"value": shown(drawn[0]), "low": shown(low), "high": shown(high)}


def _percent(share: float) -> float:
    return round(100.0 * float(share), 4)
