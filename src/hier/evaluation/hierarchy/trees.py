"""The trees over some of a run's embeddings, and how well they agree with the levels of the classes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from hier.config.run import Run
from hier.evaluation.hierarchy.balanced_sample import balanced
from hier.evaluation.hierarchy.levels import Levels
from hier.evaluation.hierarchy.purity import Agreement
from hier.evaluation.hierarchy.space import Space, metric_distances, radius, space
from hier.evaluation.hierarchy.tree import Integers, Tree, clustering, tree_of_proxies

MEASURED, MEASURED_OF_EACH = 2000, 4
"""Images that trees are built of, and how many of a class at least where classes are left out."""


class Trees:
    """Trees over some of a run's embeddings, chosen by the index alone.

    Args:
        embeddings: all N (N×D).
        rows: N, their rows of the index.
        levels: of the N images.
        proxies: hierarchical proxies of a HIER run (P×D tangent vectors), None for any other.
    """

    def __init__(
        self, embeddings: Tensor, rows: Integers, levels: Levels, run: Run, proxies: Tensor | None
    ) -> None:
        measured = np.sort(balanced(levels, MEASURED, MEASURED_OF_EACH))
        self.rows, self.levels = rows[measured], levels.of(measured)
        chosen = embeddings[measured]
        self.distances = metric_distances(chosen, run)
        self.radius = radius(chosen, run)
        self.clustering = clustering(self.distances)
        self.space: Space | None = None
        self.proxies: Tree | None = None
        if proxies is not None:
            self.space = space(chosen, proxies, run)
            self.radius = self.space.image_radius
            self.proxies = tree_of_proxies(self.space)

    def metrics(self, measured: Callable[[Agreement], dict[str, Any]]) -> dict[str, Any] | None:
        """`hierarchy` of metrics.json; None for one class, or where no class has two images.

        Args:
            measured: gives the measures of a tree by their keys.
        """
        members = np.bincount(self.levels.codes[0])
        if (members > 0).sum() < 2 or members.max() < 2:
            return None
        found: dict[str, Any] = {"images": len(self.distances), "levels": self.levels.titles}
        if self.proxies:
            found["proxies"] = measured(Agreement(self.proxies, self.levels))
        return found | {"clustering": measured(Agreement(self.clustering, self.levels))}
