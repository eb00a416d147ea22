"""Recall of a network that is being trained, on the test classes and on those that are held out."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hier.config.run import Run
from hier.data.store import ImageStore
from hier.evaluation.retrieval.embed import embed
from hier.evaluation.retrieval.queries_and_gallery import Retrieval, require_matches
from hier.models.network import EmbeddingNetwork

Recalls = Callable[[EmbeddingNetwork], dict[str, float]]


def recalls_of(
    run: Run, index: pd.DataFrame, store: ImageStore, held_out: NDArray[np.int64], ks: list[int]
) -> Recalls:
    """Recall of a network on the test classes (1 and every K) and on the held-out ones (R@1). Raises
    ConfigError: on a side that training looks at, no query can be right."""
    ks = sorted({1, *ks})  # the epoch is chosen by R@1
    test = np.flatnonzero(index["split"] != "train")
    sides = {"test": (test, ks)} | ({"held-out": (held_out, [1])} if len(held_out) else {})
    for side, (rows, _) in sides.items():
        require_matches(index.iloc[rows], run, side)

    def recalls(network: EmbeddingNetwork) -> dict[str, float]:
        device = next(network.parameters()).device
        found: dict[str, float] = {}
        for side, (rows, side_ks) in sides.items():
            retrieval = Retrieval(embed(network, store, rows, run, device), index.iloc[rows], run)
            shares = retrieval.class_recall(side_ks)
            found |= {f"{side} R@{k}": share for k, share in shares.items()}
        return found

    return recalls
