"""The disk: radii as given, neighbours side by side, the same each time."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from sklearn.manifold import trustworthiness

from hier.evaluation.views.disk_layout import (
    SPREAD,
    _divergence,
    _in_order,
    _spread,
    _together,
    disk,
)


def euclidean(points):
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def cloud(images, dim=8, seed=0):
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(5, dim))
    return euclidean(rng.normal(size=(images, dim)) + centres[np.arange(images) % 5])


@given(st.integers(0, 10**6), st.integers(1, 40), st.booleans())
@settings(max_examples=30, deadline=None)
def test_radii_are_true_and_no_two_images_have_one_angle(seed, images, equal):
    rng = np.random.default_rng(seed)
    radius = rng.random(images)
    drawn = disk(np.zeros((images, images)) if equal else cloud(images, seed=seed), radius)
    assert np.hypot(drawn.x, drawn.y) == pytest.approx(radius, abs=1e-12)
    turned = np.sort(np.mod(drawn.angle, 2 * np.pi))
    gaps = np.diff(turned, append=turned[0] + 2 * np.pi)
    assert gaps.min() > SPREAD * 2 * np.pi / images * (1 - 1e-9)
    assert (drawn.trustworthiness is None) == (images < 3)


def test_the_same_distances_give_the_same_bytes():
    one, other = (disk(cloud(60), np.ones(60)) for _ in range(2))
    assert one.x.tobytes() == other.x.tobytes()
    assert one.y.tobytes() == other.y.tobytes()


def test_a_ring_is_drawn_as_a_ring():
    """Images on a circle, in any order, come out in their order around it."""
    place = np.random.default_rng(0).permutation(50)
    turn = 2 * np.pi * place / 50
    drawn = disk(euclidean(np.stack([np.cos(turn), np.sin(turn)], 1)), np.ones(50))
    around = place[np.argsort(np.mod(drawn.angle, 2 * np.pi))]
    steps = np.mod(np.diff(around, append=around[0]), 50)
    assert set(steps) in ({1}, {49})
    assert drawn.trustworthiness > 0.99


def test_neighbours_are_kept_better_than_by_the_order_alone_and_far_better_than_by_chance():
    distances = cloud(200)
    drawn = disk(distances, np.ones(200))
    assert drawn.trustworthiness == pytest.approx(kept(distances, drawn.angle))
    order = _in_order(distances)
    chance = np.random.default_rng(0).uniform(0, 2 * np.pi, 200)
    assert kept(distances, chance) < 0.6 < kept(distances, order) < drawn.trustworthiness


def kept(distances, angle):
    points = np.stack([np.cos(angle), np.sin(angle)], 1)
    return trustworthiness(distances, points, n_neighbors=10, metric="precomputed")


def test_the_derivative_of_what_is_minimised():
    rng = np.random.default_rng(0)
    together, radius = _together(cloud(20), 4), rng.uniform(0.2, 2, 20)
    assert together.sum() == pytest.approx(1)
    wrong = check_grad(
        lambda angle: _divergence(angle, together, radius)[0],
        lambda angle: _divergence(angle, together, radius)[1],
        rng.uniform(0, 6, 20),
    )
    assert wrong < 1e-6


def test_spreading_keeps_the_order_around():
    angle = np.array([0.1, -0.1, 7.0, 0.1, 3.0])
    spread = _spread(angle)
    order = np.argsort(np.mod(angle, 2 * np.pi), kind="stable")
    assert (np.diff(spread[order]) > 0).all()
    assert spread.max() - spread.min() < 2 * np.pi


def test_three_images_are_drawn_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert disk(euclidean(np.array([[0.0], [0.1], [5.0]])), np.ones(3)).trustworthiness == pytest.approx(
            1.0
        )
