"""Which images are looked at: balanced over classes, chosen from the index alone."""

import numpy as np
from numpy.typing import NDArray

from hier.evaluation.hierarchy.levels import Levels
from hier.seeding import numpy_generator

Positions = NDArray[np.int64]


def balanced(levels: Levels, limit: int, of_each: int) -> Positions:
    """Positions of at most `limit` of the N images, as many of each class as can be.

    Where there are too many classes to have `of_each` images of each, some are left out, at even
    steps through the tree. They come in turns: an image of each class in the order of the tree,
    then a second of each, and so on, so that any first part is balanced, too.

    Args:
        levels: of the N images.
        limit: the most that is taken, ≥ 1.
        of_each: images of a class, where it has as many, ≥ 1.
    """
    classes = levels.order()
    most = max(1, limit // of_each)
    chosen = classes[np.arange(min(len(classes), most)) * len(classes) // min(len(classes), most)]
    place = np.full(len(levels.names[0]), -1)
    place[chosen] = np.arange(len(chosen))
    mixed = numpy_generator(0, "images that are looked at").permutation(levels.codes.shape[1])
    mixed = mixed[place[levels.codes[0, mixed]] >= 0]
    where = place[levels.codes[0, mixed]]
    by_class = np.argsort(where, kind="stable")
    first = np.searchsorted(where[by_class], np.arange(len(chosen)))
    turn = np.empty_like(where)
    turn[by_class] = np.arange(len(where)) - first[where[by_class]]
    return mixed[np.lexsort((where, turn))][:limit]
