"""Triplets of an anchor, a point related to it and one that is not, by reciprocal neighbours."""

import torch
from torch import Tensor

from hier.losses.ancestors import Triplets


def reciprocal_neighbours(similarity: Tensor, k: int) -> Tensor:
    """Pairs of points that are each among the other's k most similar (N×N boolean, symmetric, False on the
    diagonal), the point itself counted among them; more than N means N.

    Of `similarity` (N×N) larger is nearer; a point is most similar to itself. Source:
    ``get_reciprocal_triplets`` of the HIER code. Raises ValueError: k is not ≥ 1."""
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

    Returns three int64 vectors of length (anchors kept)·per_anchor on the device of ``related``."""
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
    columns = mask.nonzero()[:, 1]  # row after row
    count = mask.sum(1, keepdim=True)
    first = count.cumsum(0) - count
    return columns[first + (uniform * count).long()].flatten()
