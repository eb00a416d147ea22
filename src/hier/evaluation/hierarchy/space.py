"""Where a run's embeddings and hierarchical proxies lie: distances to each other and to the centre.

Retrieval compares embeddings by the run's metric, the regulariser by its geometry; in the ball they
are the same. Everything here is computed in float64.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from hier.config.run import Head, Hier, Run
from hier.evaluation.retrieval.recall import to_tensor
from hier.geometry.flat import clip_norm, euclidean_distance_matrix, spherical_distance_matrix
from hier.geometry.poincare import BOUNDARY_MARGIN, distance_matrix, exp0, max_norm

Array = NDArray[np.float64]


class Space(NamedTuple):
    """N images and P hierarchical proxies in the geometry of their regulariser."""

    between_images: Array  # N×N
    to_proxies: Array  # N×P
    between_proxies: Array  # P×P
    image_radius: Array  # N, distance from the centre as a share of the greatest that can be had
    proxy_radius: Array  # P


def metric_distances(x: Tensor, run: Run) -> Array:
    """Distance of every embedding (N×D) to every other by the run's metric: geodesic, or 1 − cosine;
    symmetric and ≥ 0, with zeros on the diagonal (N×N)."""
    x = x.double()
    if run.evaluate.metric == "poincare" and run.head:
        between = distance_matrix(x, x, run.head.curvature)
    else:
        unit = normalize(x, dim=1)
        between = 1.0 - unit @ unit.T
    result: Array = (between + between.T).div_(2.0).clamp_min_(0.0).numpy()
    np.fill_diagonal(result, 0.0)
    return result


def radius(x: Tensor, run: Run) -> Array:
    """Hyperbolic distance of embeddings (N×D) from the origin, as a share of the greatest (N).

    1 everywhere for a run that does not lie in the ball: its metric sees directions only.
    """
    if not run.head or not run.head.curvature:
        return np.ones(len(x))
    share: Array = (_length(x, run.head) / _longest(run.head)).clamp_max(1.0).numpy()
    return share


def space(x: Tensor, proxies: Tensor, run: Run) -> Space:
    """Images (N×D embeddings) and proxies (P×D tangent vectors, as they were trained) of a HIER run.

    The centre is the origin of the ball or of flat space; on the sphere, the mean direction of the
    proxies. The greatest distance from it is the clip radius' in the ball, else the greatest there is.
    """
    assert isinstance(run.regularizer, Hier)
    assert run.head is not None
    x, u, head = x.double(), proxies.double(), run.head
    # Lengths of tangent vectors, so that proxies on the clip radius are at exactly one distance.
    of_x, of_u = _length(x, head), torch.linalg.vector_norm(u, dim=1).clamp_max(_longest(head))
    distance: Callable[[Tensor, Tensor], Tensor]
    if run.regularizer.geometry == "poincare":
        y = exp0(u, head.curvature, head.clip_radius)
        distance = partial(distance_matrix, c=head.curvature)
    elif run.regularizer.geometry == "euclidean":
        y, distance = clip_norm(u, head.clip_radius), euclidean_distance_matrix
    else:
        y, distance = u, spherical_distance_matrix
        centre = normalize(u, dim=1).mean(0, keepdim=True)
        of_x, of_u = (distance(a, centre)[:, 0] for a in (x, u))
    between = [distance(a, b) for a, b in ((x, x), (x, y), (y, y))]
    most = _longest(head) if head.curvature else float(torch.cat([of_x, of_u]).max())
    shares = ((part / most).clamp_max(1.0).numpy() for part in (of_x, of_u))
    return Space(*(part.numpy() for part in between), *shares)


def clip_share(z: np.ndarray | Tensor, c: float, clip_radius: float) -> float:
    """Share (0…1) of embeddings (N×D, N ≥ 1, on the ball) that were clipped on the way into the ball.

    They have the largest norm that :func:`hier.geometry.poincare.exp0` gives for the clip radius,
    min(tanh(√c·clip_radius), 1 − 1e-3)/√c; norms from 1e-4 (relative) below it count. Where all are clipped,
    hyperbolic and cosine distance rank alike. Raises ValueError: c or clip_radius is not > 0, or z is
    empty."""
    if not clip_radius > 0 or len(z) == 0:
        raise ValueError(f"needs clip_radius > 0 and at least one of z, not {clip_radius}, {len(z)}")
    largest = max_norm(c)
    clipped_norm = min(math.tanh(math.sqrt(c) * clip_radius) / math.sqrt(c), largest)
    norms = torch.linalg.vector_norm(to_tensor(z).double(), dim=1)
    return int((norms >= clipped_norm * (1.0 - 1e-4)).sum()) / len(norms)


def _length(x: Tensor, head: Head) -> Tensor:
    """Length of the tangent vector at the origin that leads to each x: half the distance."""
    norm = torch.linalg.vector_norm(x.double(), dim=1)
    if not head.curvature:
        return norm
    root = math.sqrt(head.curvature)
    return torch.atanh((root * norm).clamp_max(1.0 - BOUNDARY_MARGIN)) / root


def _longest(head: Head) -> float:
    """The longest tangent vector that :func:`exp0` lets through."""
    if not head.curvature:
        return head.clip_radius
    root = math.sqrt(head.curvature)
    return min(head.clip_radius, math.atanh(1.0 - BOUNDARY_MARGIN) / root)
