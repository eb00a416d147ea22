"""Geodesics of the Poincaré disk: arcs of circles that meet the rim at right angles."""

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]

NEARLY_STRAIGHT = 1e-6
"""The geodesic of points that are so nearly in line with the centre is a straight line."""


def handles(start: Complex, end: Complex) -> tuple[Complex, Complex]:
    """Handles of the cubic Bézier curves that follow the geodesics from `start` to `end`.

    The circle through a and b that meets the unit circle at right angles has the centre m with
    2 Re(m̄ z) = |z|² + 1 for both. A cubic curve with handles of 4/3 tan(θ/4) radii leaves an arc of
    angle θ by less than 2 percent of its radius, for θ ≤ π/2 by less than 0.03 percent.

    Args:
        start: N points of the closed unit disk.
        end: N points.

    Returns:
        N handles at the start and N at the end.
    """
    across = start.real * end.imag - start.imag * end.real
    straight = np.abs(across) < NEARLY_STRAIGHT
    twice = 2.0 * np.where(straight, 1.0, across)
    one, other = np.abs(start) ** 2 + 1.0, np.abs(end) ** 2 + 1.0
    centre = (
        (end.imag * one - start.imag * other) + 1j * (start.real * other - end.real * one)
    ) / twice
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(straight, 0.0, np.angle((end - centre) / (start - centre)))
    length = 4.0 / 3.0 * np.tan(angle / 4.0)
    return (
        np.where(straight, (2.0 * start + end) / 3.0, start + 1j * length * (start - centre)),
        np.where(straight, (start + 2.0 * end) / 3.0, end - 1j * length * (end - centre)),
    )
