"""A tiny part of a dataset, for trying the whole pipeline on real data in minutes."""

import numpy as np
import pandas as pd

from hier.config.dataset import Subset
from hier.errors import ConfigError


def take(index: pd.DataFrame, subset: Subset) -> pd.DataFrame:
    """The rows of a few classes of each side: a pure function of its arguments, in their order.

    The classes are spread evenly over the side's labels, those that retrieval can use first (two
    images, or a query and a gallery image). Of each class the first `subset.images` images of each
    split are kept.

    Args:
        index: a layout's table whose facts have been checked.

    Raises:
        ConfigError: a side has fewer classes than asked for.
    """
    in_train = index["split"] == "train"
    labels = [
        *_classes(index[in_train], subset, "training"),
        *_classes(index[~in_train], subset, "test"),
    ]
    early = index.groupby(["label", "split"]).cumcount() < subset.images
    return index[early & index["label"].isin(labels)].reset_index(drop=True)


def _classes(side: pd.DataFrame, subset: Subset, name: str) -> list[int]:
    """Sorted labels of the classes to keep."""
    images = side.groupby(["label", "split"]).size().unstack(fill_value=0).sort_index()
    usable = (images > 0).all(axis=1) & (images.sum(axis=1) > 1)
    if len(images) < subset.classes:
        raise ConfigError(
            f"subset.classes {subset.classes}: there are only {len(images)} {name} classes"
        )
    good, others = images.index[usable], images.index[~usable]
    kept = _spread(good.to_numpy(), min(subset.classes, len(good)))
    rest = _spread(others.to_numpy(), subset.classes - len(kept))
    return sorted([*kept.tolist(), *rest.tolist()])


def _spread(values: np.ndarray, number: int) -> np.ndarray:
    """`number` of the values at even distances, the first among them."""
    return values[np.arange(number) * len(values) // max(number, 1)]
