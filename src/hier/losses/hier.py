"""The HIER regulariser: hierarchical proxies as lowest common ancestors of triplets.

Kim, Jeong, Kwak, "HIER: Metric Learning Beyond Class Labels via Hierarchical Regularization",
CVPR 2023. All distances are geodesics of the Poincaré ball, or for ablation of flat space or of
the sphere.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from hier.geometry.flat import clip_norm, euclidean_distance_matrix, spherical_distance_matrix
from hier.geometry.poincare import distance_matrix, exp0

Geometry = Literal["poincare", "euclidean", "spherical"]

Triplets = tuple[Tensor, Tensor, Tensor]
"""Anchor i, related point j, unrelated point k of each triplet: int64 vectors of length T."""

INITIAL_NORM = 0.9
"""Hierarchical proxies start at about this share of the clip radius."""


def reciprocal_neighbours(similarity: Tensor, k: int) -> Tensor:
    """Pairs of points that are each among the other's k most similar.

    Source: ``get_reciprocal_triplets`` of the HIER code.

    Args:
        similarity: N×N, larger is nearer; a point is most similar to itself.
        k: neighbours looked at, the point itself among them; more than N means N.

    Returns:
        N×N boolean, symmetric, False on the diagonal.

    Raises:
        ValueError: k is not ≥ 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    nearest = similarity.topk(min(k, len(similarity)), dim=1).indices
    listed = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, nearest, True)
    return (listed & listed.T).fill_diagonal_(False)


def sample_triplets(
    related: Tensor,
    per_anchor: int,
    generator: torch.Generator,
    k_may_equal_i: bool = False,
) -> Triplets:
    """Draw triplets (i, j, k) with j related to i and k ≠ i not related to it.

    j and k are uniform and drawn with replacement. Anchors with fewer than 2 related points or
    with no point to draw k from are skipped.

    Args:
        related: N×N boolean with a False diagonal.
        per_anchor: triplets for each anchor.
        generator: source of the draws. They are made on its device and then moved, so that a CPU
            generator gives the same triplets everywhere.
        k_may_equal_i: draw k from all that is not related, i included, as the HIER code
            (``get_reciprocal_triplets``) does.

    Returns:
        Three int64 vectors of length (anchors kept)·per_anchor on the device of ``related``.
    """
    unrelated = (~related).fill_diagonal_(k_may_equal_i)
    anchors = torch.nonzero((related.sum(1) >= 2) & unrelated.any(1)).squeeze(1)
    j = _draw_columns(related[anchors], per_anchor, generator)
    k = _draw_columns(unrelated[anchors], per_anchor, generator)
    return anchors.repeat_interleave(per_anchor), j, k


