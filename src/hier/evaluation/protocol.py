"""Who searches whom, and what is measured: the protocol of a dataset's test side."""

from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from hier.config.run import Run
from hier.evaluation.recall import map_at_r, recall_at_k


class Retrieval:
    """The queries and the gallery among embeddings (N×D) whose index rows are `index` (N rows).

    Where the index has queries, they search the gallery; else every image searches the others.
    """

    def __init__(self, embeddings: Tensor, index: pd.DataFrame, run: Run) -> None:
        split = index["split"].to_numpy()
        apart = bool((split == "query").any())
        self.query, self.gallery = split != "gallery", split != "query"
        self.embeddings, self.index = embeddings, index
        self.search: dict[str, Any] = {
            "metric": run.evaluate.metric,
            "c": run.head.curvature if run.head and run.evaluate.metric == "poincare" else None,
            "exclude_self": not apart,
        }
        self.masks = apart and run.protocol.masks_gallery_of_query

    def recall(self, labels: np.ndarray, ks: list[int]) -> dict[str, float]:
        """Recall@K by the K as text; `labels` are of all N rows."""
        shares = recall_at_k(
            *self._sides(labels), ks, **self.search, mask_gallery_of_query=self.masks
        )
        return {str(k): shares[k] for k in ks}

    def class_recall(self, ks: list[int]) -> dict[str, float]:
        return self.recall(self.index["label"].to_numpy(), ks)

    def superclass_recall(self, ks: list[int]) -> dict[str, float] | None:
        """Recall@K of super-classes; None where a class has none."""
        if not self.index["superclass"].notna().all():
            return None
        return self.recall(pd.factorize(self.index["superclass"])[0], ks)

    def map_at_r(self) -> float:
        return map_at_r(*self._sides(self.index["label"].to_numpy()), **self.search)

    def _sides(self, labels: np.ndarray) -> tuple[Tensor, np.ndarray, Tensor, np.ndarray]:
        query, gallery = self.query, self.gallery
        return self.embeddings[query], labels[query], self.embeddings[gallery], labels[gallery]
