"""The Poincaré ball against identities, geoopt and the official code."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from hier.geometry.poincare import distance_matrix, exp0, lorentz, max_norm

with warnings.catch_warnings():  # geoopt compiles with torch.jit.script, which torch deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    import geoopt

GOLDEN = Path(__file__).parents[1] / "golden"
CURVATURES = [0.1, 1.0, 2.5]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-9}

over_cases = pytest.mark.parametrize(
    ("seed", "dtype", "c"),
    [(s, d, c) for s in range(3) for d in (torch.float32, torch.float64) for c in CURVATURES],
)


def golden(name):
    with np.load(GOLDEN / name) as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}


def points(n, seed, dtype, c, dim=8, clip_radius=None):
    """Points at all depths of the ball, the origin among them, some pushed to its rim."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(n, dim, generator=generator, dtype=torch.float64) / math.sqrt(c * dim)
    u = u * torch.linspace(0.0, 3.0, n, dtype=torch.float64)[:, None]
    return exp0(u, c, clip_radius).to(dtype)


def norms(x):
    return torch.linalg.vector_norm(x, dim=-1)


def geoopt_distance(x, y, c):
    """Rowwise distance in float64, from Möbius addition."""
    ball = geoopt.PoincareBall(c=torch.tensor(c, dtype=torch.float64))
    return ball.dist(x.double(), y.double())


def relative(actual, expected):
    """Relative difference of two tensors by their norm."""
    return float((actual - expected).norm() / expected.norm())


# --- official code ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["distance_c0.1.npz", "distance_c1.0.npz"])
def test_distance_is_the_official_one(name, dtype):
    g = golden(name)
    c = float(g["c"])
    d = distance_matrix(g["x"].to(dtype), g["y"].to(dtype), c)
    assert d.dtype == dtype
    torch.testing.assert_close(d.double(), g["distance"], rtol=5e-3, atol=0.0)
    inner_x = math.sqrt(c) * norms(g["x"]) < 0.622  # the clip radius 2.3 at c = 0.1
    inner_y = math.sqrt(c) * norms(g["y"]) < 0.622
    assert inner_x.sum() > 3
    assert inner_y.sum() > 3
    inner, expected = d[inner_x][:, inner_y].double(), g["distance"][inner_x][:, inner_y]
    torch.testing.assert_close(inner, expected, rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["to_poincare_c0.1.npz", "to_poincare_c1.0.npz"])
def test_map_into_the_ball_is_the_official_one(name, dtype):
    g = golden(name)
    u = g["u"].to(dtype).requires_grad_()
    z = exp0(u, float(g["c"]), float(g["clip_r"]))
    z.backward(g["upstream_grad"].to(dtype))
    torch.testing.assert_close(z.detach().double(), g["z"], rtol=1e-4, atol=1e-7)
    assert relative(u.grad.double(), g["grad_u"]) < 1e-4
    per_row = norms(u.grad.double() - g["grad_u"]) / norms(g["grad_u"])
    assert per_row.max() < 1e-3


# --- distance ----------------------------------------------------------------------------------


@over_cases
def test_distance_equals_geoopt(seed, dtype, c):
    x, y = points(40, seed, dtype, c), points(25, seed + 100, dtype, c)
    expected = geoopt_distance(x[:, None], y[None, :], c)
    actual = distance_matrix(x, y, c)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), expected, rtol=TOLERANCE[dtype], atol=1e-9)


@over_cases
def test_distance_is_a_metric(seed, dtype, c):
    x = points(30, seed, dtype, c)
    d = distance_matrix(x, x, c)
    assert (d.diagonal() == 0).all()
    off_diagonal = d[~torch.eye(len(x), dtype=torch.bool)]
    assert (off_diagonal > 0).all()
    torch.testing.assert_close(d, d.T, rtol=TOLERANCE[dtype], atol=0.0)
    detour = (d[:, :, None] + d[None, :, :]).amin(1)
    assert (d <= detour * (1 + TOLERANCE[dtype])).all()


