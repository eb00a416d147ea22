"""Images on the unit disk: the distance from the centre is true, the angle keeps neighbours together."""

from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from hier.evaluation.space import Array

NEIGHBOURS = 10
METHOD = "radius: true distance from the centre; angle: optimal leaf order of average linkage"


class Disk(NamedTuple):
    x: Array
    y: Array
    angle: Array
    trustworthiness: float | None


def disk(distances: Array, radius: Array) -> Disk:
    n = len(distances)
    if n > 2:
        condensed = squareform(distances, checks=False)
        order = leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed))
    else:
        order = np.arange(n)
    angle = np.empty(n)
    angle[order] = 2 * np.pi * np.arange(n) / max(n, 1)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return Disk(x, y, angle, _trust(distances, np.stack([x, y], 1)))


def _trust(distances: Array, points: Array) -> float | None:
    from sklearn.manifold import trustworthiness

    k = min(NEIGHBOURS, (len(points) - 1) // 2)
    if k < 1:
        return None
    return float(trustworthiness(distances, points, n_neighbors=k, metric="precomputed"))
