"""The nearest items of a query, as galleries list them, with ties counted against the embedding."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

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

    A matrix product, whose rounding depends on the shape, leaves a few candidates. They are ranked by
    products that do not, so that equal items tie wherever they stand.

    Args:
        query: Q×D, float64; a larger inner product with an item means that the item is nearer.
        query_codes: Q; of their classes.
        items: G×D, float64.
        item_codes: G.
        width: Q; items are tied where their products differ by less, and own ones come last then.
        hidden: Q; the item that a query does not see, or −1.
        most: how many items to find.
    """
    own = query_codes[:, None] == item_codes
    widths = width.numpy()[:, None]
    products = (query @ items.T).numpy()
    hides = np.flatnonzero(hidden >= 0)
    products[hides, hidden[hides]] = -np.inf
    last = -min(most, len(items))
    least = np.partition(products - widths * own, last, axis=1)[:, last, None] - widths
    found = []
    for q, candidates in enumerate(products >= least):
        some = np.flatnonzero(candidates & (np.arange(len(items)) != hidden[q]))
        product = (items.numpy()[some] * query[q].numpy()).sum(1)
        order = np.lexsort((own[q, some], widths[q] * own[q, some] - product))[:most]
        found.append(Neighbours(some[order], product[order], own[q, some[order]]))
    return found
