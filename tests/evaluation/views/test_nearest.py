"""Neighbour lists against a sort of all items in exact arithmetic, float32 telling them apart or not."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hier.evaluation.retrieval.ranks import tie_width
from hier.evaluation.views.galleries import nearest

MOST = 8


def found(query, query_codes, items, item_codes, hidden=None):
    query, items = (torch.as_tensor(x, dtype=torch.float64) for x in (query, items))
    hidden = np.full(len(query), -1) if hidden is None else np.asarray(hidden)
    codes = np.asarray(query_codes), np.asarray(item_codes)
    width = tie_width(query, items)
    return nearest(query, codes[0], items, codes[1], width, hidden, MOST)


def plain(query, code, items, codes, hidden=-1):
    """Numbers of the first items: the largest exact product first, of equal ones other classes first."""
    products = [sum(Fraction(a) * Fraction(b) for a, b in zip(query, item, strict=True)) for item in items]
    order = sorted(range(len(items)), key=lambda g: (-products[g], codes[g] == code, g))
    return [g for g in order if g != hidden][:MOST]


def ordinary(seed=0, queries=20, images=300, dim=16):
    rng = np.random.default_rng(seed)
    query, items = rng.normal(size=(queries, dim)), rng.normal(size=(images, dim))
    return query, rng.integers(0, 3, queries), items, rng.integers(0, 3, images)


small = st.integers(-2, 2).map(float)


@st.composite
def with_ties(draw):
    """Small whole numbers: equal products are the rule, and every sum is exact."""
    dim, classes = draw(st.integers(1, 3)), st.integers(0, 2)
    point = st.lists(small, min_size=dim, max_size=dim)
    query = draw(st.lists(st.tuples(point, classes), min_size=1, max_size=4))
    items = draw(st.lists(st.tuples(point, classes), min_size=1, max_size=30))
    hidden = draw(st.lists(st.integers(-1, len(items) - 1), min_size=4, max_size=4))
    return query, items, hidden[: len(query)]


@given(with_ties())
@settings(deadline=None)
def test_with_ties_the_order_is_that_of_exact_products(made):
    query, items, hidden = made
    (points, codes), (item_points, item_codes) = zip(*query, strict=True), zip(*items, strict=True)
    for q, near in enumerate(found(points, codes, item_points, item_codes, hidden)):
        wanted = plain(points[q], codes[q], item_points, item_codes, hidden[q])
        assert near.item.tolist() == wanted
        assert near.own.tolist() == [item_codes[g] == codes[q] for g in wanted]


def test_ordinary_neighbours_are_those_of_exact_products():
    query, codes, items, item_codes = ordinary()
    for q, near in enumerate(found(query, codes, items, item_codes)):
        assert near.item.tolist() == plain(query[q], codes[q], items, item_codes)
        assert near.product == pytest.approx(items[near.item] @ query[q], rel=1e-12)


@pytest.mark.parametrize("copies", [5, 40])
def test_items_that_float32_takes_for_one_are_told_apart(copies):
    """Products that differ in the tenth digit, in an order that no list by float32 has."""
    query = np.ones((1, 4))
    steps = np.random.default_rng(1).permutation(copies)
    near, far = 1.0 + 1e-10 * steps[:, None] * np.ones((1, 4)), np.zeros((50, 4))
    items = np.concatenate([far, near])
    (first,) = found(query, [0], items, np.ones(len(items), np.int64))
    wanted = 50 + np.argsort(-steps)
    assert first.item.tolist()[:copies] == wanted[:MOST].tolist()
