"""Recall@K and MAP@R of an embedding, exact, by Poincaré or cosine distance.

Both distances rank like an inner product of two rows (the Lorentz inner product of
:func:`hier.geometry.poincare.lorentz`, or the cosine). Every result is that of float64 products;
:mod:`hier.evaluation.retrieval.ranks` finds Recall@K without computing most of them in float64.

Ties count against the embedding: a gallery item of the query's class ranks behind every item of
another class that is not strictly farther. The order of the gallery then does not matter, and an
embedding that maps everything to one point scores 0. Two items are tied where their inner products with
the query differ by less than the rounding error of the product.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hier.evaluation.retrieval.ranks import nearest_own_ranks, tie_width
from hier.geometry.poincare import lorentz
from hier.geometry.products import inner_products

Metric = Literal["poincare", "cosine"]
Array = np.ndarray | Tensor
TwoSides = tuple[Array, Array, Array, Array]  # embeddings and labels of the queries, then of the gallery

CHUNK_ELEMENTS = 2**21  # pairs that MAP@R looks at in one go; memory is about 100 bytes for each


def recall_at_k(
    query: Array,
    query_labels: Array,
    gallery: Array,
    gallery_labels: Array,
    ks: Sequence[int],
    metric: Metric,
    c: float | None = None,
    exclude_self: bool = False,
    mask_gallery_of_query: bool = False,
    leave_out_unmatched: bool = False,
) -> dict[int, float]:
    """Share of queries with an item of their class among the K nearest (0…1), for each K of `ks`.

    The nearest item of the query's class has rank 1 + the number of items of other classes that are
    not strictly farther.

    Args:
        query: Q×D embeddings, floating point; on the ball for the metric "poincare".
        query_labels: Q integers, of classes or super-classes.
        gallery: G×D embeddings.
        gallery_labels: G integers.
        ks: values of K, ≥ 1.
        metric: "poincare" or "cosine"; the cosine with a zero vector is 0.
        c: curvature > 0 of the ball, for "poincare" only.
        exclude_self: the gallery is the query set itself, and query i does not see item i.
        mask_gallery_of_query: query i does not see item i, though the two sets differ: an error of
            the official In-Shop evaluation, for comparison with its figures only.
        leave_out_unmatched: queries without any item of their class (see :func:`have_match`), which
            can never be right, are not judged; else they are misses.

    Raises:
        ValueError: shapes do not fit, a set is empty, an embedding is not finite or not on the
            ball, a K is below 1, the metric is unknown or c does not go with it, the two sets
            differ under exclude_self, or all queries are left out.
    """
    rank, judged = _nearest_own(
        (query, query_labels, gallery, gallery_labels), ks, metric, c, exclude_self,
        mask_gallery_of_query, leave_out_unmatched,
    )  # fmt: skip
    rank = rank[judged]
    if len(rank) == 0:
        raise ValueError("no query has an item of its class")
    return {k: int((rank <= k).sum()) / len(rank) for k in ks}


def hits_at_1(
    query: Array,
    query_labels: Array,
    gallery: Array,
    gallery_labels: Array,
    metric: Metric,
    c: float | None = None,
    exclude_self: bool = False,
    mask_gallery_of_query: bool = False,
    leave_out_unmatched: bool = False,
) -> Tensor:
    """Whether each query is right at rank 1: Q float64 values, 1 or 0, and NaN where it is not judged; their
    mean without NaN is :func:`recall_at_k` of 1, where arguments and errors are explained."""
    rank, judged = _nearest_own(
        (query, query_labels, gallery, gallery_labels), [1], metric, c, exclude_self,
        mask_gallery_of_query, leave_out_unmatched,
    )  # fmt: skip
    return (rank == 1).double().masked_fill(~judged, math.nan)


def _nearest_own(
    sides: TwoSides,
    ks: Sequence[int],
    metric: Metric,
    c: float | None,
    exclude_self: bool,
    mask_gallery_of_query: bool,
    leave_out_unmatched: bool,
) -> tuple[Tensor, Tensor]:
    """For each query what compares with each K as its nearest own item's rank, and whether it is judged."""
    if any(k < 1 for k in ks):
        raise ValueError(f"each K must be at least 1, got {list(ks)}")
    pairs = Pairs(sides, metric, c, exclude_self)
    rank = nearest_own_ranks(
        pairs.query, pairs.query_labels, pairs.gallery, pairs.gallery_labels,
        ks, exclude_self or mask_gallery_of_query,
    )  # fmt: skip
    if leave_out_unmatched:
        return rank, have_match(pairs.query_labels, pairs.gallery_labels, exclude_self)
    return rank, torch.ones_like(rank, dtype=torch.bool)


def have_match(query_labels: Array, gallery_labels: Array, exclude_self: bool = False) -> Tensor:
    """Whether the gallery (G labels) has an item of each query's class: Q booleans for Q labels.

    Under exclude_self the gallery is the query set, and no query finds itself.
    """
    wanted, found = to_tensor(query_labels), to_tensor(gallery_labels).sort().values
    items = torch.searchsorted(found, wanted, right=True) - torch.searchsorted(found, wanted)
    return items > int(exclude_self)


