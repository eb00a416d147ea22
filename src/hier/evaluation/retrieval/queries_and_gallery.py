"""Who searches whom, and what is measured: the protocol of a dataset's test side."""

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from hier.config.run import Run
from hier.errors import ConfigError
from hier.evaluation.retrieval.recall import (
    average_precisions,
    have_match,
    hits_at_1,
    mean_of_judged,
    recall_at_k,
)


class Sides:
    """The queries and the gallery among the N rows of an index.

    Where the index has queries, they search the gallery; else every image searches the others.
    """

    def __init__(self, index: pd.DataFrame) -> None:
        split = index["split"].to_numpy()
        self.separate = bool((split == "query").any())
        self.query, self.gallery = split != "gallery", split != "query"

    def matched(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each query has another image of its label to find; `labels` are of all N rows.

        An image that only `protocol.masks_gallery_of_query` hides counts as one to find.
        """
        return have_match(labels[self.query], labels[self.gallery], not self.separate).numpy()


def require_matches(index: pd.DataFrame, run: Run, side: str = "test") -> None:
    """Raise ConfigError where no query of a side, whose rows are `index`, has an image to find."""
    sides = Sides(index)
    if not sides.matched(index["label"].to_numpy()).any():
        what = "a gallery image" if sides.separate else "another image"
        raise ConfigError(
            f"{run.dataset}: none of the {sides.query.sum()} {side} queries has {what} of its class "
            "to find, so neither R@K nor MAP@R can be measured; take more images of each class "
            "(dataset.subset) or other classes, and compose again"
        )


class Retrieval(Sides):
    """The queries and the gallery among embeddings (N×D) whose index rows are `index` (N rows)."""

    def __init__(self, embeddings: Tensor, index: pd.DataFrame, run: Run) -> None:
        super().__init__(index)
        self.embeddings, self.index = embeddings, index
        self.leaves_out = run.evaluate.unmatched == "leave_out"
        self.search: dict[str, Any] = {
            "metric": run.evaluate.metric,
            "c": run.head.curvature if run.head and run.evaluate.metric == "poincare" else None,
            "exclude_self": not self.separate,
        }
        self.masks = self.separate and run.protocol.masks_gallery_of_query
        self.judging: dict[str, Any] = self.search | {
            "mask_gallery_of_query": self.masks,
            "leave_out_unmatched": self.leaves_out,
        }

    def recall(self, labels: np.ndarray, ks: list[int]) -> dict[str, float]:
        """Recall@K by the K as text; `labels` are of all N rows."""
        shares = recall_at_k(*self.sides(labels), ks, **self.judging)
        return {str(k): share for k, share in shares.items()}

    def of_queries(self) -> dict[str, NDArray[np.float64]]:
        """What measures are means of, for each of the Q queries, NaN where one does not judge it: by the keys
        of the measures in metrics.json, of Recall@K for K = 1."""
        found = {"recall": self._hits(self.index["label"].to_numpy())}
        if (superclasses := self._superclasses()) is not None:
            found["superclass_recall"] = self._hits(superclasses)
        return found | {"map_at_r": np.array(self.average_precisions)}

    def _hits(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        return hits_at_1(*self.sides(labels), **self.judging).numpy()

    def class_recall(self, ks: list[int]) -> dict[str, float]:
        return self.recall(self.index["label"].to_numpy(), ks)

    def superclass_recall(self, ks: list[int]) -> dict[str, float] | None:
        """Recall@K of super-classes; None where a class has none."""
        labels = self._superclasses()
        return None if labels is None else self.recall(labels, ks)

    def counts(self) -> dict[str, int]:
        """How many queries Recall@K judges, how many have no match, and images of the gallery.

        Of super-classes a query may have a match where its class has none.
        """
        matched, superclasses = self.matched(self.index["label"].to_numpy()), self._superclasses()
        without = int((~matched).sum())
        judged = len(matched) - without * self.leaves_out
        counts = {"queries": judged, "queries_without_match": without}
        if superclasses is not None:
            lone = ~self.matched(superclasses)
            counts["superclass_queries_without_match"] = int(lone.sum())
        return counts | {"gallery": int(self.gallery.sum())}

    def judged(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether Recall@K judges each query; `labels` are of all N rows."""
        return self.matched(labels) | (not self.leaves_out)

    def map_at_r(self) -> float:
        """MAP@R, NaN where no query has a match."""
        return mean_of_judged(self.average_precisions)

    @cached_property
    def average_precisions(self) -> list[float]:
        return average_precisions(*self.sides(self.index["label"].to_numpy()), **self.search)

    def _superclasses(self) -> NDArray[np.int64] | None:
        superclass = self.index["superclass"]
        return pd.factorize(superclass)[0] if superclass.notna().all() else None

    def sides(self, labels: np.ndarray) -> tuple[Tensor, np.ndarray, Tensor, np.ndarray]:
        """Embeddings and labels of the queries, then of the gallery; `labels` are of all N rows."""
        query, gallery = self.query, self.gallery
        return self.embeddings[query], labels[query], self.embeddings[gallery], labels[gallery]
