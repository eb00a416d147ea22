"""Images on the unit disk: their distance from the centre is true, their angle keeps neighbours together."""

from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.optimize import minimize
from scipy.spatial.distance import squareform

from hier.evaluation.hierarchy.space import Array

METHOD = (
    "The distance from the centre is the true one, as a share of the greatest; angles start from the "
    "optimal leaf order of average linkage and are moved so that the 10 nearest neighbours of each "
    "image stay near (stochastic neighbour embedding with the angle as the only coordinate)."
)
NEIGHBOURS = 10
STEPS = 40
SPREAD = 0.25  # share of the even distance that is kept free between two angles in a row


class Disk(NamedTuple):
    """Where N images are drawn."""

    angle: Array
    x: Array
    y: Array
    trustworthiness: float | None  # of the 10 nearest neighbours; None for fewer than 3 images


def disk(distances: Array, radius: Array) -> Disk:
    """Draw N images by their distances (N×N) and their radii (N, 0…1); the same each time.

    Trustworthiness is that of Venna and Kaski (2001).
    """
    near = min(NEIGHBOURS, (len(distances) - 1) // 2)
    angle = _in_order(distances)
    if near:
        together = _together(distances, near)
        # On a rim this long, `near` images that are evenly spread take up a length of 1.
        rim = len(angle) / (2.0 * np.pi * near)
        moved = minimize(
            _divergence, angle, (together, radius * rim), "L-BFGS-B", jac=True,
            options={"maxiter": STEPS},
        )  # fmt: skip
        angle = moved.x
    angle = _spread(angle)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    if not near:
        return Disk(angle, x, y, None)
    from sklearn.manifold import trustworthiness

    drawn = np.stack([x, y], axis=1)
    trust = trustworthiness(distances, drawn, n_neighbors=near, metric="precomputed")
    return Disk(angle, x, y, float(trust))


def _in_order(distances: Array) -> Array:
    """Angles in which leaves of the average linkage follow each other, as far apart as they are."""
    order = np.arange(len(distances))
    if len(order) > 2:
        condensed = squareform(distances, checks=False)
        order = leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed))
    steps = distances[order, np.roll(order, -1)]
    around = np.cumsum(steps) / max(steps.sum(), np.finfo(float).tiny)
    angle = np.empty(len(order))
    angle[order] = 2.0 * np.pi * np.roll(around, 1)
    angle[order[:1]] = 0.0
    return angle


def _together(distances: Array, near: int) -> Array:
    """How strongly each two images (N×N) attract each other: evenly, where one is among the nearest of
    the other, twice where both are. Sums to 1."""
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    nearest = np.argsort(others, axis=1, kind="stable")[:, :near]
    listed = np.zeros_like(distances)
    np.put_along_axis(listed, nearest, 1.0, axis=1)
    return (listed + listed.T) / (2.0 * near * len(distances))


def _divergence(angle: Array, together: Array, radius: Array) -> tuple[float, Array]:
    """Divergence of the drawn neighbourhoods from `together`, and its derivative by the angles, as in
    t-SNE (van der Maaten and Hinton, 2008): Kullback and Leibler's, short of a constant."""
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    right, up = x[:, None] - x, y[:, None] - y
    nearness = 1.0 / (1.0 + right**2 + up**2)
    np.fill_diagonal(nearness, 0.0)
    total = nearness.sum()
    divergence = np.log(total) - (together * np.log(np.where(together, nearness, 1.0))).sum()
    force = 4.0 * (together - nearness / total) * nearness
    by_x, by_y = (force * right).sum(1), (force * up).sum(1)
    return float(divergence), by_y * x - by_x * y


def _spread(angle: Array) -> Array:
    """The angles in the same order around the circle, a little more evenly: no two are the same."""
    angle = np.mod(angle, 2.0 * np.pi)
    order = np.argsort(angle, kind="stable")
    gaps = np.diff(angle[order], append=angle[order[0]] + 2.0 * np.pi)
    gaps = (1.0 - SPREAD) * gaps + SPREAD * 2.0 * np.pi / len(angle)
    spread = np.empty_like(angle)
    spread[order] = angle[order[0]] + np.cumsum(gaps) - gaps
    return spread
