"""The nearest items of a query, as galleries list them: found by faiss, ranked in float64.

faiss finds by float32 products and knows no ties. So its list holds some items more than are asked for;
these are ranked anew, in float64 and with ties counted against the embedding. Where float32 cannot tell
that everything beyond the list comes after them, as among many ties, all items are ranked. The
neighbours are those of a search in float64 alone, with faiss or without.
"""

import sys
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hier.evaluation.retrieval.ranks import product_error

LISTED = 10

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]


class Neighbours(NamedTuple):
    """Some items in the order in which a query finds them."""

    item: Integers
    product: Numbers
    own: NDArray[np.bool_]  # whether it is of the query's class


def nearest(
    query: Tensor,
    query_codes: Integers,
    items: Tensor,
    item_codes: Integers,
    width: Tensor,
    hidden: Integers,
    most: int,
) -> list[Neighbours]:
    """For each query the items that it finds first.

    Args:
        query: Q×D, float64; a larger inner product with an item means that the item is nearer.
        query_codes: Q; of their classes.
        items: G×D, float64.
        item_codes: G.
        width: Q; items are tied where their products differ by less, and own ones come last then.
        hidden: Q; the item that a query does not see, or −1.
        most: how many items to find, fewer than `LISTED`.
    """

    def ranked(q: int, some: Integers) -> Neighbours:
        some = some[some != hidden[q]]
        product = (items.numpy()[some] * query[q].numpy()).sum(1)
        own = item_codes[some] == query_codes[q]
        order = np.lexsort((own, float(width[q]) * own - product))[:most]
        return Neighbours(some[order], product[order], own[order])

    found = []
    for q, (some, beyond) in enumerate(zip(*_listed(query, items), strict=True)):
        first = ranked(q, np.sort(some))
        reached = first.product - float(width[q]) * (first.own + 1)  # and what float64 is wrong by
        certain = len(first.item) == most and reached.min() > beyond
        found.append(first if certain else ranked(q, np.arange(len(items))))
    return found


def _listed(query: Tensor, items: Tensor) -> tuple[Integers, Numbers]:
    """Q lists of items, among them the hidden one, and what no product with another item exceeds.

    The lists are empty where there is no faiss.
    """
    faiss = _library()
    if faiss is None:
        return np.empty((len(query), 0), np.int64), np.full(len(query), np.inf)
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items.float().numpy())
    product, item = index.search(query.float().numpy(), min(LISTED + 1, len(items)))
    longest = torch.linalg.vector_norm(items, dim=1).max()
    error = product_error(torch.linalg.vector_norm(query, dim=1), longest, query.shape[1])
    return item, product[:, -1] + error.numpy()


def _library() -> Any:
    """faiss where it can be had: not on macOS, where its OpenMP beside torch's ends the process."""
    if sys.platform == "darwin" or find_spec("faiss") is None:
        return None
    import faiss

    return faiss
