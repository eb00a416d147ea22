"""Recall@K, MAP@R and the clip share against the official code and exact brute force."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hier.evaluation.hierarchy.space import clip_share
from hier.evaluation.retrieval import ranks, recall, tiles
from hier.evaluation.retrieval.recall import map_at_r, recall_at_k
from hier.geometry.poincare import exp0

GOLDEN = Path(__file__).parents[2] / "golden" / "recall.npz"


# --- official code ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("metric", "name"), [("poincare", "hyperbolic"), ("cosine", "cosine")])
def test_recall_is_the_official_one(metric, name, dtype):
    with np.load(GOLDEN) as arrays:
        g = {key: np.asarray(arrays[key]) for key in arrays.files}
    xq, xg, ks = g["xq"].astype(dtype), g["xg"].astype(dtype), g["ks"].tolist()
    c = float(g["c"]) if metric == "poincare" else None
    within = recall_at_k(xg, g["yg"], xg, g["yg"], ks, metric, c, exclude_self=True)
    assert within == dict(zip(ks, g[f"self_{name}"].tolist(), strict=True))
    between = recall_at_k(xq, g["yq"], xg, g["yg"], ks, metric, c)
    assert between == dict(zip(ks, g[f"query_gallery_{name}"].tolist(), strict=True))


# --- exact brute force ---------------------------------------------------------------------------

GRID = 8  # coordinates are multiples of 1/8: distances can be compared as exact fractions
C = 0.25


def exact_key(x, y, metric):
    """A rational that grows with the distance of two grid points."""
    x, y = ([Fraction(v, GRID) for v in point] for point in (x, y))
    xx, yy, xy = (sum(a * b for a, b in zip(*p, strict=True)) for p in ((x, x), (y, y), (x, y)))
    if metric == "cosine":
        return -xy * abs(xy) / (xx * yy) if xx * yy else Fraction(0)
    c = Fraction(C)
    return (xx + yy - 2 * xy) / ((1 - c * xx) * (1 - c * yy))


def exact_ranks(case, metric, exclude_self):
    """For each query the ranks of all its same-class items, ties counted against them."""
    query, query_labels, gallery, gallery_labels = case
    for i, (x, label) in enumerate(zip(query, query_labels, strict=True)):
        keys = [exact_key(x, y, metric) for y in gallery]
        own = sorted(
            key for g, key in enumerate(keys) if gallery_labels[g] == label and not (exclude_self and g == i)
        )
        others = [key for g, key in enumerate(keys) if gallery_labels[g] != label]
        yield [m + sum(o <= key for o in others) for m, key in enumerate(own, 1)]


def exact_recall(case, ks, metric, exclude_self):
    ranks = list(exact_ranks(case, metric, exclude_self))
    return {k: sum(bool(own) and own[0] <= k for own in ranks) / len(ranks) for k in ks}


def exact_map_at_r(case, metric, exclude_self):
    averages = [
        sum(m / rank for m, rank in enumerate(own, 1) if rank <= len(own)) / len(own)
        for own in exact_ranks(case, metric, exclude_self)
        if own
    ]
    return sum(averages) / len(averages) if averages else math.nan


@st.composite
def retrieval_sets(draw, same=False):
    """Few grid points in few places: duplicates and ties by symmetry are the rule."""
    dim = draw(st.integers(1, 3))
    # |coordinate| ≤ 1, so c‖x‖² ≤ 3/4
    place = st.tuples(*[st.integers(-GRID, GRID) | st.integers(-1, 1)] * dim)
    places = draw(st.lists(place, min_size=1, max_size=6))
    item = st.tuples(st.sampled_from(places), st.integers(0, 3))
    gallery = draw(st.lists(item, min_size=1, max_size=14))
    query = gallery if same else draw(st.lists(item, min_size=1, max_size=8))
    return [list(part) for pairs in (query, gallery) for part in zip(*pairs, strict=True)]


def tensors(case, dtype=torch.float32):
    query, query_labels, gallery, gallery_labels = case
    return (
        torch.tensor(query, dtype=dtype) / GRID,
        torch.tensor(query_labels),
        torch.tensor(gallery, dtype=dtype) / GRID,
        torch.tensor(gallery_labels),
    )


def check(case, metric, exclude_self):
    ks, c = [1, 2, 3, 10], C if metric == "poincare" else None
    inputs = tensors(case)
    actual = recall_at_k(*inputs, ks, metric, c, exclude_self)
    assert actual == exact_recall(case, ks, metric, exclude_self)
    expected = exact_map_at_r(case, metric, exclude_self)
    assert map_at_r(*inputs, metric, c, exclude_self) == pytest.approx(expected, nan_ok=True)


def chunks(monkeypatch, rows, items):
    """Look at `rows` queries in one go, in a gallery of `items`."""
    monkeypatch.setattr(recall, "CHUNK_ELEMENTS", rows * items)
    monkeypatch.setattr(ranks, "BLOCK_ELEMENTS", rows * items)
    monkeypatch.setitem(tiles.TILE, "cpu", (rows, 3 * rows))


METRICS = pytest.mark.parametrize("metric", ["poincare", "cosine"])


@METRICS
@settings(max_examples=150, deadline=None, derandomize=True)
@given(case=retrieval_sets())
def test_query_against_gallery_equals_brute_force(metric, case):
    check(case, metric, exclude_self=False)


@METRICS
@settings(max_examples=150, deadline=None, derandomize=True)
@given(case=retrieval_sets(same=True))
def test_a_set_against_itself_equals_brute_force(metric, case):
    check(case, metric, exclude_self=True)


@METRICS
@settings(max_examples=100, deadline=None, derandomize=True)
@given(case=retrieval_sets())
def test_hiding_gallery_item_i_from_query_i_equals_brute_force(metric, case):
    """The official In-Shop evaluation's error, for queries fewer or more than the gallery."""
    c, ks = C if metric == "poincare" else None, [1, 2, 3, 10]
    query, query_labels, gallery, gallery_labels = case
    hits = dict.fromkeys(ks, 0)
    for i, (point, label) in enumerate(zip(query, query_labels, strict=True)):
        rest = [g for g in range(len(gallery)) if g != i]
        alone = [[point], [label], [gallery[g] for g in rest], [gallery_labels[g] for g in rest]]
        if rest:
            for k, found in exact_recall(alone, ks, metric, exclude_self=False).items():
                hits[k] += int(found)
    actual = recall_at_k(*tensors(case), ks, metric, c, mask_gallery_of_query=True)
    assert actual == {k: hits[k] / len(query) for k in ks}


