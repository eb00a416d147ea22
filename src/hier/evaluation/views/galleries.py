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

from hier.evaluation.hierarchy.levels import Integers, Levels, balanced, turns
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.evaluation.retrieval.ranks import tie_width
from hier.evaluation.retrieval.recall import Pairs

SHARED, WORST = 24, 12  # queries that every run of a dataset shows, and the worst of a run
SHOWN = 8
CONFUSIONS = 20
MOST_QUERIES = 10_000  # that are searched for errors
CHUNK_ELEMENTS = 2**23

Floats = NDArray[np.float64]


class Neighbours(NamedTuple):
    """Some items in the order in which a query finds them."""

    item: Integers
    product: Floats
    own: NDArray[np.bool_]  # whether it is of the query's class


class Errors(NamedTuple):
    """Queries that are wrong at rank 1."""

    query: Integers  # number among the queries
    code: Integers  # of its class
    taken_for: Integers  # class of the nearest item of another class
    gap: Floats  # that item's product less the nearest own item's


def galleries(retrieval: Retrieval, rows: Integers, levels: Levels) -> dict[str, Any]:
    """Queries that every run of a dataset shows, the worst of this run, and confused classes, of N
    embeddings with their rows of the index and their levels."""
    search = Search(retrieval, rows, levels.codes[0])
    of_queries, names = levels.of(search.queries), levels.names[0]
    looked_at = np.sort(balanced(of_queries, MOST_QUERIES, 1))
    looked_at = looked_at[retrieval.judged(levels.codes[0])[looked_at]]
    errors = search.errors(looked_at)
    pairs, which, count = np.unique(
        np.stack([errors.code, errors.taken_for]), axis=1, return_inverse=True, return_counts=True
    )
    by_count = np.argsort(-count, kind="stable")
    of = np.bincount(of_queries.codes[0, looked_at], minlength=len(names))
    confusions = [
        {"class": names[own], "taken_for": names[other], "count": int(count), "of": int(of[own])}
        for (own, other), count in zip(pairs.T[by_count], count[by_count], strict=True)
    ]
    return {
        "shared": search.shown(balanced(of_queries, SHARED, 1)),
        "worst": search.shown(_worst(errors, np.argsort(by_count)[which])),
        "confusions": confusions[:CONFUSIONS],
    }


def _worst(errors: Errors, rank: Integers) -> Integers:
    """Queries of the most confused pairs of classes, by the rank of each error's pair: first one of each
    pair, then a second."""
    turn = turns(rank, np.lexsort((errors.query, -errors.gap, rank)))
    return errors.query[np.lexsort((rank, turn))[:WORST]]


class Search:
    """The queries and the gallery of a run, by its metric and with its protocol's masks."""

    def __init__(self, retrieval: Retrieval, rows: Integers, codes: Integers) -> None:
        self.queries = np.flatnonzero(retrieval.query)
        self.gallery = np.flatnonzero(retrieval.gallery)
        self.rows, self.codes = rows, codes
        self.curvature: float | None = retrieval.search["c"]
        pairs = Pairs(retrieval.sides(codes), **retrieval.search)
        self.query, self.items = pairs.query, pairs.gallery
        self.width = tie_width(self.query, self.items)
        hides = np.arange(len(self.queries)) < len(self.gallery)
        hides &= retrieval.search["exclude_self"] or retrieval.masks
        self.hidden = np.where(hides, np.arange(len(self.queries)), -1)

    def errors(self, numbers: Integers) -> Errors:
        """Those of some queries that are wrong at rank 1, in their order."""
        parts = []
        for some in np.array_split(numbers, 1 + len(numbers) * len(self.items) // CHUNK_ELEMENTS):
            product = _products(self.query[some], self.items, self.hidden[some])
            code = self.codes[self.queries[some]]
            own = torch.from_numpy(code[:, None] == self.codes[self.gallery])
            nearest_own = product.masked_fill(~own, -math.inf).amax(1)
            other, item = product.masked_fill_(own, -math.inf).max(1)
            wrong = ((other >= nearest_own - self.width[some]) & (other > -math.inf)).numpy()
            taken_for = self.codes[self.gallery[item.numpy()]]
            gap = (other - nearest_own).numpy()
            parts.append([part[wrong] for part in (some, code, taken_for, gap)])
        return Errors(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def shown(self, numbers: Integers) -> list[dict[str, Any]]:
        """Some queries with their nearest neighbours, as in views.json."""
        found = nearest(
            self.query[numbers], self.codes[self.queries[numbers]],
            self.items, self.codes[self.gallery],
            self.width[numbers], self.hidden[numbers], SHOWN,
        )  # fmt: skip
        shown = []
        for number, near in zip(numbers, found, strict=True):
            rows = self.rows[self.gallery[near.item]].tolist()
            distances = [round(self._distance(product), 4) for product in near.product]
            neighbours = [
                {"row": row, "distance": distance, "correct": own}
                for row, distance, own in zip(rows, distances, near.own.tolist(), strict=True)
            ]
            correct = bool(neighbours) and neighbours[0]["correct"]
            row = int(self.rows[self.queries[number]])
            shown.append({"row": row, "correct": correct, "neighbours": neighbours})
        return shown

    def _distance(self, product: float) -> float:
        if self.curvature:
            return math.acosh(max(-product, 1.0)) / math.sqrt(self.curvature)
        return max(1.0 - float(product), 0.0)


def nearest(
    query: Tensor,
    query_codes: Integers,
    items: Tensor,
    item_codes: Integers,
    width: Tensor,
    hidden: Integers,
    most: int,
) -> list[Neighbours]:
    """For each of Q queries (Q×D, float64) the `most` of G items (G×D) that it finds first: those with
    the largest inner products.

    A matrix product, whose rounding depends on the shape, leaves a few candidates. They are ranked by
    products that do not, so that equal items tie wherever they stand.

    Args:
        query_codes, item_codes: their classes.
        width: Q; items are tied where their products differ by less, and own ones come last then.
        hidden: Q; the item that a query does not see, or −1.
    """
    own = query_codes[:, None] == item_codes
    widths = width.numpy()[:, None]
    products = _products(query, items, hidden).numpy()
    last = -min(most, len(items))
    least = np.partition(products - widths * own, last, axis=1)[:, last, None] - widths
    found = []
    for q, candidates in enumerate(products >= least):
        some = np.flatnonzero(candidates & (np.arange(len(items)) != hidden[q]))
        product = (items.numpy()[some] * query[q].numpy()).sum(1)
        order = np.lexsort((own[q, some], widths[q] * own[q, some] - product))[:most]
        found.append(Neighbours(some[order], product[order], own[q, some[order]]))
    return found


def _products(query: Tensor, items: Tensor, hidden: Integers) -> Tensor:
    """Inner products of queries (Q×D) with items (G×D), −∞ with the one that each does not see."""
    product = query @ items.T
    hides = np.flatnonzero(hidden >= 0)
    product[hides, hidden[hides]] = -math.inf
    return product
