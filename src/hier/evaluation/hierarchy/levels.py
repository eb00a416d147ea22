"""The levels of a dataset's classes, finest first, and choices of images that are balanced over them."""

from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hier.errors import ConfigError
from hier.seeding import numpy_generator

Integers = NDArray[np.int64]


class Levels(NamedTuple):
    """What each of N images is at each of L levels: its class, its super-class, and what is above.

    A super-class such as `A/A3` is a path: the level above it holds `A`. Names are whole paths, so
    that two of one name below different parents stay apart.
    """

    titles: list[str]  # what the levels are called, L
    codes: Integers  # L×N, numbers of what the images are; 0, 1, … without a gap
    names: list[list[str]]  # for each level the name by the number

    def of(self, positions: Integers) -> Self:
        """The same for some of the images; numbers and names stay."""
        return self._replace(codes=self.codes[:, positions])

    def kinds(self) -> list[tuple[Integers, int]]:
        """For each level the images' numbers, and how many numbers there are."""
        return [(codes, len(names)) for codes, names in zip(self.codes, self.names, strict=True)]


def levels_of(index: pd.DataFrame, titles: list[str], dataset: str) -> Levels:
    """The levels of the images in `index` (N rows), which the dataset calls `titles`.

    Where some class has no super-class, only classes are looked at. Raises ConfigError: there are more or
    fewer levels than titles."""
    _, first, code = np.unique(index["label"].to_numpy(), return_index=True, return_inverse=True)
    codes, names = [code], [index["class_name"].iloc[first].map(str).tolist()]
    for paths in _superclasses(index):
        found, code = np.unique(np.array(paths, dtype=object).astype(str), return_inverse=True)
        codes.append(code)
        names.append(found.tolist())
    if len(codes) != len(titles):
        own = f"{len(codes)} (such as {', '.join(each[0] for each in names)})"
        mend = f"correct levels in conf/dataset/{dataset}.yaml and compose again"
        named = f"levels names {len(titles)} ({', '.join(titles)})"
        raise ConfigError(f"{dataset}: {named}, but its classes have {own}; {mend}")
    return Levels(titles, np.stack(codes), names)


def _superclasses(index: pd.DataFrame) -> list[list[str]]:
    """For each level above the class, finest first, the path of every image."""
    if not index["superclass"].notna().all() or len(index) == 0:
        return []
    paths = [path.split("/") for path in index["superclass"]]
    depth = max(map(len, paths))
    return [["/".join(path[: depth - up]) for path in paths] for up in range(depth)]


def balanced(levels: Levels, limit: int, of_each: int) -> Integers:
    """Positions of at most `limit` (≥ 1) of the N images, as many of each class as can be.

    Where there are too many classes to have `of_each` (≥ 1) images of each that has as many, some
    are left out, at even steps through the tree. Images come in turns: one of each class in the order
    of the tree, then a second of each, and so on, so that any first part is balanced, too.
    """
    codes = levels.codes[0]
    classes, first = np.unique(codes, return_index=True)
    in_tree = classes[np.lexsort(levels.codes[:, first])]  # by the coarsest level first
    most = min(len(classes), max(1, limit // of_each))
    chosen = in_tree[np.arange(most) * len(classes) // most]
    place = np.full(len(levels.names[0]), -1)
    place[chosen] = np.arange(most)
    mixed = numpy_generator(0, "images that are looked at").permutation(len(codes))
    mixed = mixed[place[codes[mixed]] >= 0]
    where = place[codes[mixed]]
    turn = turns(where, np.argsort(where, kind="stable"))
    return mixed[np.lexsort((where, turn))][:limit]


def turns(group: Integers, order: Integers) -> Integers:
    """Which of its group each of N things is, from 0, in an `order` that lists group after group."""
    turn = np.empty_like(order)
    turn[order] = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    return turn
