"""Flat and spherical distances against plain formulas, near, identical and opposite points."""

import math

import pytest
import torch

from hier.geometry.flat import clip_norm, euclidean_distance_matrix, spherical_distance_matrix

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
BOTH = pytest.mark.parametrize("distances", [euclidean_distance_matrix, spherical_distance_matrix])
BOTH_DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def points(n, seed=0, dim=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=torch.float64).to(dtype) * 2.0


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def norms(x):
    return torch.linalg.vector_norm(x, dim=-1)


@BOTH_DTYPES
def test_euclidean_distance_by_definition(dtype):
    x, y = points(20, 0, dtype=dtype), points(15, 1, dtype=dtype)
    actual = euclidean_distance_matrix(x, y)
    assert actual.dtype == dtype
    expected = norms(x.double()[:, None] - y.double()[None]).to(dtype)
    torch.testing.assert_close(actual, expected, rtol=TOLERANCE[dtype], atol=0.0)


@BOTH_DTYPES
def test_spherical_distance_by_definition(dtype):
    x, y = points(20, 0, dtype=dtype), points(15, 1, dtype=dtype)
    actual = spherical_distance_matrix(x, y)
    assert actual.dtype == dtype
    expected = torch.acos(unit(x.double()) @ unit(y.double()).T).to(dtype)
    torch.testing.assert_close(actual, expected, rtol=TOLERANCE[dtype], atol=0.0)


@pytest.mark.parametrize("angle", [1e-9, 1e-6, 1e-3, 0.5, math.pi / 2, 3.0, math.pi - 1e-6])
def test_known_angles(angle):
    x = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64).requires_grad_()
    d = spherical_distance_matrix(x, y)
    # rounding of squares below 2 limits what can be told apart
    assert d.item() == pytest.approx(angle, abs=max(1e-9, 1e-15 / min(angle, math.pi - angle)))
    d.sum().backward()
    if 1e-4 < angle < 3.1:
        assert norms(y.grad).item() == pytest.approx(1.0, rel=1e-6)
    assert torch.isfinite(y.grad).all()


@BOTH
def test_it_is_a_metric(distances):
    x = points(25)
    d = distances(x, x)
    assert (d.diagonal() == 0).all()
    assert (d[~torch.eye(25, dtype=torch.bool)] > 0).all()
    torch.testing.assert_close(d, d.T)
    assert (d <= (d[:, :, None] + d[None]).amin(1) + 1e-9).all()


@BOTH
def test_gradients(distances):
    x, y = points(5, 0, 3).requires_grad_(), points(4, 1, 3).requires_grad_()
    assert torch.autograd.gradcheck(distances, (x, y))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 128, 512])
def test_identical_points_have_distance_zero_and_gradient_zero(distances, dtype, dim):
    x = points(50, dim=dim, dtype=dtype)
    y = x.clone().requires_grad_()
    d = distances(x, y).diagonal()
    assert (d == 0).all()
    d.sum().backward()
    assert (y.grad == 0).all()


def test_opposite_directions_have_angle_pi_and_gradient_zero():
    x = points(50, dim=64)
    y = (-2.0 * x).requires_grad_()
    d = spherical_distance_matrix(x, y).diagonal()
    torch.testing.assert_close(d, torch.full_like(d, math.pi), rtol=0.0, atol=1e-6)
    d.sum().backward()
    assert torch.isfinite(y.grad).all()


@BOTH
def test_near_points_in_float32_keep_their_distance(distances):
    x = points(40, dim=16, dtype=torch.float32)
    for step in (1e-2, 1e-4, 1e-5):
        y = x + step * torch.linspace(-1, 1, 16)
        actual = distances(x, y).diagonal().double()
        a, b = x.double(), y.double()
        if distances is spherical_distance_matrix:
            a, b = unit(a), unit(b)
        expected = norms(a - b)
        if distances is spherical_distance_matrix:
            expected = 2 * torch.asin(expected / 2)
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=0.0)


def test_angles_see_only_the_direction_and_flat_distances_scale():
    x, y = points(10), points(12, 1)
    angles = spherical_distance_matrix(x, y)
    torch.testing.assert_close(spherical_distance_matrix(5 * x, 0.1 * y), angles)
    flat = euclidean_distance_matrix(x, y)
    torch.testing.assert_close(euclidean_distance_matrix(5 * x, 5 * y), 5 * flat)


@BOTH
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_changes_nothing(distances, half):
    x = points(20, dtype=torch.float32)
    plain = distances(x, x[:7])
    with torch.autocast("cpu", dtype=half):
        cast = distances(x, x[:7])
        clipped = clip_norm(x, 2.0)
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)
    assert torch.equal(clipped, clip_norm(x, 2.0))
    low = x.to(half)
    assert torch.equal(distances(low, low[:7]), distances(low.float(), low[:7].float()))


@BOTH_DTYPES
def test_clipping_keeps_directions_and_short_vectors(dtype):
    u = points(30, dtype=dtype) * torch.linspace(0, 1, 30, dtype=dtype)[:, None]
    x = clip_norm(u, 2.3)
    assert x.dtype == dtype
    torch.testing.assert_close(norms(x), norms(u).clamp_max(2.3))
    short = norms(u) <= 2.3
    assert 3 < short.sum() < 27
    assert torch.equal(x[short], u[short])
    torch.testing.assert_close(unit(x[1:]), unit(u[1:]))


def test_clipping_gradients():
    u = (points(8, dim=4) * torch.linspace(0.1, 1, 8)[:, None]).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: clip_norm(u, 2.3), (u,))
    zero = torch.zeros(1, 4, requires_grad=True)
    clip_norm(zero, 2.3).sum().backward()
    torch.testing.assert_close(zero.grad, torch.ones(1, 4))


@pytest.mark.parametrize("radius", [0.0, -1.0, math.nan])
def test_radius_must_be_positive(radius):
    with pytest.raises(ValueError, match=f"radius must be > 0, got {radius}"):
        clip_norm(torch.zeros(1, 2), radius)
