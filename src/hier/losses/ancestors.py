"""The triplet loss on lowest common ancestors and its gradient, some triplets at a time.

T triplets choose twice among P candidates. That makes T×P matrices, 9,000 × 512 for the images of a
batch and 25,600 × 512 for the proxies, which would each be kept for the gradient. Here they are looked
at in blocks that stay in a processor's cache, and the gradient is computed with the loss, for those
triplets only whose loss is not 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Triplets = tuple[Tensor, Tensor, Tensor]
"""Anchor i, related point j, unrelated point k of each triplet: int64 vectors of length T."""

Noise = Callable[[int], Tensor]
"""Gumbel noise of the next n triplets: n×2×P, for ρ_ij and for ρ_ijk."""

BLOCK_ELEMENTS = {"cpu": 2**17, "cuda": 2**22}
"""Triplets × candidates looked at in one go, by device."""


def lca_triplet_loss(
    distances: Tensor, triplets: Triplets, noise: Noise, temperature: float, margin: float
) -> Tensor:
    """Triplet loss on distances to the lowest common ancestors (``compute_gHHC``, HIER code).

    The ancestor ρ_ij of a pair is drawn by the Gumbel-max trick: the candidate ρ with the largest
    −max(d(i, ρ), d(j, ρ))/temperature + noise; ρ_ijk of the triplet likewise with the maximum over
    its three points. The choice is hard in the forward pass and differentiated as a softmax. Per
    triplet,

        [d(i, ρ_ij) − d(i, ρ_ijk) + margin]₊ + [d(j, ρ_ij) − d(j, ρ_ijk) + margin]₊
        + [d(k, ρ_ijk) − d(k, ρ_ij) + margin]₊,

    and 0 where ρ_ij = ρ_ijk; the mean is over all triplets. Without any triplet the loss is a zero
    that can be differentiated. There is no second derivative.

    Args:
        distances: N×P distances of the points to the candidate ancestors, float32 or float64.
        triplets: (i, j, k), int64 vectors of length T with values in 0…N−1.
        noise: gives the Gumbel noise of the triplets from the first to the last, n at a time; the
            loss writes into what it gets.
        temperature: τ > 0 of the choice.
        margin: δ, in units of distance.

    Returns scalar."""
    if len(triplets[0]) == 0:
        return distances.sum() * 0.0
    loss: Tensor = _LcaTripletLoss.apply(distances, triplets, noise, temperature, margin)
    return loss


def gumbel(candidates: int, generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Noise:
    """Standard Gumbel noise −log(−log U), for P `candidates`, float32 or float64; −∞, never chosen, where U
    is 0.

    What is drawn for a triplet does not depend on how many are asked for at a time. Of a generator of a CPU
    one draw starts a stream of NumPy, which is faster, and the noise is moved to `device`; one of a GPU is
    the source of all draws."""
    if generator.device.type != "cpu":
        return lambda n: _gumbel_of(
            torch.rand(n, 2, candidates, generator=generator, dtype=dtype, device=device)
        )
    start = int(torch.randint(2**63 - 1, (), generator=generator))
    stream = np.random.Generator(np.random.SFC64(start))
    kind = np.float32 if dtype == torch.float32 else np.float64
    return lambda n: _gumbel_of(torch.from_numpy(stream.random((n, 2, candidates), dtype=kind)).to(device))


def _gumbel_of(uniform: Tensor) -> Tensor:
    return uniform.log_().neg_().log_().neg_()


class _LcaTripletLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        distances: Tensor,
        triplets: Triplets,
        noise: Noise,
        temperature: float,
        margin: float,
    ) -> Tensor:
        gradient = torch.zeros_like(distances)
        losses = []
        size = max(1, BLOCK_ELEMENTS[distances.device.type] // distances.shape[1])
        for i, j, k in zip(*(index.split(size) for index in triplets), strict=True):
            block = _Block(distances, (i, j, k), noise(len(i)), temperature, margin)
            losses.append(block.terms.sum(1))
            if ctx.needs_input_grad[0]:
                block.add_gradient(gradient)
        loss = torch.cat(losses)
        ctx.save_for_backward(gradient.div_(len(loss)))
        return loss.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None, None, None, None


class _Choice(NamedTuple):
    """An ancestor chosen for each of n triplets."""

    logits: Tensor  # n×P, with noise
    ancestor: Tensor  # n×1 candidates


class _Block:
    """Some triplets, n of them, and their loss: `terms` (n×3) are the three terms of each."""

    def __init__(
        self,
        distances: Tensor,
        triplets: Triplets,
        noise: Tensor,
        temperature: float,
        margin: float,
    ) -> None:
        self.triplets, self.temperature = triplets, temperature
        self.d = d_i, d_j, d_k = [distances.index_select(0, index) for index in triplets]  # n×P
        self.reach_ij = torch.maximum(d_i, d_j)
        self.pair = _choose(self.reach_ij, noise[:, 0], temperature)
        self.triplet = _choose(torch.maximum(self.reach_ij, d_k), noise[:, 1], temperature)
        ρ_ij, ρ_ijk = self.pair.ancestor, self.triplet.ancestor
        i, j, k = (d.gather(1, ρ_ij) - d.gather(1, ρ_ijk) for d in self.d)
        terms = torch.cat([i + margin, j + margin, margin - k], dim=1).relu_()
        self.terms = terms.masked_fill_(ρ_ij == ρ_ijk, 0.0)

    def add_gradient(self, gradient: Tensor) -> None:
        """Add the derivative of the sum of all terms by the distances to `gradient` (N×P)."""
        rows = self.terms.any(1).nonzero().squeeze(1)
        i, j, k = (index[rows] for index in self.triplets)
        d_i, d_j, d_k = (d.index_select(0, rows) for d in self.d)
        sign = torch.sign(self.terms[rows])  # of d(·, ρ_ij) in each term: 0 where the term is 0
        sign[:, 2].neg_()

        # Where the choices are: d(·, ρ_ij) − d(·, ρ_ijk), with the sign of the term.
        corner = torch.stack([i, j, k], dim=1) * gradient.shape[1]
        for choice, way in ((self.pair, 1), (self.triplet, -1)):
            place = corner + choice.ancestor[rows]
            gradient.view(-1).index_add_(0, place.flatten(), sign.flatten(), alpha=way)

        # Through the choices: the loss is ⟨ρ_ij − ρ_ijk, by_choice⟩ for their one-hot rows.
        by_choice = sign[:, :1] * d_i
        by_choice.addcmul_(sign[:, 1:2], d_j).addcmul_(sign[:, 2:], d_k)
        by_pair = _through_softmax(self.pair.logits.index_select(0, rows), by_choice)
        by_triplet = _through_softmax(self.triplet.logits.index_select(0, rows), by_choice)
        reach_ij = self.reach_ij.index_select(0, rows)
        twice_ij, twice_k = _twice_through_maximum(by_triplet, reach_ij, d_k)
        twice_ij.sub_(by_pair, alpha=2)
        four_times_i, four_times_j = _twice_through_maximum(twice_ij, d_i, d_j)
        # Logits are −reach/τ, and ρ_ijk enters the loss with a minus: both signs cancel for it.
        gradient.index_add_(0, i, four_times_i, alpha=1 / (4 * self.temperature))
        gradient.index_add_(0, j, four_times_j, alpha=1 / (4 * self.temperature))
        gradient.index_add_(0, k, twice_k, alpha=1 / (2 * self.temperature))


def _choose(reach: Tensor, noise: Tensor, temperature: float) -> _Choice:
    logits = noise.sub_(reach, alpha=1 / temperature)
    if logits.device.type == "cpu":  # NumPy's argmax is six times as fast
        return _Choice(logits, torch.from_numpy(logits.numpy().argmax(1, keepdims=True)))
    return _Choice(logits, logits.argmax(1, keepdim=True))


def _through_softmax(logits: Tensor, upstream: Tensor) -> Tensor:
    """Derivative by the logits (n×P) of a loss whose derivative by their softmax is `upstream`."""
    soft = torch.softmax(logits, dim=1)
    result = soft * upstream
    return result.addcmul_(soft, result.sum(1, keepdim=True), value=-1)


def _twice_through_maximum(upstream: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Twice the derivatives by x and y for `upstream` by max(x, y); equal ones share it evenly."""
    towards_x = torch.sign(x - y).mul_(upstream)
    return upstream + towards_x, upstream - towards_x
