"""What pages draw of a run's embeddings and of the trees over them (views.json)."""

from typing import Any

import numpy as np

from hier.evaluation.hierarchy.levels import Integers, Levels, balanced
from hier.evaluation.hierarchy.trees import Trees
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.evaluation.views import tree_nodes
from hier.evaluation.views.disk_layout import METHOD, disk
from hier.evaluation.views.galleries import galleries
from hier.evaluation.views.tree_nodes import rounded

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
    if trees.proxies and trees.space:
        outline = tree_nodes.of_proxies(trees.proxies)
        tree = {"kind": "proxies", "unused": int((outline.tree.sizes()[:-1] == 0).sum())}
        place = tree_nodes.placed(outline, trees.space.proxy_radius, shown, drawn.angle)
    else:
        outline, tree = tree_nodes.of_merges(trees.clustering), {"kind": "clustering"}
        place = dict.fromkeys(("x", "y", "radius"), [None] * len(outline.nodes))
    nodes = tree_nodes.described(outline, trees.levels, trees.rows, shown) | place
    trust = drawn.trustworthiness
    return {
        "levels": trees.levels.titles,
        "samples": {
            "row": trees.rows[shown].tolist(),
            "x": rounded(drawn.x),
            "y": rounded(drawn.y),
            "parent": tree_nodes.or_none(outline.positions()[outline.tree.holder[shown]]),
            "radius": rounded(trees.radius[shown]),
        },
        "tree": tree | {"nodes": nodes},
        "projection": {
            "method": METHOD,
            "trustworthiness": None if trust is None else round(trust, 4),
        },
        "galleries": galleries(retrieval, rows, levels),
    }
