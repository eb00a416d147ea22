"""What pages draw of a run's embeddings and of the trees over them (views.json): images on the disk, and
nodes, where they hang and what is below them."""

from typing import Any, NamedTuple

import numpy as np

from hier.evaluation.hierarchy.levels import Integers, Levels, balanced
from hier.evaluation.hierarchy.space import Array
from hier.evaluation.hierarchy.tree import ROOT, Tree
from hier.evaluation.hierarchy.trees import Trees
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.evaluation.views.disk_layout import METHOD, disk
from hier.evaluation.views.galleries import galleries

SHOWN, SHOWN_OF_EACH = 600, 4
"""Images of the trees that are drawn, and how many of a class at least where classes are left out."""
MOST_PROXIES = 512
MOST_MERGES = 63
THUMBNAILS = 24


def views(retrieval: Retrieval, rows: Integers, levels: Levels, trees: Trees) -> dict[str, Any]:
    """The content of views.json, of all N embeddings with their rows of the index and their levels, and
    of the trees over some of them."""
    shown = np.sort(balanced(trees.levels, SHOWN, SHOWN_OF_EACH))
    drawn = disk(trees.distances[np.ix_(shown, shown)], trees.radius[shown])
    if trees.proxies and trees.space:
        outline = of_proxies(trees.proxies)
        tree = {"kind": "proxies", "unused": int((outline.tree.sizes()[:-1] == 0).sum())}
        place = placed(outline, trees.space.proxy_radius, shown, drawn.angle)
    else:
        outline, tree = of_merges(trees.clustering), {"kind": "clustering"}
        place = dict.fromkeys(("x", "y", "radius"), [None] * len(outline.nodes))
    nodes = described(outline, trees.levels, trees.rows, shown) | place
    trust = None if drawn.trustworthiness is None else round(drawn.trustworthiness, 4)
    samples = {"row": trees.rows[shown].tolist(), "x": rounded(drawn.x), "y": rounded(drawn.y)}
    samples["parent"] = or_none(outline.positions()[outline.tree.holder[shown]])
    return {
        "levels": trees.levels.titles,
        "samples": samples | {"radius": rounded(trees.radius[shown])},
        "tree": tree | {"nodes": nodes},
        "projection": {"method": METHOD, "trustworthiness": trust},
        "galleries": galleries(retrieval, rows, levels),
    }


class Outline(NamedTuple):
    """Some nodes of a tree of N images; with each there is its parent."""

    tree: Tree
    nodes: Integers  # numbers in the tree
    names: list[str]

    def positions(self) -> Integers:
        """For each node of the tree, and the root as the last, where among `nodes` is the lowest one
        on the way up; ROOT if there is none (M + 1)."""
        position = np.full(len(self.tree.parent) + 1, ROOT)
        position[self.nodes] = np.arange(len(self.nodes))
        for node in self.tree.downwards():
            if position[node] == ROOT:
                position[node] = position[self.tree.parent[node]]
        return position

    def members(self) -> list[Integers]:
        """The images below each node, ascending."""
        images, start, end = self.tree.order()
        return [np.sort(images[start[node] : end[node]]) for node in self.nodes]


def of_proxies(tree: Tree) -> Outline:
    """The proxies with images below them; of too many those with the most."""
    size, depth = tree.sizes()[:-1], tree.depths()[:-1]
    used = np.flatnonzero(size)
    used = np.sort(used[np.lexsort((depth[used], -size[used]))[:MOST_PROXIES]])
    return Outline(tree, used, [f"proxy {node}" for node in used])


def of_merges(tree: Tree) -> Outline:
    """The topmost merges of a clustering, the highest first."""
    top = np.arange(len(tree.parent))[::-1][:MOST_MERGES]
    return Outline(tree, top, [f"cluster {number}" for number in range(1, len(top) + 1)])


def described(outline: Outline, levels: Levels, rows: Integers, shown: Integers) -> dict[str, Any]:
    """The nodes as in views.json, without their places, by the levels and index rows of the N images.

    Of `shown` images (positions) thumbnails are there anyway; they are taken first.
    """
    tree, position, members = outline.tree, outline.positions(), outline.members()
    found: dict[str, Any] = {
        "name": outline.names,
        "parent": or_none(position[tree.parent[outline.nodes]]),
        "depth": tree.depths()[outline.nodes].tolist(),
        "count": [len(images) for images in members],
        "label": [],
        "purity": [],
    }
    for (codes, kinds), names in zip(levels.kinds(), levels.names, strict=True):
        counts = tree.counts(codes, kinds)[outline.nodes]
        found["label"].append([names[code] for code in counts.argmax(1)])
        found["purity"].append(rounded(counts.max(1) / counts.sum(1)) if len(counts) else [])
    turn = np.empty_like(rows)
    turn[balanced(levels, len(rows), 1)] = np.arange(len(rows))
    turn[shown] -= len(rows)
    found["rows"] = [rows[i[np.argsort(turn[i])[:THUMBNAILS]]].tolist() for i in members]
    return found


def placed(outline: Outline, radius: Array, shown: Integers, angle: Array) -> dict[str, Any]:
    """Where nodes are drawn: at their own radius (M) and the mean angle of the images below that are
    `shown` (positions)."""
    at = np.zeros(len(outline.tree.holder), complex)
    at[shown] = np.exp(1j * angle)
    below = [at[images] for images in outline.members()]
    share = radius[outline.nodes]
    place = share * np.exp(1j * np.angle([directions.sum() for directions in below]))
    x, y = (
        [v if of.any() else None for v, of in zip(rounded(part), below, strict=True)]
        for part in (place.real, place.imag)
    )
    return {"x": x, "y": y, "radius": rounded(share)}


def or_none(positions: Integers) -> list[int | None]:
    """Positions for JSON; null stands for the root."""
    return [None if position == ROOT else int(position) for position in positions]


def rounded(values: Array) -> list[float]:
    """Four decimals, without a negative zero."""
    return [round(float(value), 4) + 0.0 for value in values]
