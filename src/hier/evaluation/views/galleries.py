"""What an image's nearest neighbours are, and which classes are taken for each other.

As in Recall@K, ties count against the embedding: of items that are equally far, to the rounding error
of a product, those of other classes come first.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hier.evaluation.hierarchy.balanced_sample import balanced
from hier.evaluation.hierarchy.levels import Levels
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.evaluation.retrieval.ranks import tie_width
from hier.evaluation.retrieval.recall import Pairs
from hier.evaluation.views.neighbours import Neighbours, nearest

SHARED = 24
WORST = 12
SHOWN = 8
CONFUSIONS = 20
MOST_QUERIES = 10_000
"""The most queries that are searched for errors."""
CHUNK_ELEMENTS = 2**23

Integers = NDArray[np.int64]


def galleries(retrieval: Retrieval, rows: Integers, levels: Levels) -> dict[str, Any]:
    """Queries that every run of a dataset shows, the worst of this run, and confused classes.

    Args:
        retrieval: of N embeddings.
        rows: their rows of the index.
        levels: of the same images.
    """
    search = Search(retrieval, rows, levels.codes[0])
    of_queries = levels.of(search.queries)
    looked_at = np.sort(balanced(of_queries, MOST_QUERIES, 1))
    looked_at = looked_at[retrieval.judged(levels.codes[0])[looked_at]]
    errors = search.errors(looked_at)
    pairs, which, count = np.unique(
        np.stack([errors.code, errors.taken_for]), axis=1, return_inverse=True, return_counts=True
    )
    rank = np.empty_like(count)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(count))
    of = np.bincount(of_queries.codes[0, looked_at], minlength=len(levels.names[0]))
    confusions = [
        {
            "class": levels.names[0][pairs[0, pair]],
            "taken_for": levels.names[0][pairs[1, pair]],
            "count": int(count[pair]),
            "of": int(of[pairs[0, pair]]),
        }
        for pair in np.argsort(rank)[:CONFUSIONS]
    ]
    return {
        "shared": search.shown(balanced(of_queries, SHARED, 1)),
        "worst": search.shown(_worst(errors, rank[which])),
        "confusions": confusions,
    }


class Errors(NamedTuple):
    """Queries that are wrong at rank 1."""

    query: Integers  # number among the queries
    code: Integers  # of its class
    taken_for: Integers  # class of the nearest item of another class
    gap: NDArray[np.float64]  # that item's product less the nearest own item's


def _worst(errors: Errors, rank: Integers) -> Integers:
    """Queries of the most confused pairs of classes, first one of each pair, then a second.

    Args:
        rank: of each error's pair; 0 has the most errors.
    """
    by_pair = np.lexsort((errors.query, -errors.gap, rank))
    turn = np.empty_like(rank)
    turn[by_pair] = np.arange(len(rank)) - np.searchsorted(rank[by_pair], rank[by_pair])
    return errors.query[np.lexsort((rank, turn))[:WORST]]


class Search:
    """The queries and the gallery of a run, by its metric and with its protocol's masks."""

    def __init__(self, retrieval: Retrieval, rows: Integers, codes: Integers) -> None:
        self.queries = np.flatnonzero(retrieval.query)
        self.gallery = np.flatnonzero(retrieval.gallery)
        self.rows, self.codes = rows, codes
        self.curvature: float | None = retrieval.search["c"]
        pairs = Pairs(*retrieval.sides(codes), **retrieval.search)
        self.query, self.items = pairs.query, pairs.gallery
        self.width = tie_width(self.query, self.items)
        self.hides_own_number = retrieval.search["exclude_self"] or retrieval.masks

    def errors(self, numbers: Integers) -> Errors:
        """Those of some queries that are wrong at rank 1, in their order."""
        parts = []
        for some in np.array_split(numbers, 1 + len(numbers) * len(self.items) // CHUNK_ELEMENTS):
            product, own = self._products(some)
            nearest_own = product.masked_fill(~own, -math.inf).amax(1)
            other, item = product.masked_fill_(own, -math.inf).max(1)
            wrong = ((other >= nearest_own - self.width[some]) & (other > -math.inf)).numpy()
            taken_for = self.codes[self.gallery[item.numpy()]]
            gap = (other - nearest_own).numpy()
            code = self.codes[self.queries[some]]
            parts.append([part[wrong] for part in (some, code, taken_for, gap)])
        return Errors(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def shown(self, numbers: Integers) -> list[dict[str, Any]]:
        """Some queries with their nearest neighbours, as in views.json."""
        found = nearest(
            self.query[numbers], self.codes[self.queries[numbers]],
            self.items, self.codes[self.gallery],
            self.width[numbers], self._hidden(numbers), SHOWN,
        )  # fmt: skip
        return [self._shown(*row) for row in zip(numbers, found, strict=True)]

    def _products(self, numbers: Integers) -> tuple[Tensor, Tensor]:
        """Inner products of some queries with all items, −∞ where one is not seen, and for each
        whether it is of the query's class.
        """
        product = self.query[numbers] @ self.items.T
        own = self.codes[self.queries[numbers]][:, None] == self.codes[self.gallery][None, :]
        hidden = self._hidden(numbers)
        hides = np.flatnonzero(hidden >= 0)
        product[hides, hidden[hides]] = -math.inf
        return product, torch.from_numpy(own)

    def _hidden(self, numbers: Integers) -> Integers:
        """The item that each of some queries does not see, or −1."""
        hides = self.hides_own_number & (numbers < len(self.gallery))
        return np.where(hides, numbers, -1)

    def _shown(self, number: int, found: Neighbours) -> dict[str, Any]:
        neighbours = [
            {
                "row": int(self.rows[self.gallery[item]]),
                "distance": round(self._distance(product), 4),
                "correct": bool(own),
            }
            for item, product, own in zip(*found, strict=True)
        ]
        return {
            "row": int(self.rows[self.queries[number]]),
            "correct": bool(neighbours) and neighbours[0]["correct"],
            "neighbours": neighbours,
        }

    def _distance(self, product: float) -> float:
        if self.curvature:
            return math.acosh(max(-product, 1.0)) / math.sqrt(self.curvature)
        return max(1.0 - float(product), 0.0)
