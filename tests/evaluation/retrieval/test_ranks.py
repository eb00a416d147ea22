"""The fast ranks against the search they stand for: all products in float64, masked and compared."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from hier.evaluation.retrieval import ranks
from hier.evaluation.retrieval import tiles as counting
from hier.evaluation.retrieval.ranks import nearest_own_ranks
from hier.evaluation.retrieval.recall import recall_at_k
from hier.geometry.poincare import exp0, lorentz

KS = [1, 2, 4, 10, 100]


def plain_ranks(query, query_labels, gallery, gallery_labels, hides_own_number=False, widths=1.0):
    """Ranks from one float64 matrix, with the definition of ties as it stands in `recall`."""
    product = query @ gallery.T
    same = query_labels[:, None] == gallery_labels[None, :]
    others, own = product.masked_fill(same, -math.inf), product.masked_fill(~same, -math.inf)
    if hides_own_number:
        own.diagonal().fill_(-math.inf)
        others.diagonal().fill_(-math.inf)
    length = torch.linalg.vector_norm(query, dim=1, keepdim=True)
    longest = torch.linalg.vector_norm(gallery, dim=1).max()
    tolerance = widths * 4 * query.shape[1] * torch.finfo(torch.float64).eps * length * longest
    nearest = own.amax(1, keepdim=True)
    rank = 1 + (others >= nearest - tolerance).sum(1)
    return torch.where(nearest.squeeze(1) > -math.inf, rank, torch.iinfo(torch.int64).max)


def shares(rank, ks=KS):
    return [int((rank <= k).sum()) / len(rank) for k in ks]


def assert_same_side(actual, expected, ks=KS):
    """Every rank is on the same side of every K."""
    for k in ks:
        assert torch.equal(actual <= k, expected <= k), k


def products_form(x, metric, c):
    """Rows whose inner products rank like the metric: as queries and as gallery."""
    if metric == "cosine":
        rows = normalize(x.double(), dim=1)
        return rows, rows
    rows = lorentz(x.double(), c)
    return rows * torch.tensor([-1.0] + [1.0] * x.shape[1], dtype=torch.float64), rows


def points(g, n, dim, c, shape):
    """Points on the ball: spread, many of them equal, or in tight clusters on the clip radius."""
    u = torch.randn(n, dim, generator=g, dtype=torch.float64)
    if shape == "duplicates":
        u = u[torch.randint(max(1, n // 4), (n,), generator=g)]
    if shape == "clipped":
        spread = 10.0 ** -float(torch.randint(0, 9, (1,), generator=g))
        u = 50 * (u[torch.randint(min(3, n), (n,), generator=g)] + spread * u)
    if shape == "far":  # a few near the boundary, most near the origin
        u *= 10.0 ** torch.randint(-3, 2, (n, 1), generator=g)
    return exp0(u, c, 2.3 if shape != "far" else None)


@st.composite
def cases(draw):
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    metric, c = draw(st.sampled_from(["poincare", "cosine"])), draw(st.sampled_from([0.01, 0.1, 1]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    shape = draw(st.sampled_from(["spread", "duplicates", "clipped", "far"]))
    n, items = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    dim, classes = draw(st.sampled_from([1, 2, 16, 128])), draw(st.sampled_from([1, 2, 9, 60]))
    x = points(g, n + items, dim, c, shape).to(dtype)
    y = torch.randint(classes, (n + items,), generator=g)
    if draw(st.booleans()):
        y[torch.rand(n + items, generator=g) < 0.7] = 0  # one huge class
    itself = draw(st.booleans())
    sides = (x, y, x, y) if itself else (x[:n], y[:n], x[n:], y[n:])
    tiles = draw(st.sampled_from([(1024, 4096), (7, 256), (16, 5), (3, 512)]))
    return metric, c, sides, itself or draw(st.booleans()), tiles, draw(st.sampled_from([1, 4]))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(case=cases())
def test_ranks_are_those_of_a_plain_search(case):
    metric, c, (xq, yq, xg, yg), hides, tiles, part = case
    query, gallery = products_form(xq, metric, c)[0], products_form(xg, metric, c)[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(counting.TILE, "cpu", tiles)
        patch.setattr(counting, "PART", part)
        patch.setattr(ranks, "BLOCK_ELEMENTS", 40 * len(gallery))
        # Products at the border of a tie may round to either side: by a quarter of the width at most.
        first, last = (plain_ranks(query, yq, gallery, yg, hides, w) for w in (0.75, 1.25))
        found = nearest_own_ranks(query, yq, gallery, yg, KS, hides)
        for k in KS:
            assert ((last <= k) <= (found <= k)).all(), k
            assert ((found <= k) <= (first <= k)).all(), k
        c_or_none = c if metric == "poincare" else None
        got = recall_at_k(xq, yq, xg, yg, KS, metric, c_or_none, mask_gallery_of_query=hides)
    for least, share, most in zip(shares(last), got.values(), shares(first), strict=True):
        assert least <= share <= most


def clusters(n=3000, classes=400, dim=64, seed=0):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=g)
    u = torch.randn(classes, dim, generator=g)[y] + 1.2 * torch.randn(n, dim, generator=g)
    return exp0(u * (3 * torch.rand(n, 1, generator=g) / u.norm(dim=1, keepdim=True)), 0.1, 2.3), y


@pytest.mark.parametrize("metric", ["poincare", "cosine"])
@pytest.mark.parametrize("ks", [[1], [1, 10, 100, 1000], [5000]])
def test_thousands_over_several_tiles(metric, ks, monkeypatch):
    monkeypatch.setitem(counting.TILE, "cpu", (512, 1024))
    x, y = clusters()
    query, gallery = products_form(x, metric, 0.1)
    expected = plain_ranks(query, y, gallery, y, True)
    assert_same_side(nearest_own_ranks(query, y, gallery, y, ks, True), expected, ks)


def near_ties(gap, dim=128, n=200):
    """Per query an own item and one of another class, nearer or farther by `gap` (relative)."""
    g = torch.Generator().manual_seed(1)
    q = normalize(torch.randn(n, dim, generator=g, dtype=torch.float64))
    side = torch.randn(n, dim, generator=g, dtype=torch.float64)
    side = normalize(side - (side * q).sum(1, keepdim=True) * q)
    sign = torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0)[:, None].double()
    own, other = (cos * q + (1 - cos**2).sqrt() * side for cos in (0.9 + 0 * sign, 0.9 + gap * sign))
    y = torch.arange(n)
    return q, y, torch.cat([own, other]), torch.cat([y, y + n])


@pytest.fixture
def counted(monkeypatch):
    """How many queries were counted in float64."""
    found, exact = [], ranks.Search.exact_ranks

    def noted(self, rows):
        found.append(len(rows))
        return exact(self, rows)

    monkeypatch.setattr(ranks.Search, "exact_ranks", noted)
    return found


@pytest.mark.parametrize("gap", [1e-7, 1e-9, 1e-12])
def test_near_ties_are_decided_in_float64(gap, counted):
    sides = near_ties(gap)
    expected = plain_ranks(*sides)
    assert shares(expected, [1]) == [0.5]
    assert_same_side(nearest_own_ranks(*sides, [1, 2]), expected, [1, 2])
    assert counted == [200]


@pytest.mark.parametrize("gap", [1e-9, 1e-12])
def test_float32_alone_gets_near_ties_wrong(gap, monkeypatch):
    """So the margin is what finds them: without it the very same ranks come out wrong."""
    sides = near_ties(gap)
    thresholds = counting.Thresholds.of

    def no_margin(self, longest, dtype):
        nearer, not_farther = thresholds(self, longest, dtype)
        middle = (nearer.double() + not_farther.double()).div(2).float()
        return middle, middle

    monkeypatch.setattr(counting.Thresholds, "of", no_margin)
    wrong = nearest_own_ranks(*sides, [1]) > 1
    assert int((wrong != (plain_ranks(*sides) > 1)).sum()) > 20


def test_the_margin_holds_and_most_queries_need_no_float64(counted):
    x, y = clusters()
    query, gallery = products_form(x, "poincare", 0.1)
    search = ranks.Search(query, y, gallery, y, True)
    tiles, own = counting.Tiles(search.query, search.gallery), search.nearest_own()
    lowest, highest = tiles.bounds(own, 10**9)
    expected = plain_ranks(query, y, gallery, y, True)[search.query_number]
    assert (lowest <= expected).all()
    assert (highest >= expected).all()
    nearest_own_ranks(query, y, gallery, y, [1, 10], True)
    assert sum(counted) < len(x) / 20


def test_one_far_item_does_not_widen_the_margin_of_all(counted):
    x, y = clusters()
    x = x.double()
    x[:3] *= (1 - 1e-7) / (0.1**0.5 * x[:3].norm(dim=1, keepdim=True))
    query, gallery = products_form(x, "poincare", 0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(counting.TILE, "cpu", (512, 256))
        actual = nearest_own_ranks(query, y, gallery, y, [1], True)
    assert_same_side(actual, plain_ranks(query, y, gallery, y, True), [1])
    assert sum(counted) < len(x) / 3


@pytest.mark.parametrize("items", [1, 3, 100])
def test_tiles_hold_all_items_and_none_longer_than_said(items):
    lengths = [0.0, 0.5, 1.0, 1.0, 1.5, 1.9, 2.5, 5.5, 1e7, 1e7]
    cut = list(counting._cut(lengths, items))
    assert [n for tile, _ in cut for n in range(len(lengths))[tile]] == list(range(len(lengths)))
    assert [max(lengths[tile]) for tile, _ in cut] == [longest for _, longest in cut]
    assert max(len(lengths[tile]) for tile, _ in cut) == min(items, 7)


@pytest.mark.parametrize("metric", ["poincare", "cosine"])
def test_all_tied_is_a_plain_search(metric, counted):
    x, y = torch.full((500, 8), 0.3), torch.arange(500) // 4
    query, gallery = products_form(x, metric, 0.1)
    assert nearest_own_ranks(query, y, gallery, y, [1, 497], True).tolist() == [497] * 500
    assert counted == [500]


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_float32_that_is_rounded_is_not_relied_on(precision):
    sides = near_ties(1e-5)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        assert not counting._float32_is_exact(torch.device("cpu"))
        actual = nearest_own_ranks(*sides, [1, 2])
    finally:
        torch.set_float32_matmul_precision(before)
    assert counting._float32_is_exact(torch.device("cpu"))
    assert_same_side(actual, plain_ranks(*sides), [1, 2])


def test_autocast_changes_nothing():
    sides = near_ties(1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = nearest_own_ranks(*sides, [1, 2])
    assert_same_side(actual, plain_ranks(*sides), [1, 2])
