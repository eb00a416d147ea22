"""What pages draw of a run's embeddings and of the trees over them (views.json)."""

from typing import Any

import numpy as np

from hier.evaluation.hierarchy.balanced_sample import balanced
from hier.evaluation.hierarchy.levels import Levels
from hier.evaluation.hierarchy.tree import Integers
from hier.evaluation.hierarchy.trees import Trees
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

SHOWN, SHOWN_OF_EACH = 600, 4
"""Images of the trees that are drawn, and how many of a class at least where classes are left out."""


def views(retrieval: Retrieval, rows: Integers, levels: Levels, trees: Trees) -> dict[str, Any]:
    """The content of views.json.

    Args:
        retrieval: of all N embeddings.
        rows: N, their rows of the index.
        levels: of the N images.
        trees: over some of them.
    """
    shown = np.sort(balanced(trees.levels, SHOWN, SHOWN_OF_EACH))
    drawn = disk(trees.distances[np.ix_(shown, shown)], trees.radius[shown])
    outline = of_proxies(trees.proxies) if trees.proxies else of_merges(trees.clustering)
    nodes = described(outline, trees.levels, trees.rows, shown)
    tree: dict[str, Any] = {"kind": "clustering"}
    nowhere = [None] * len(outline.nodes)
    place: dict[str, Any] = dict.fromkeys(("x", "y", "radius"), nowhere)
    if trees.space:
        unused = int((outline.tree.sizes()[:-1] == 0).sum())
        tree = {"kind": "proxies", "unused": unused}
        place = placed(outline, trees.space.proxy_radius, shown, drawn.angle)
    held = outline.positions()[outline.tree.holder[shown]]
    trust = drawn.trustworthiness
    return {
        "levels": trees.levels.titles,
        "samples": {
            "row": trees.rows[shown].tolist(),
            "x": rounded(drawn.x),
            "y": rounded(drawn.y),
            "parent": or_none(held),
            "radius": rounded(trees.radius[shown]),
        },
        "tree": tree | {"nodes": nodes | place},
        "projection": {
            "method": METHOD,
            "trustworthiness": None if trust is None else round(trust, 4),
        },
        "galleries": galleries(retrieval, rows, levels),
    }