def _draw_columns(mask: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """For each row of a boolean mask, ``draws`` uniform columns where it is True, flattened."""
    uniform = torch.rand(
        (len(mask), draws), generator=generator, dtype=torch.float64, device=generator.device
    ).to(mask.device)
    place = (uniform * mask.sum(1, keepdim=True)).long()
    columns = mask.int().argsort(dim=1, descending=True, stable=True)
    return columns.gather(1, place).flatten()


def gumbel(
    shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Standard Gumbel noise −log(−log U), drawn on the generator's device and then moved.

    Args:
        shape: of the result.
        generator: source of the draws.
        dtype: float32 or float64.
        device: of the result.

    Returns:
        Finite noise of that shape.
    """
    uniform = torch.rand(tuple(shape), generator=generator, dtype=dtype, device=generator.device)
    noise = uniform.clamp_min_(torch.finfo(dtype).tiny).log_().neg_().log_().neg_()
    return noise.to(device)


def lca_triplet_loss(
    distances: Tensor,
    triplets: Triplets,
    pair_noise: Tensor,
    triplet_noise: Tensor,
    temperature: float,
    margin: float,
) -> Tensor:
    """Triplet loss on distances to the lowest common ancestors (``compute_gHHC``, HIER code).

    The ancestor ρ_ij of a pair is drawn by the Gumbel-max trick: the candidate ρ with the largest
    −max(d(i, ρ), d(j, ρ))/temperature + noise; ρ_ijk of the triplet likewise with the maximum over
    its three points. The choice is hard in the forward pass and differentiated as a softmax. Per
    triplet,

        [d(i, ρ_ij) − d(i, ρ_ijk) + margin]₊ + [d(j, ρ_ij) − d(j, ρ_ijk) + margin]₊
        + [d(k, ρ_ijk) − d(k, ρ_ij) + margin]₊,

    and 0 where ρ_ij = ρ_ijk; the mean is over all triplets. Without any triplet the loss is a zero
    that can be differentiated.

    Args:
        distances: N×P distances of the points to the candidate ancestors, float32 or float64.
        triplets: (i, j, k), int64 vectors of length T with values in 0…N−1.
        pair_noise: T×P Gumbel noise for ρ_ij.
        triplet_noise: T×P Gumbel noise for ρ_ijk.
        temperature: τ > 0 of the choice.
        margin: δ, in units of distance.

    Returns:
        Scalar.
    """
    if len(triplets[0]) == 0:
        return distances.sum() * 0.0
    d_i, d_j, d_k = (distances.index_select(0, index) for index in triplets)
    reach_ij = torch.maximum(d_i, d_j)
    pair = _straight_through_choice(pair_noise - reach_ij / temperature)
    reach_ijk = torch.maximum(reach_ij, d_k)
    triplet = _straight_through_choice(triplet_noise - reach_ijk / temperature)
    nearer = pair - triplet
    loss = (
        torch.relu((d_i * nearer).sum(1) + margin)
        + torch.relu((d_j * nearer).sum(1) + margin)
        + torch.relu(margin - (d_k * nearer).sum(1))
    )
    distinct = pair.argmax(1) != triplet.argmax(1)
    return (loss * distinct).mean()


def _straight_through_choice(logits: Tensor) -> Tensor:
    """One-hot rows at the largest logit, with the gradient of the softmax."""
    soft = torch.softmax(logits, dim=1)
    hard = torch.zeros_like(soft).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())


class HierRegularizer(nn.Module):
    """HIER loss of a batch: a term on the data and one on the proxies (``HIERLoss``, HIER code).

    `geometry` says what distances are. "poincare": geodesics of the ball. "euclidean": ‖x − y‖ of
    the embeddings as they come and of the proxies, their norms clipped to the clip radius.
    "spherical": angles between directions, where norms mean nothing.

    Attributes:
        proxies: P×D parameter, float32: hierarchical proxies as tangent vectors at the origin.
            They are mapped into the ball, or clipped, at every step.

    Args:
        num_proxies: P, number of hierarchical proxies.
        dim: D, dimension of the embedding.
        curvature: c > 0 of the ball, 0 for the other geometries.
        clip_radius: clip radius of the proxies, > 0.
        neighbours: K of the reciprocal neighbours.
        triplets_per_anchor: triplets drawn for each anchor.
        temperature: τ of the choice of ancestors.
        margin: δ of the triplet loss.
        generator: CPU generator of the initial proxies, N(0, 1)/√D · 0.9 · clip_radius.
        geometry: of the distances.
        proxy_term: whether to add the term on triplets of proxies.
        k_may_equal_i: see `sample_triplets`.

    Raises:
        ValueError: curvature or clip_radius is out of its range, or geometry is unknown.
    """

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
        """HIER loss of a batch.

        Args:
            z: B×D embeddings, on the ball where that is the geometry.
            labels: B class labels, integer, on the device of z.
            generator: source of triplets and Gumbel noise.

        Returns:
            Scalar: data term + proxy term, if any, not weighted.
        """
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
        shape = (len(triplets[0]), distances.shape[1])
        pair_noise, triplet_noise = (
            gumbel(shape, generator, distances.dtype, distances.device) for _ in range(2)
        )
        return lca_triplet_loss(
            distances, triplets, pair_noise, triplet_noise, self.temperature, self.margin
        )


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
