"""The levels of a dataset's classes, finest first: the class, its super-class, and what is above."""

from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hier.errors import ConfigError


class Levels(NamedTuple):
    """What each of N images is at each of L levels.

    A super-class such as `A/A3` is a path: the level above it holds `A`. Names are whole paths, so
    that two of one name below different parents stay apart.
    """

    titles: list[str]  # what the levels are called, L
    codes: NDArray[np.int64]  # L×N, numbers of what the images are; 0, 1, … without a gap
    names: list[list[str]]  # for each level the name by the number

    def of(self, positions: NDArray[np.int64]) -> Self:
        """The same for some of the images; numbers and names stay."""
        return self._replace(codes=self.codes[:, positions])

    def kinds(self) -> list[tuple[NDArray[np.int64], int]]:
        """For each level the images' numbers, and how many numbers there are."""
        return [(codes, len(names)) for codes, names in zip(self.codes, self.names, strict=True)]

    def order(self) -> NDArray[np.int64]:
        """The classes in the order of the tree: by the coarsest level first."""
        classes, first = np.unique(self.codes[0], return_index=True)
        return classes[np.lexsort(self.codes[:, first])]


def levels_of(index: pd.DataFrame, titles: list[str], dataset: str) -> Levels:
    """The levels of the images in `index` (N rows), which the dataset calls `titles`.

    Where some class has no super-class, only classes are looked at.

    Raises:
        ConfigError: there are more or fewer levels than titles.
    """
    label, first = np.unique(index["label"].to_numpy(), return_inverse=True)
    class_names = index["class_name"].to_numpy()
    at = {number: position for position, number in enumerate(first.tolist())}
    codes = [first]
    names = [[str(class_names[at[number]]) for number in range(len(label))]]
    for paths in _superclasses(index):
        found, code = np.unique(np.array(paths, dtype=object).astype(str), return_inverse=True)
        codes.append(code)
        names.append(found.tolist())
    if len(codes) != len(titles):
        example = ", ".join(each[0] for each in names)
        raise ConfigError(
            f"{dataset}: levels names {len(titles)} ({', '.join(titles)}), but its classes have "
            f"{len(codes)} (such as {example}); correct levels in conf/dataset/{dataset}.yaml "
            "and compose again"
        )
    return Levels(titles, np.stack(codes), names)


def _superclasses(index: pd.DataFrame) -> list[list[str]]:
    """For each level above the class, finest first, the path of every image."""
    if not index["superclass"].notna().all() or len(index) == 0:
        return []
    paths = [path.split("/") for path in index["superclass"]]
    depth = max(map(len, paths))
    return [["/".join(path[: depth - up]) for path in paths] for up in range(depth)]
