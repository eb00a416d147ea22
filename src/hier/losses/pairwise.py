"""Pairwise cross-entropy over hyperbolic distances (Hyp, see hyp.py)."""

from typing import Literal

import torch
from torch import Tensor, nn

from hier.geometry.poincare import distance_matrix

Reduction = Literal["hier", "hyp"]


class PairwiseCrossEntropy(nn.Module):
    """Cross-entropy of each positive pair against one image of every class, twice.

    The n images of each class fill n slots in order of appearance; x_a^s is class a in slot s.
    For each ordered pair of slots s ≠ t, anchors x_a^s meet their positives x_a^t among the other
    candidates x_b^t and x_b^s, b ≠ a (``contrastive_loss`` of the Hyp code, ``SupCon`` in HIER's):

        term(s, t) = mean_a −log softmax of logit(x_a^s, x_a^t).

    Logits are −d/temperature, or the cosine/temperature where the curvature is 0.

    Args:
        curvature: c ≥ 0 of the ball that the embeddings lie on.
        temperature: τ > 0.
        reduction: "hyp" sums the n(n − 1) terms as the Hyp code does, "hier" divides that sum by n²
            as the HIER code does.

    Raises ValueError: an argument is out of its range."""

    def __init__(self, *, curvature: float, temperature: float = 0.2, reduction: Reduction = "hier") -> None:
        super().__init__()
        if not curvature >= 0:
            raise ValueError(f"curvature must be ≥ 0, got {curvature}")
        if not temperature > 0:
            raise ValueError(f"temperature must be > 0, got {temperature}")
        if reduction not in ("hier", "hyp"):
            raise ValueError(f'reduction must be "hier" or "hyp", got {reduction!r}')
        self.curvature = curvature
        self.temperature = temperature
        self.reduction = reduction

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Loss of a batch, at least float32, of B×D embeddings z: points on the ball for curvature > 0, any
        vectors for 0. Raises ValueError: the classes do not all have the same number n ≥ 2 of images."""
        n = _images_per_class(labels)
        classes = len(labels) // n
        logits = self._similarity(z[labels.argsort(stable=True)]) / self.temperature
        own = torch.eye(len(labels), dtype=torch.bool, device=z.device)
        # to_slot[a, s, t]: log of the summed exp(logits) of x_a^s to all in slot t, itself left out
        lowest = torch.finfo(logits.dtype).min
        others = logits.masked_fill(own, lowest).view(classes, n, classes, n)
        to_slot = others.logsumexp(dim=2)
        to_own_slot = to_slot.diagonal(dim1=1, dim2=2).unsqueeze(2)
        positive = logits.view(classes, n, classes, n).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
        terms = (torch.logaddexp(to_slot, to_own_slot) - positive).mean(0)
        total = terms.masked_fill(torch.eye(n, dtype=torch.bool, device=z.device), 0.0).sum()
        return total / n**2 if self.reduction == "hier" else total

    def _similarity(self, z: Tensor) -> Tensor:
        if self.curvature > 0:
            return -distance_matrix(z, z, self.curvature)
        with torch.autocast(z.device.type, enabled=False):
            z = nn.functional.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
            return z @ z.T


def _images_per_class(labels: Tensor) -> int:
    classes, counts = torch.unique(labels, return_counts=True)
    fewest, most = int(counts.min()), int(counts.max())
    if fewest != most or fewest < 2:
        few, many = int(classes[counts.argmin()]), int(classes[counts.argmax()])
        raise ValueError(
            "Hyp needs the same number of images, 2 or more, for each class of a batch; "
            f"class {few} has {fewest} and class {many} has {most}"
        )
    return fewest
