"""The HIER regulariser: hierarchical proxies as lowest common ancestors of triplets.

Kim, Jeong, Kwak, "HIER: Metric Learning Beyond Class Labels via Hierarchical Regularization",
CVPR 2023. All distances are geodesics of the Poincaré ball, or for ablation of flat space or of
the sphere.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from hier.geometry.flat import clip_norm, euclidean_distance_matrix, spherical_distance_matrix
from hier.geometry.poincare import distance_matrix, exp0
from hier.losses.ancestors import gumbel, lca_triplet_loss
from hier.losses.triplets import reciprocal_neighbours, sample_triplets

Geometry = Literal["poincare", "euclidean", "spherical"]

INITIAL_NORM = 0.9
"""Hierarchical proxies start at about this share of the clip radius."""


class HierRegularizer(nn.Module):
    """HIER loss of a batch: a term on the data and one on the proxies (``HIERLoss``, HIER code).

    `geometry` says what distances are. "poincare": geodesics of the ball. "euclidean": ‖x − y‖ of
    the embeddings as they come and of the proxies, their norms clipped to the clip radius.
    "spherical": angles between directions, where norms mean nothing.

    Attributes:
        proxies: P×D parameter, float32: hierarchical proxies as tangent vectors at the origin, at first
            N(0, 1)/√D · 0.9 · clip_radius. They are mapped into the ball, or clipped, at every step.

    Args:
        curvature: c > 0 of the ball, 0 for the other geometries.
        neighbours: K of the reciprocal neighbours.
        temperature: τ of the choice of ancestors.
        margin: δ of the triplet loss.
        generator: of the CPU, for the initial proxies.
        k_may_equal_i: see `sample_triplets`.

    Raises ValueError: curvature or clip_radius is out of its range, or geometry is unknown."""

    def __init__(
        self,
        num_proxies: int,
        dim: int,
        *,
        curvature: float,
        clip_radius: float,
        neighbours: int,
        triplets_per_anchor: int,
        temperature: float,
        margin: float,
        generator: torch.Generator,
        geometry: Geometry = "poincare",
        proxy_term: bool = True,
        k_may_equal_i: bool = False,
    ) -> None:
        super().__init__()
        _check(geometry, curvature, clip_radius)
        scale = INITIAL_NORM * clip_radius / math.sqrt(dim)
        self.proxies = nn.Parameter(torch.randn(num_proxies, dim, generator=generator) * scale)
        self.curvature = curvature
        self.clip_radius = clip_radius
        self.neighbours = neighbours
        self.triplets_per_anchor = triplets_per_anchor
        self.temperature = temperature
        self.margin = margin
        self.geometry = geometry
        self.proxy_term = proxy_term
        self.k_may_equal_i = k_may_equal_i

    def forward(self, z: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """HIER loss of a batch: data term + proxy term, if any, not weighted. z are B×D embeddings, on the
        ball where that is the geometry, labels B integers on its device; `generator` is the source of
        triplets and noise."""
        proxies = self._points()
        between_data = self._distances(z.detach(), z.detach())
        same_class = labels[:, None] == labels[None, :]
        data_similarity = torch.exp(-between_data) + same_class
        data_term = self._term(data_similarity, self._distances(z, proxies), generator)
        if not self.proxy_term:
            return data_term

        between_proxies = self._distances(proxies, proxies)
        proxy_similarity = torch.exp(-between_proxies.detach())
        return data_term + self._term(proxy_similarity, between_proxies, generator)

    def _points(self) -> Tensor:
        """The hierarchical proxies as points of the geometry (P×D)."""
        if self.geometry == "poincare":
            return exp0(self.proxies, self.curvature, self.clip_radius)
        if self.geometry == "euclidean":
            return clip_norm(self.proxies, self.clip_radius)
        return self.proxies

    def _distances(self, x: Tensor, y: Tensor) -> Tensor:
        if self.geometry == "poincare":
            return distance_matrix(x, y, self.curvature)
        if self.geometry == "euclidean":
            return euclidean_distance_matrix(x, y)
        return spherical_distance_matrix(x, y)

    def _term(self, similarity: Tensor, distances: Tensor, generator: torch.Generator) -> Tensor:
        """Loss of triplets drawn by similarity (N×N), with distances to the proxies (N×P)."""
        related = reciprocal_neighbours(similarity, self.neighbours)
        triplets = sample_triplets(related, self.triplets_per_anchor, generator, self.k_may_equal_i)
        noise = gumbel(distances.shape[1], generator, distances.dtype, distances.device)
        return lca_triplet_loss(distances, triplets, noise, self.temperature, self.margin)


def _check(geometry: str, curvature: float, clip_radius: float) -> None:
    if geometry not in ("poincare", "euclidean", "spherical"):
        raise ValueError(f"geometry must be poincare, euclidean or spherical, got {geometry!r}")
    if (geometry == "poincare") != (curvature > 0):
        raise ValueError(
            f"curvature {curvature} does not go with geometry {geometry}: the ball needs one "
            "above 0, the others 0"
        )
    if not clip_radius > 0:
        raise ValueError(f"clip_radius must be > 0, got {clip_radius}")
