"""What a run's page shows of its embeddings (views.json), and the measures of its trees."""

import json
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hier.config.run import Run
from hier.evaluation.choice import Positions, balanced
from hier.evaluation.disk import METHOD, Disk, disk
from hier.evaluation.galleries import galleries
from hier.evaluation.levels import Levels
from hier.evaluation.measures import agreement
from hier.evaluation.protocol import Retrieval
from hier.evaluation.space import Array, metric_distances, radius, space
from hier.evaluation.tree import ROOT, Tree, clustering, tree_of_proxies

MEASURED, MEASURED_OF_EACH = 2000, 4
"""Images that trees are built on, and of each class where there are too many classes."""
SHOWN, SHOWN_OF_EACH = 600, 4
"""Of those, images on the disk."""
THUMBNAILS = 24
MERGES = 63
MOST_NODES = 512


class Look:
    """A run's trees over some of its embeddings.

    Args:
        embeddings: N×D.
        rows: N, their rows of the index.
        index: N rows.
        levels: of the N images.
        proxies: hierarchical proxies of a HIER run (P×D tangent vectors).
    """

    def __init__(self, embeddings: Tensor, rows: Positions, retrieval: Retrieval, levels: Levels, run: Run, proxies: Tensor | None) -> None:
        self.run, self.rows, self.all_levels, self.retrieval = run, rows, levels, retrieval
        self.measured = np.sort(balanced(levels, MEASURED, MEASURED_OF_EACH))
        self.levels = levels.of(self.measured)
        x = embeddings[self.measured]
        self.x = x
        self.distances = metric_distances(x, run)
        self.clustering = clustering(self.distances)
        self.space = None if proxies is None else space(x, proxies, run)
        self.proxies = None if self.space is None else tree_of_proxies(self.space)

    def hierarchy(self) -> dict[str, Any] | None:
        classes, members = np.unique(self.levels.codes[0], return_counts=True)
        if len(classes) < 2 or members.max() < 2:
            return None
        found: dict[str, Any] = {"images": len(self.measured), "levels": self.levels.titles}
        if self.proxies:
            found["proxies"] = agreement(self.proxies, self.levels)
        return found | {"clustering": agreement(self.clustering, self.levels)}

    def views(self) -> dict[str, Any]:
        turn = balanced(self.levels, SHOWN, SHOWN_OF_EACH)
        shown = np.sort(turn)
        tree = self.proxies or self.clustering
        share = radius(self.x, self.run) if self.space is None else self.space.image_radius
        drawn = disk(self.distances[np.ix_(shown, shown)], share[shown])
        if self.proxies:
            kept, holder = keep_used(tree, MOST_NODES)
        else:
            kept, holder = keep_topmost(tree, MERGES)
        place = np.full(len(tree.parent) + 1, -1)
        place[kept] = np.arange(len(kept))
        up = tree.parent.copy()
        # nearest kept ancestor
        nearest = nearest_kept(tree, place)
        parents = [None if tree.parent[v] == ROOT else int(place[tree.parent[v]]) for v in kept]
        holders = nearest[tree.holder]
        depth = tree.depths()[kept]
        nodes: dict[str, Any] = {
            "name": [f"{'proxy' if self.proxies else 'cluster'} {int(v) if self.proxies else i}" for i, v in enumerate(kept)],
            "parent": parents,
            "depth": depth.tolist(),
        }
        n = len(kept)
        members = [np.flatnonzero(m) for m in membership(tree, kept)]
        priority = np.full(len(self.measured), len(self.measured))
        full = balanced(self.levels, len(self.measured), 1)
        pr = np.empty(len(self.measured), int); pr[full] = np.arange(len(full))
        isin = np.isin(np.arange(len(self.measured)), shown)
        xs, ys, rs = [None] * n, [None] * n, [None] * n
        if self.proxies is not None and self.space is not None:
            angle_of = np.full(len(self.measured), np.nan); angle_of[shown] = drawn.angle
            for i, m in enumerate(members):
                a = angle_of[m]; a = a[~np.isnan(a)]
                rs[i] = round(float(self.space.proxy_radius[kept[i]]), 4)
                if len(a):
                    mean = np.exp(1j * a).mean(); ang = np.angle(mean)
                    xs[i] = round(float(rs[i] * np.cos(ang)), 4); ys[i] = round(float(rs[i] * np.sin(ang)), 4)
        nodes |= {"x": xs, "y": ys, "radius": rs, "count": [len(m) for m in members]}
        labels, purity = [], []
        for codes, names in zip(self.levels.codes, self.levels.names):
            ls, ps = [], []
            for m in members:
                c = np.bincount(codes[m], minlength=len(names))
                ls.append(names[int(c.argmax())]); ps.append(round(float(c.max() / c.sum()), 4))
            labels.append(ls); purity.append(ps)
        nodes |= {"label": labels, "purity": purity}
        nodes["rows"] = [self.rows[self.measured[m[np.lexsort((pr[m], ~isin[m]))[:THUMBNAILS]]]].tolist() for m in members]
        kind = "proxies" if self.proxies else "clustering"
        tree_out: dict[str, Any] = {"kind": kind}
        if self.proxies:
            tree_out["unused"] = len(tree.parent) - int((tree.sizes()[:-1] > 0).sum())
        return {
            "levels": self.levels.titles,
            "samples": {
                "row": self.rows[self.measured[shown]].tolist(),
                "x": rounded(drawn.x), "y": rounded(drawn.y),
                "parent": [None if place_ < 0 else int(place_) for place_ in holders[shown]],
                "radius": rounded(share[shown]),
            },
            "tree": tree_out | {"nodes": nodes},
            "projection": {"method": METHOD, "trustworthiness": None if drawn.trustworthiness is None else round(drawn.trustworthiness, 4)},
            "galleries": galleries(self.retrieval, self.rows, self.all_levels),
        }


def membership(tree, kept):
    images, start, end = tree.order()
    out = []
    for v in kept:
        m = np.zeros(len(images), bool); m[images[start[v]:end[v]]] = True
        out.append(m)
    return out


def keep_used(tree, most):
    size = tree.sizes()[:-1]; depth = tree.depths()[:-1]
    used = np.flatnonzero(size > 0)
    used = used[np.lexsort((used, depth[used], -size[used]))[:most]]
    return np.sort(used), None


def keep_topmost(tree, most):
    m = len(tree.parent)
    return np.arange(m)[::-1][:most], None


def nearest_kept(tree, place):
    out = np.full(len(tree.parent) + 1, -1)
    for v in tree.downwards():
        out[v] = place[v] if place[v] >= 0 else out[tree.parent[v]]
    return out


def rounded(values):
    return [round(float(v), 4) for v in values]