@pytest.mark.parametrize(("queries", "items"), [(30, 120), (120, 30)])
def test_hiding_does_not_depend_on_chunks_and_needs_no_equal_labels(monkeypatch, queries, items):
    x, y = large_case(150)
    sides = (x[:queries], y[:queries], x[-items:], y[-items:])
    expected = recall_at_k(*sides, [1, 4], "cosine", mask_gallery_of_query=True)
    for rows in (1, 7, 64):
        chunks(monkeypatch, rows, items)
        assert recall_at_k(*sides, [1, 4], "cosine", mask_gallery_of_query=True) == expected


def test_hiding_in_a_set_against_itself_is_excluding_self():
    x, y = large_case()
    alone = recall_at_k(x, y, x, y, [1, 4], "cosine", exclude_self=True)
    assert recall_at_k(x, y, x, y, [1, 4], "cosine", mask_gallery_of_query=True) == alone


# --- order, chunks, kinds of input -------------------------------------------------------------


def large_case(n=400, dim=64, seed=0):
    """Float32 embeddings, each about three times among those of 40 classes, in random order."""
    g = torch.Generator().manual_seed(seed)
    u = torch.randn(n // 3, dim, generator=g)[torch.randint(n // 3, (n,), generator=g)]
    return exp0(u, 0.1, 2.3) * torch.rand(n, 1, generator=g).round(decimals=1), torch.randint(
        40, (n,), generator=g
    )


@METRICS
def test_order_and_chunks_do_not_matter(metric, monkeypatch):
    c = 0.1 if metric == "poincare" else None
    x, y = large_case(150)
    measures = [
        lambda x, y: recall_at_k(x, y, x, y, [1, 2, 4, 8], metric, c, exclude_self=True),
        lambda x, y: map_at_r(x, y, x, y, metric, c, exclude_self=True),
        lambda x, y: recall_at_k(x[:40], y[:40], x[40:], y[40:], [1, 2, 4, 8], metric, c),
    ]
    expected = [measure(x, y) for measure in measures]
    for rows in (1, 7, 64):
        chunks(monkeypatch, rows, len(x))
        assert [measure(x, y) for measure in measures] == expected
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))
    assert measures[0](x[order], y[order]) == expected[0]
    assert measures[1](x[order], y[order]) == expected[1]


@METRICS
def test_duplicates_tie_wherever_they_stand(metric):
    """Each point once for each of two classes: the other class is never strictly farther."""
    c = 0.1 if metric == "poincare" else None
    x = exp0(torch.randn(301, 128, generator=torch.Generator().manual_seed(0)), 0.1, 2.3)
    gallery, gallery_labels = x.repeat(2, 1), torch.arange(2).repeat_interleave(301)
    order = torch.randperm(602, generator=torch.Generator().manual_seed(1))
    got = recall_at_k(x, torch.zeros(301), gallery[order], gallery_labels[order], [1, 2], metric, c)
    assert got == {1: 0.0, 2: 1.0}


def test_a_collapsed_embedding_scores_nothing():
    x, y = torch.full((40, 8), 0.3), torch.arange(40) // 4
    for metric, c in (("poincare", 0.1), ("cosine", None)):
        assert recall_at_k(x, y, x, y, [1, 36, 37], metric, c, True) == {1: 0.0, 36: 0.0, 37: 1.0}
        assert map_at_r(x, y, x, y, metric, c, True) == 0.0


