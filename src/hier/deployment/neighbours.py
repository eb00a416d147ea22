"""How far embeddings are from each other, and which are nearest, as a run's own pages have it."""

import numpy as np
from numpy.typing import NDArray

from hier.errors import ConfigError
from hier.evaluation.retrieval.ranks import tie_width
from hier.evaluation.retrieval.recall import Metric, Pairs
from hier.evaluation.views.galleries import CHUNK_ELEMENTS, nearest
from hier.geometry.products import inner_products

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


def distances(x: Floats, y: Floats, metric: Metric, c: float | None) -> NDArray[np.float64]:
    """Of every x (N×D) to every y (M×D): N×M, by the ball of curvature −c or 1 − cosine.

    Raises ConfigError: these are no embeddings of such a space."""
    pairs = _pairs(x, y, metric, c)
    return _as_distance(inner_products(pairs.query, pairs.gallery).numpy(), c)


def nearest_items(
    query: Floats, gallery: Floats, k: int, metric: Metric, c: float | None, hidden: Integers | None = None
) -> tuple[Integers, NDArray[np.float64]]:
    """The k items of a gallery (M×D) that are nearest to each query (N×D), the nearest first: their numbers
    (N×k) and distances (N×k). Of equals the first comes first.

    `hidden` is for each query the number of an item that it does not see, or −1. A few queries are compared
    at a time. Raises ConfigError: these are no embeddings, or k is below 1 or above the items to be seen."""
    pairs = _pairs(query, gallery, metric, c)
    hidden = np.full(len(query), -1) if hidden is None else hidden
    seen = len(gallery) - int((hidden >= 0).any())
    if not 1 <= k <= seen:
        raise ConfigError(f"k is {k}, but must be from 1 to {seen}, the items that a query can find")
    items, width = np.arange(1, len(gallery) + 1), tie_width(pairs.query, pairs.gallery)
    found = []
    for some in np.array_split(np.arange(len(query)), 1 + len(query) * len(gallery) // CHUNK_ELEMENTS):
        strangers = np.zeros(len(some), np.int64)  # of the class of no item
        found += nearest(pairs.query[some], strangers, pairs.gallery, items, width[some], hidden[some], k)
    products = np.stack([of.product for of in found])
    return np.stack([of.item for of in found]), _as_distance(products, c)


def _pairs(x: Floats, y: Floats, metric: Metric, c: float | None) -> Pairs:
    try:
        return Pairs((x, np.zeros(len(x)), y, np.zeros(len(y))), metric, c)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"cannot compare: {' '.join(str(error).split())}") from error


def _as_distance(products: NDArray[np.float64], c: float | None) -> NDArray[np.float64]:
    """From inner products that rank like the metric, −cosh(√c d) on the ball."""
    if c is None:
        return np.maximum(1.0 - products, 0.0)
    return np.arccosh(np.maximum(-products, 1.0)) / np.sqrt(c)