@over_cases
def test_distance_from_the_origin_is_twice_the_tangent_norm(seed, dtype, c):
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(20, 8, generator=generator, dtype=torch.float64).to(dtype) * 0.3 / math.sqrt(c)
    d = distance_matrix(torch.zeros(1, 8, dtype=dtype), exp0(u, c, None), c)
    torch.testing.assert_close(d[0], 2.0 * norms(u), rtol=TOLERANCE[dtype], atol=0.0)
    clip_radius = 0.5 / math.sqrt(c)
    d = distance_matrix(torch.zeros(1, 8, dtype=dtype), exp0(u, c, clip_radius), c)
    expected = 2.0 * norms(u).clamp_max(clip_radius)
    torch.testing.assert_close(d[0], expected, rtol=TOLERANCE[dtype], atol=0.0)


@over_cases
def test_rotations_are_isometries(seed, dtype, c):
    x, y = points(20, seed, torch.float64, c), points(15, seed + 50, torch.float64, c)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    rotated = distance_matrix((x @ rotation).to(dtype), (y @ rotation).to(dtype), c)
    # float32 points at the rim hold 1 − c‖x‖² ≥ 2e-3 to 1e-4 only
    tolerance = {torch.float32: 2e-4, torch.float64: 1e-9}[dtype]
    expected = distance_matrix(x.to(dtype), y.to(dtype), c)
    torch.testing.assert_close(rotated, expected, rtol=tolerance, atol=1e-6)


@over_cases
def test_curvature_only_scales(seed, dtype, c):
    x, y = points(20, seed, torch.float64, 1.0), points(15, seed + 50, torch.float64, 1.0)
    unit = distance_matrix(x, y, 1.0)
    scaled = distance_matrix((x / math.sqrt(c)).to(dtype), (y / math.sqrt(c)).to(dtype), c)
    tolerance = {torch.float32: 2e-4, torch.float64: 1e-9}[dtype]
    torch.testing.assert_close(scaled.double() * math.sqrt(c), unit, rtol=tolerance, atol=1e-6)


def test_small_balls_are_flat():
    x = points(10, 0, torch.float64, 1.0) * 1e-3
    expected = 2.0 * torch.cdist(x, x)
    torch.testing.assert_close(distance_matrix(x, x, 1.0), expected, rtol=1e-5, atol=1e-9)


@over_cases
def test_lorentz_inner_product_is_cosh_of_the_distance(seed, dtype, c):
    x, y = points(20, seed, dtype, c), points(15, seed + 50, dtype, c)
    a, b = lorentz(x, c), lorentz(y, c)
    assert a.shape == (20, 9)
    assert a.dtype == dtype
    a, b = a.double(), b.double()
    inner = a[:, :1] * b[:, 0] - a[:, 1:] @ b[:, 1:].T
    expected = torch.cosh(math.sqrt(c) * distance_matrix(x.double(), y.double(), c))
    atol = torch.finfo(dtype).eps * float(a[:, 0].max() * b[:, 0].max())
    torch.testing.assert_close(inner, expected, rtol=1e-6, atol=4 * atol)
    on_sheet = a[:, 0].square() - a[:, 1:].square().sum(1)
    torch.testing.assert_close(on_sheet, torch.ones_like(on_sheet), rtol=0, atol=8 * atol)


# --- near and identical points -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 128, 512])
def test_identical_points_have_distance_zero_and_a_finite_gradient(dtype, dim):
    x = points(50, 0, dtype, 0.1, dim=dim, clip_radius=2.3).requires_grad_()
    d = distance_matrix(x, x.flip(0), 0.1)
    assert (d.flip(1).diagonal() == 0).all()
    d.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_near_points_in_float32_keep_their_distance_and_direction():
    x = points(50, 0, torch.float32, 0.1, dim=16, clip_radius=2.3)[10:]
    for step in (1e-2, 1e-4, 1e-6):
        y = (x + step * torch.linspace(-1, 1, 16)).requires_grad_()
        d = distance_matrix(x, y, 0.1).diagonal()
        expected = geoopt_distance(x, y.detach(), 0.1)
        torch.testing.assert_close(d.double(), expected, rtol=1e-3, atol=0.0)
        d.sum().backward()
        # a geodesic distance changes at the rate of the metric, 2/(1 − c‖y‖²)
        rate = 2.0 / (1.0 - 0.1 * norms(y.detach()).square())
        torch.testing.assert_close(norms(y.grad), rate, rtol=1e-2, atol=0.0)


