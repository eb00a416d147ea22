"""Geodesics: a point between two others lies on one if the distances add up."""

import numpy as np
import pytest
import torch

from hier.geometry.poincare import distance_matrix
from hier.reporting.disk_scene import handles

T = np.linspace(0.0, 1.0, 11)


def distance(a, b):
    pair = [torch.tensor([[z.real, z.imag]], dtype=torch.float64) for z in (a, b)]
    return distance_matrix(*pair, 1.0).item()


def curve(start, end):
    """Points of the Bézier curve from `start` to `end`."""
    (one,), (other,) = handles(np.array([start]), np.array([end]))
    ends = (1 - T) ** 3 * start + T**3 * end
    return ends + 3 * (1 - T) ** 2 * T * one + 3 * (1 - T) * T**2 * other


def random_points(seed):
    random = np.random.default_rng(seed)
    return np.sqrt(random.uniform(0, 0.8, 2)) * np.exp(2j * np.pi * random.uniform(size=2))


@pytest.mark.parametrize("seed", range(20))
def test_distances_along_the_curve_add_up(seed):
    start, end = random_points(seed)
    whole = distance(start, end)
    for point in curve(start, end)[1:-1]:
        detour = distance(start, point) + distance(point, end)
        assert whole * (1 - 1e-9) <= detour < whole * 1.001


def test_a_straight_line_is_no_geodesic_but_through_the_centre():
    start, end = 0.8 + 0j, 0.8j
    detour = distance(start, (start + end) / 2) + distance((start + end) / 2, end)
    assert detour > 1.05 * distance(start, end)
    assert curve(-0.3 + 0j, 0.6 + 0j) == pytest.approx(-0.3 + 0.9 * T, abs=1e-12)
    assert curve(0.5 + 0.5j, 0j) == pytest.approx((1 - T) * (0.5 + 0.5j), abs=1e-12)


def test_it_meets_the_rim_at_a_right_angle():
    end = np.exp(0.7j)
    (_,), (other,) = handles(np.array([0.2 - 0.3j]), np.array([end]))
    assert ((end - other) / end).imag == pytest.approx(0.0, abs=1e-12)


def test_nearly_in_line_it_stays_near_the_line():
    for off in (0.0, 1e-9, 1e-7, 1e-5):
        points = curve(-0.5 + 0j, 0.5 + 1j * off)
        assert np.abs(points.imag).max() <= off + 1e-12


def test_no_points_no_handles():
    nothing = np.array([], complex)
    assert [len(part) for part in handles(nothing, nothing)] == [0, 0]
