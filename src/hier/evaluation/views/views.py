"""What can be seen of a run's embeddings (views.json) and of the trees over them (metrics.json)."""

from typing import Any

import numpy as np
from torch import Tensor

from hier.config.run import Run
from hier.evaluation.hierarchy.balanced_sample import balanced
from hier.evaluation.hierarchy.levels import Levels
from hier.evaluation.hierarchy.purity import agreement
from hier.evaluation.hierarchy.space import Space, metric_distances, radius, space
from hier.evaluation.hierarchy.tree import Integers, Tree, clustering, tree_of_proxies
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.evaluation.views.disk_layout import METHOD, disk
from hier.evaluation.views.galleries import galleries
from hier.evaluation.views.tree_nodes import (
    described,
    of_merges,
    of_proxies,
    or_none,
    placed,
    rounded,
)

MEASURED, MEASURED_OF_EACH = 2000, 4
"""Images that trees are built of, and how many of a class at least where classes are left out."""
SHOWN, SHOWN_OF_EACH = 600, 4
"""Those of them that are drawn."""


class Views:
    """The trees over some of a run's embeddings, chosen by the index alone, and what is seen of them.

    Args:
        retrieval: of all N embeddings.
        rows: N, their rows of the index.
        levels: of the N images.
        proxies: hierarchical proxies of a HIER run (P×D tangent vectors), None for any other.
    """

    def __init__(
        self,
        retrieval: Retrieval,
        rows: Integers,
        levels: Levels,
        run: Run,
        proxies: Tensor | None,
    ) -> None:
        self.retrieval, self.rows, self.all_levels = retrieval, rows, levels
        measured = np.sort(balanced(levels, MEASURED, MEASURED_OF_EACH))
        self.measured_rows, self.levels = rows[measured], levels.of(measured)
        embeddings = retrieval.embeddings[measured]
        self.distances = metric_distances(embeddings, run)
        self.radius = radius(embeddings, run)
        self.clustering = clustering(self.distances)
        self.space: Space | None = None
        self.proxies: Tree | None = None
        if proxies is not None:
            self.space = space(embeddings, proxies, run)
            self.radius = self.space.image_radius
            self.proxies = tree_of_proxies(self.space)

    def hierarchy(self) -> dict[str, Any]:
        """`hierarchy` of metrics.json; nothing for one class, or where no class has two images."""
        members = np.bincount(self.levels.codes[0])
        if (members > 0).sum() < 2 or members.max() < 2:
            return {}
        found: dict[str, Any] = {"images": len(self.distances), "levels": self.levels.titles}
        if self.proxies:
            found["proxies"] = agreement(self.proxies, self.levels)
        return {"hierarchy": found | {"clustering": agreement(self.clustering, self.levels)}}

    def views(self) -> dict[str, Any]:
        """The content of views.json."""
        shown = np.sort(balanced(self.levels, SHOWN, SHOWN_OF_EACH))
        drawn = disk(self.distances[np.ix_(shown, shown)], self.radius[shown])
        outline = of_proxies(self.proxies) if self.proxies else of_merges(self.clustering)
        nodes = described(outline, self.levels, self.measured_rows, shown)
        tree: dict[str, Any] = {"kind": "clustering"}
        nowhere = [None] * len(outline.nodes)
        place: dict[str, Any] = dict.fromkeys(("x", "y", "radius"), nowhere)
        if self.space:
            unused = int((outline.tree.sizes()[:-1] == 0).sum())
            tree = {"kind": "proxies", "unused": unused}
            place = placed(outline, self.space.proxy_radius, shown, drawn.angle)
        held = outline.positions()[outline.tree.holder[shown]]
        trust = drawn.trustworthiness
        return {
            "levels": self.levels.titles,
            "samples": {
                "row": self.measured_rows[shown].tolist(),
                "x": rounded(drawn.x),
                "y": rounded(drawn.y),
                "parent": or_none(held),
                "radius": rounded(self.radius[shown]),
            },
            "tree": tree | {"nodes": nodes | place},
            "projection": {
                "method": METHOD,
                "trustworthiness": None if trust is None else round(trust, 4),
            },
            "galleries": galleries(self.retrieval, self.rows, self.all_levels),
        }
