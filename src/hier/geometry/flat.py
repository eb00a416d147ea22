"""Flat space and the unit sphere, in closed form: the geometries that the ball is compared with.

As in :mod:`hier.geometry.poincare`, points are the rows of a tensor, half-precision inputs give
float32 results, float64 stays float64, and no result depends on autocast.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def clip_norm(u: Tensor, radius: float) -> Tensor:
    """Shorten the vectors u (N×D) that are longer than `radius`, keeping their direction. Raises ValueError:
    radius is not > 0."""
    if not radius > 0:
        raise ValueError(f"radius must be > 0, got {radius}")
    u = u.to(torch.promote_types(u.dtype, torch.float32))
    norm = torch.linalg.vector_norm(u, dim=-1, keepdim=True).clamp_min(1e-15)
    return u * (norm.clamp_max(radius) / norm)


def euclidean_distance_matrix(x: Tensor, y: Tensor) -> Tensor:
    """Distance ‖x − y‖ of every x (N×D) to every y (P×D), at least float32 (N×P), from one matrix product
    and O(NP) memory.

    ‖x − y‖² cancels for near points, so it is computed in float64. What is below the rounding
    error of that sum counts as the same point: distance 0 and gradient 0.
    """
    squared, same = _squared(x.double(), y.double())
    return torch.sqrt(squared).masked_fill(same, 0.0).to(_result_type(x, y))


def spherical_distance_matrix(x: Tensor, y: Tensor) -> Tensor:
    """Angle in [0, π] between every x (N×D) and every y (P×D), at least float32 (N×P), from matrix products
    and O(NP) memory. No vector may be 0, which is not checked.

    The vectors are normalised first. Then the angle is 2 atan2(‖x − y‖, ‖x + y‖), exact for near
    and for near opposite directions, where arccos⟨x, y⟩ is not. In float64 as above; the same
    directions have angle 0 and opposite ones π, both with gradient 0.
    """
    unit_x, unit_y = normalize(x.double(), dim=-1), normalize(y.double(), dim=-1)
    squared, same = _squared(unit_x, unit_y)
    rest, opposite = _squared(unit_x, -unit_y)
    angle = 2.0 * torch.atan2(torch.sqrt(squared), torch.sqrt(rest))
    angle = angle.masked_fill(opposite, torch.pi).masked_fill(same, 0.0)
    return angle.to(_result_type(x, y))


def _squared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """‖x − y‖² of float64 points, and where they are the same (1 there: its root has a gradient)."""
    x_squared = x.square().sum(-1)[:, None]
    y_squared = y.square().sum(-1)[None, :]
    squared = x_squared + y_squared - 2.0 * (x @ y.T)
    rounding = (x.shape[-1] + 2) * torch.finfo(torch.float64).eps * (x_squared + y_squared)
    same = squared <= rounding
    return squared.masked_fill(same, 1.0), same


def _result_type(x: Tensor, y: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