def map_at_r(
    query: Array,
    query_labels: Array,
    gallery: Array,
    gallery_labels: Array,
    metric: Metric,
    c: float | None = None,
    exclude_self: bool = False,
) -> float:
    """Mean average precision at R (Musgrave et al., "A Metric Learning Reality Check", ECCV 2020).

    For a query with R gallery items of its class, (1/R) Σ precision(r) over the ranks r ≤ R that
    hold one of them; the mean (0…1) is over queries. The m-th nearest item of the class has rank m +
    the number of items of other classes that are not strictly farther. Queries with R = 0 have no such
    average and are left out, also where Recall@K counts them as misses; NaN where all are.

    Arguments and errors are as in :func:`recall_at_k`.
    """
    return mean_of_judged(
        average_precisions(query, query_labels, gallery, gallery_labels, metric, c, exclude_self)
    )


def mean_of_judged(values: Sequence[float]) -> float:
    """The mean of those that are not NaN; NaN where all are."""
    judged = [value for value in values if not math.isnan(value)]
    return math.fsum(judged) / len(judged) if judged else math.nan


def average_precisions(
    query: Array,
    query_labels: Array,
    gallery: Array,
    gallery_labels: Array,
    metric: Metric,
    c: float | None = None,
    exclude_self: bool = False,
) -> list[float]:
    """What :func:`map_at_r` is the mean of, for each of the Q queries; NaN where R = 0."""
    averages: list[float] = []
    pairs = Pairs((query, query_labels, gallery, gallery_labels), metric, c, exclude_self)
    for own, others, tolerance in pairs.chunks():
        r = (own > -math.inf).sum(1, keepdim=True)
        depth = int(r.max())
        own, others = (part.topk(depth, dim=1).values for part in (own, others))
        m = torch.arange(1, depth + 1, device=own.device)
        # The rank is too small only where others were cut off, and then still > R.
        rank = m + torch.searchsorted(-others, tolerance - own, right=True)
        precision = torch.where((m <= r) & (rank <= r), m.double() / rank, 0.0)
        averages += (precision.sum(1, keepdim=True) / r)[:, 0].tolist()  # 0 / 0 is NaN
    return averages


class Pairs:
    """Inner products of all queries and gallery items, checked and cut into chunks."""

    def __init__(
        self, sides: TwoSides, metric: Metric, c: float | None = None, exclude_self: bool = False
    ) -> None:
        query, query_labels, gallery, gallery_labels = sides
        self.query = _rows(query, metric, c)
        self.gallery = _rows(gallery, metric, c)
        self.query_labels = _labels(query_labels, self.query)
        self.gallery_labels = _labels(gallery_labels, self.gallery)
        self.hides_own_number = exclude_self
        if self.query.shape[1] != self.gallery.shape[1]:
            raise ValueError("query and gallery embeddings differ in dimension")
        if exclude_self and not torch.equal(self.query_labels, self.gallery_labels):
            raise ValueError("exclude_self needs the gallery to be the query set, item by item")
        if metric == "poincare":
            self.query[:, 0] *= -1.0  # ⟨query, gallery⟩ = −cosh(√c d)

    def chunks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each chunk of queries: inner products with items of their class and with the others,
        −∞ elsewhere, and the differences (one for each query) below which two of them are tied.
        """
        tolerance = tie_width(self.query, self.gallery)[:, None]
        size = max(1, CHUNK_ELEMENTS // len(self.gallery))
        for start in range(0, len(self.query), size):
            query = self.query[start : start + size]
            product = inner_products(query, self.gallery)
            labels = self.query_labels[start : start + size]
            same_class = labels[:, None] == self.gallery_labels[None, :]
            others = product.masked_fill(same_class, -math.inf)
            own = product.masked_fill_(~same_class, -math.inf)
            if self.hides_own_number and start < len(self.gallery):
                own.diagonal(start).fill_(-math.inf)
                others.diagonal(start).fill_(-math.inf)
            yield own, others, tolerance[start : start + size]


def to_tensor(values: Array) -> Tensor:
    """The values as a tensor; an array is copied, since it may be read-only."""
    return values if isinstance(values, Tensor) else torch.tensor(values)


def _rows(embeddings: Array, metric: Metric, c: float | None) -> Tensor:
    """Float64 rows whose inner products rank like the metric."""
    rows = to_tensor(embeddings).detach()
    if rows.ndim != 2 or rows.numel() == 0:
        raise ValueError(f"embeddings must be N×D and not empty, got {tuple(rows.shape)}")
    if not torch.isfinite(torch.stack(torch.aminmax(rows))).all():  # which pass NaN on
        raise ValueError("embeddings hold NaN or infinity")
    rows = rows.double()
    if metric == "cosine":
        if c is not None:
            raise ValueError("the cosine metric takes no curvature c")
        return torch.nn.functional.normalize(rows, dim=1)
    if metric != "poincare":
        raise ValueError(f'metric must be "poincare" or "cosine", got {metric!r}')
    if c is None:
        raise ValueError("the poincare metric needs the curvature c")
    lifted = lorentz(rows, c)
    first = lifted[:, 0]  # (1 + c‖x‖²)/(1 − c‖x‖²)
    if not ((first >= 1.0) & (first < math.inf)).all():
        raise ValueError(f"embeddings lie outside the ball of curvature −{c}")
    return lifted


def _labels(labels: Array, rows: Tensor) -> Tensor:
    result = to_tensor(labels).to(rows.device).long()
    if result.shape != rows.shape[:1]:
        raise ValueError(f"{len(rows)} embeddings with labels of shape {tuple(result.shape)}")
    return result
