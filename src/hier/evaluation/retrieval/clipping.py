"""Diagnostics of where embeddings lie."""

import math

import torch

from hier.evaluation.retrieval.recall import Array, to_tensor
from hier.geometry.poincare import max_norm


def clip_share(z: Array, c: float, clip_radius: float) -> float:
    """Share of embeddings whose norm was clipped on the way into the ball.

    Those have the largest norm that :func:`hier.geometry.poincare.exp0` gives for the clip radius,
    min(tanh(√c·clip_radius), 1 − 1e-3)/√c; norms from 1e-4 (relative) below it count. Where all are
    clipped, hyperbolic and cosine distance rank alike.

    Args:
        z: N×D embeddings on the ball, N ≥ 1.
        c: curvature, > 0.
        clip_radius: clip radius that they were made with, > 0.

    Returns:
        Share in 0…1.

    Raises:
        ValueError: c or clip_radius is not > 0, or z is empty.
    """
    if not clip_radius > 0:
        raise ValueError(f"clip_radius must be > 0, got {clip_radius}")
    largest = max_norm(c)
    norms = torch.linalg.vector_norm(to_tensor(z).double(), dim=1)
    if len(norms) == 0:
        raise ValueError("clip_share needs at least one embedding")
    clipped_norm = min(math.tanh(math.sqrt(c) * clip_radius) / math.sqrt(c), largest)
    return int((norms >= clipped_norm * (1.0 - 1e-4)).sum()) / len(norms)