def test_float32_agrees_with_float64_out_to_the_rim():
    x = points(60, 3, torch.float32, 0.1)
    single, double = distance_matrix(x, x, 0.1), distance_matrix(x.double(), x.double(), 0.1)
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-7)


# --- precision ---------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(half):
    u = torch.randn(20, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def run():
        x = exp0(u, 0.1, 2.3)
        d = distance_matrix(x, x[:7], 0.1)
        return d, lorentz(x, 0.1), torch.autograd.grad(d.sum(), u)[0]

    plain = run()
    with torch.autocast("cpu", dtype=half):
        cast = run()
    for a, b in zip(plain, cast, strict=True):
        assert b.dtype == torch.float32
        assert torch.equal(a, b)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_inputs_are_computed_as_float32(half):
    u = torch.randn(20, 16, generator=torch.Generator().manual_seed(0)).to(half)
    assert torch.equal(exp0(u, 0.1, 2.3), exp0(u.float(), 0.1, 2.3))
    assert torch.equal(
        distance_matrix(u / 4, u / 4, 0.1), distance_matrix((u / 4).float(), (u / 4).float(), 0.1)
    )
    assert lorentz(u / 4, 0.1).dtype == torch.float32


# --- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("c", CURVATURES)
def test_distance_gradients(c):
    x = points(6, 0, torch.float64, c, dim=3, clip_radius=1.5 / math.sqrt(c)).requires_grad_()
    y = points(4, 9, torch.float64, c, dim=3, clip_radius=1.5 / math.sqrt(c))[1:].requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: distance_matrix(x, y, c), (x, y))
    assert torch.autograd.gradcheck(lambda x: lorentz(x, c), (x,))


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("length", [0.0, 0.3, 1.4, 5.0])
def test_gradient_into_the_tangent_space_is_riemannian(c, length):
    direction = torch.randn(1, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u = (length * direction / direction.norm()).requires_grad_()
    clip_radius = 1.5
    step = 1e-6 * torch.eye(5, dtype=torch.float64)
    with torch.no_grad():
        ahead, behind = exp0(u + step, c, clip_radius), exp0(u - step, c, clip_radius)
        plain = ((ahead - behind) / 2e-6).T  # x_i by u_j
    x = exp0(u, c, clip_radius)
    scale = float((1 - c * x.detach().square().sum()) ** 2 / 4)
    jacobian = torch.autograd.functional.jacobian(lambda u: exp0(u, c, clip_radius)[0], u)[:, 0]
    torch.testing.assert_close(jacobian, scale * plain, rtol=1e-6, atol=1e-9)


# --- edges -------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", CURVATURES)
def test_no_point_leaves_the_ball(c):
    u = torch.randn(20, 8, generator=torch.Generator().manual_seed(0)) * 1e4
    x = exp0(u, c, None)
    assert max_norm(c) == pytest.approx(0.999 / math.sqrt(c))
    torch.testing.assert_close(norms(x), torch.full((20,), max_norm(c)))
    assert torch.isfinite(distance_matrix(x, x, c)).all()
    direction = torch.nn.functional.normalize(u)
    torch.testing.assert_close(torch.nn.functional.normalize(x), direction)


def test_zero_maps_to_zero():
    u = torch.zeros(2, 4, requires_grad=True)
    x = exp0(u, 0.1, 2.3)
    x.sum().backward()
    assert (x == 0).all()
    torch.testing.assert_close(u.grad, torch.full((2, 4), 0.25))


@pytest.mark.parametrize("c", [0.0, -0.5, math.nan])
def test_curvature_must_be_positive(c):
    x = torch.zeros(2, 3)
    for call in (
        lambda: exp0(x, c, 2.3),
        lambda: distance_matrix(x, x, c),
        lambda: lorentz(x, c),
        lambda: max_norm(c),
    ):
        with pytest.raises(ValueError, match=f"got {c}"):
            call()


@pytest.mark.parametrize("clip_radius", [0.0, -1.0, math.nan])
def test_clip_radius_must_be_positive(clip_radius):
    with pytest.raises(ValueError, match=f"clip_radius.*{clip_radius}"):
        exp0(torch.zeros(2, 3), 0.1, clip_radius)
