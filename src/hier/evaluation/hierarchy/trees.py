"""The trees over some of a run's embeddings, and how well they agree with the levels of the classes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from hier.config.run import Run
from hier.evaluation.hierarchy.levels import Integers, Levels, balanced
from hier.evaluation.hierarchy.purity import Agreement
from hier.evaluation.hierarchy.space import metric_distances, radius, space
from hier.evaluation.hierarchy.tree import clustering, cut, tree_of_nearest_proxies, tree_of_proxies

MEASURED, MEASURED_OF_EACH = 2000, 4
"""Images that trees are built of, and how many of a class at least where classes are left out."""


class Trees:
    """Trees over some of a run's N embeddings (N×D), chosen by the index alone.

    `rows` of the index and `levels` are of all N. `proxies` are a HIER run's hierarchical ones (P×D
    tangent vectors).
    """

    def __init__(
        self, embeddings: Tensor, rows: Integers, levels: Levels, run: Run, proxies: Tensor | None
    ) -> None:
        measured = np.sort(balanced(levels, MEASURED, MEASURED_OF_EACH))
        self.rows, self.levels = rows[measured], levels.of(measured)
        chosen = embeddings[measured]
        self.distances = metric_distances(chosen, run)
        self.clustering = clustering(self.distances)
        self.space = None if proxies is None else space(chosen, proxies, run)
        self.proxies = tree_of_proxies(self.space) if self.space else None
        self.radius = self.space.image_radius if self.space else radius(chosen, run)

    def metrics(self, measured: Callable[[Agreement], dict[str, Any]]) -> dict[str, Any] | None:
        """`hierarchy` of metrics.json, by the measures that `measured` gives of a tree; None for one
        class, or where no class has two images. Beside proxies, which make `groups` of the images, stands the
        clustering that is cut to as many: a coarse tree cannot be pure."""
        members = np.bincount(self.levels.codes[0])
        if (members > 0).sum() < 2 or members.max() < 2:
            return None
        found: dict[str, Any] = {"images": len(self.distances), "levels": self.levels.titles}
        if self.proxies and self.space:
            found["proxies"] = measured(Agreement(self.proxies, self.levels))
            nearest = tree_of_nearest_proxies(self.space)
            found["nearest_proxies"] = measured(Agreement(nearest, self.levels))
            found["groups"] = len(np.unique(self.proxies.holder))
            as_coarse = cut(self.clustering, found["groups"])
            found["clustering_cut"] = measured(Agreement(as_coarse, self.levels))
        return found | {"clustering": measured(Agreement(self.clustering, self.levels))}
