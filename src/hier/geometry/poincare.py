"""The Poincaré ball of curvature −c, in closed form.

Points are the rows x of a tensor with c‖x‖² < 1, which no function checks; the curvature c > 0 is
a plain float. Callers treat c = 0, where the ball becomes flat, as the Euclidean or cosine case:
every function here raises ``ValueError`` for c ≤ 0. Half-precision inputs give float32 results,
float64 stays float64, and no result depends on autocast.
"""

import math

import torch
from torch import Tensor

BOUNDARY_MARGIN = 1e-3
"""Points keep this share of the radius away from the boundary (``project`` of the HIER code)."""


def max_norm(c: float) -> float:
    """Largest norm that :func:`exp0` returns: (1 − 1e-3)/√c (``project`` of the HIER code)."""
    return (1.0 - BOUNDARY_MARGIN) / math.sqrt(_positive(c))


def exp0(u: Tensor, c: float, clip_radius: float | None, riemannian: bool = True) -> Tensor:
    """Map tangent vectors u (N×D) at the origin into the ball (``ToPoincare`` of the HIER and Hyp code); the
    points are N×D, at least float32.

    The norm of u is clipped to the clip radius (None: not at all), then x = tanh(√c‖u‖) u / (√c‖u‖), then the
    norm of x is limited to ``max_norm(c)``. All three keep the direction; short of that last limit,
    d(0, x) = 2 min(‖u‖, clip radius). Where `riemannian`, the gradient that arrives at x is multiplied by
    (1 − c‖x‖²)²/4, the inverse of the metric, which makes it the Riemannian gradient, as the HIER code does;
    the Hyp code leaves it as it is. Raises ValueError: c or clip_radius is not > 0."""
    sqrt_c = math.sqrt(_positive(c))
    u = u.to(_at_least_float32(u))
    norm = torch.linalg.vector_norm(u, dim=-1, keepdim=True).clamp_min(1e-15)
    length = norm
    if clip_radius is not None:
        if not clip_radius > 0:
            raise ValueError(f"clip_radius must be > 0 or None, got {clip_radius}")
        length = norm.clamp_max(clip_radius)
    x = u * (torch.tanh(sqrt_c * length).clamp_max(1.0 - BOUNDARY_MARGIN) / (sqrt_c * norm))
    return _riemannian_gradient(x, c) if riemannian else x


def distance_matrix(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Geodesic distance of every x (N×D) to every y (P×D) on the ball, at least float32 (N×P), from one
    matrix product and O(NP) memory.

    d(x, y) = (2/√c) arsinh √( c‖x − y‖² / ((1 − c‖x‖²)(1 − c‖y‖²)) ), which equals the
    (2/√c) artanh(√c‖(−x) ⊕ y‖) of the HIER code (``dist_matrix``) without its N×P×D tensor.

    ‖x − y‖² = ‖x‖² + ‖y‖² − 2⟨x, y⟩ cancels for near points, so it is computed in float64 whatever the
    inputs; autocast leaves float64 alone. What is below the rounding error of that sum counts as the same
    point: distance 0 and gradient 0, where the distance has no derivative. ValueError where c is not > 0."""
    sqrt_c = math.sqrt(_positive(c))
    dtype = torch.promote_types(_at_least_float32(x), y.dtype)
    x, y = x.double(), y.double()
    x_squared = x.square().sum(-1)[:, None]
    y_squared = y.square().sum(-1)[None, :]
    squared = x_squared + y_squared - 2.0 * (x @ y.T)
    rounding = (x.shape[-1] + 2) * torch.finfo(torch.float64).eps * (x_squared + y_squared)
    same = squared <= rounding
    squared = squared.masked_fill(same, 1.0)  # keeps the root's gradient finite
    ratio = c * squared / ((1.0 - c * x_squared) * (1.0 - c * y_squared))
    distance = (2.0 / sqrt_c) * torch.arcsinh(torch.sqrt(ratio))
    return distance.masked_fill(same, 0.0).to(dtype)


def lorentz(x: Tensor, c: float) -> Tensor:
    """Points x (N×D) of the ball on the hyperboloid, at least float32 (N×(D+1)): L(x) = [1 + c‖x‖², 2√c x] /
    (1 − c‖x‖²).

    Then cosh(√c d(x, y)) = L₀(x)L₀(y) − ⟨L₁(x), L₁(y)⟩, with L₀ the first and L₁ the other coordinates: the
    nearest point has the largest Lorentz inner product. Raises ValueError: c is not > 0."""
    sqrt_c = math.sqrt(_positive(c))
    dtype = _at_least_float32(x)
    x = x.double()
    squared = c * x.square().sum(-1, keepdim=True)
    lifted = torch.cat([1.0 + squared, 2.0 * sqrt_c * x], dim=-1)
    return lifted.div_(1.0 - squared).to(dtype)


def _riemannian_gradient(x: Tensor, c: float) -> Tensor:
    """x, with its gradient times (1 − c‖x‖²)²/4 (``RiemannianGradient`` of the HIER code)."""
    value = x.detach()
    scale = (1.0 - c * value.square().sum(-1, keepdim=True)).square() / 4.0
    return value + scale * (x - value)


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _positive(c: float) -> float:
    if not c > 0:
        raise ValueError(f"the curvature c must be > 0, got {c}")
    return c