def test_a_perfect_embedding_scores_one():
    x, y = torch.eye(10).repeat_interleave(4, 0), torch.arange(10).repeat_interleave(4)
    for metric, c in (("poincare", 0.5), ("cosine", None)):
        assert recall_at_k(x, y, x, y, [1], metric, c, True) == {1: 1.0}
        assert map_at_r(x, y, x, y, metric, c, True) == 1.0


def test_numpy_and_torch_and_read_only_inputs_agree():
    x, y = large_case()
    expected = recall_at_k(x, y, x, y, [1, 4], "cosine", exclude_self=True)
    a, b = x.numpy().copy(), y.numpy().astype(np.int32)
    a.setflags(write=False)
    assert recall_at_k(a, b, a, b, [1, 4], "cosine", exclude_self=True) == expected
    with_grad = x.clone().requires_grad_()
    assert recall_at_k(with_grad, y, x, y, [1, 4], "cosine", exclude_self=True) == expected


def test_inputs_are_left_alone():
    x, y = large_case()
    x = x.double()
    before = x.clone()
    recall_at_k(x, y, x, y, [1], "poincare", 0.1, exclude_self=True)
    map_at_r(x, y, x, y, "cosine", exclude_self=True)
    assert torch.equal(x, before)


def test_map_at_r_by_hand():
    """R = 3 with own items at ranks 1, 3 and 4: (1/1 + 2/3)/3."""
    angle = torch.tensor([0.1, 0.2, 0.3, 0.4])
    gallery = torch.stack([angle.cos(), angle.sin()], 1)
    value = map_at_r(
        torch.tensor([[1.0, 0.0]]), torch.tensor([5]), gallery, torch.tensor([5, 6, 5, 5]), "cosine"
    )
    assert value == pytest.approx((1 + 2 / 3) / 3)


def test_queries_without_their_class():
    """A miss for recall; left out of MAP@R."""
    query, labels = torch.eye(2), torch.tensor([0, 9])
    gallery, gallery_labels = torch.eye(2), torch.tensor([0, 1])
    assert recall_at_k(query, labels, gallery, gallery_labels, [1, 50], "cosine") == {
        1: 0.5,
        50: 0.5,
    }
    assert map_at_r(query, labels, gallery, gallery_labels, "cosine") == 1.0
    assert math.isnan(map_at_r(query, labels + 20, gallery, gallery_labels, "cosine"))


# --- refusals ------------------------------------------------------------------------------------

X, Y = torch.full((4, 3), 0.1), torch.arange(4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, Y, X, Y, "euclidean"), "euclidean"),
        ((X, Y, X, Y, "poincare"), "needs the curvature"),
        ((X, Y, X, Y, "poincare", 0.0), "must be > 0, got 0.0"),
        ((X, Y, X, Y, "cosine", 0.1), "no curvature"),
        ((X, Y, 9 * X, Y, "poincare", 1.0), "outside the ball of curvature −1.0"),
        ((X * math.nan, Y, X, Y, "cosine"), "NaN"),
        ((X, Y, X / 0, Y, "cosine"), "infinity"),
        ((X, Y[:3], X, Y, "cosine"), "4 embeddings with labels of shape"),
        ((X[0], Y, X, Y, "cosine"), "N×D"),
        ((X[:0], Y[:0], X, Y, "cosine"), "not empty"),
        ((X[:, :2], Y, X, Y, "cosine"), "differ in dimension"),
        ((X, Y, X, Y.flip(0), "cosine", None, True), "item by item"),
        ((X[:3], Y[:3], X, Y, "cosine", None, True), "item by item"),
    ],
)
def test_unfit_inputs_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        map_at_r(*arguments)
    with pytest.raises(ValueError, match=message):
        recall_at_k(*arguments[:4], [1], *arguments[4:])


def test_k_must_be_positive():
    with pytest.raises(ValueError, match=r"at least 1, got \[1, 0\]"):
        recall_at_k(X, Y, X, Y, [1, 0], "cosine")


# --- clip share ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("c", "clip_radius"), [(0.1, 2.3), (1.0, 2.3), (1.0, 50.0)])
def test_clip_share_counts_the_clipped(c, clip_radius, dtype):
    direction = torch.nn.functional.normalize(
        torch.randn(100, 8, generator=torch.Generator().manual_seed(0), dtype=dtype)
    )
    limit = min(clip_radius, math.atanh(0.999) / math.sqrt(c))
    lengths = torch.full((100, 1), 0.9 * limit, dtype=dtype)
    lengths[:37] = 1.5 * limit
    z = exp0(lengths * direction, c, clip_radius)
    assert clip_share(z, c, clip_radius) == 0.37
    assert clip_share(z.numpy(), c, clip_radius) == 0.37


def test_clip_share_refusals():
    with pytest.raises(ValueError, match="at least one"):
        clip_share(torch.zeros(0, 3), 0.1, 2.3)
    with pytest.raises(ValueError, match=r"clip_radius.*0"):
        clip_share(torch.zeros(2, 3), 0.1, 0.0)
    with pytest.raises(ValueError, match="got 0"):
        clip_share(torch.zeros(2, 3), 0.0, 2.3)
