"""The HIER regulariser straight from its formulas: slow, and what the fast one is held against.

Möbius sums as an N×P×D tensor, triplets drawn anchor by anchor, each triplet's distances to every
candidate kept for the gradient.
"""

import math

import torch
from torch import Tensor

import checkout  # noqa: F401
from hier.geometry.poincare import exp0
from hier.losses.ancestors import Noise, Triplets
from hier.losses.hier import HierRegularizer

Draws = tuple[Triplets, Noise]
"""Triplets and noise that are given instead of drawn."""


def regularizer(
    module: HierRegularizer,
    z: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    given: tuple[Draws, Draws] | None = None,
) -> Tensor:
    """What `module(z, labels, generator)` is, in a ball; with `given` draws of both terms the same."""
    proxies = exp0(module.proxies, module.curvature, module.clip_radius)
    same_class = labels[:, None] == labels[None, :]
    with torch.no_grad():
        between_data = torch.exp(-distances(z, z, module.curvature)) + same_class
        between_proxies = torch.exp(-distances(proxies, proxies, module.curvature))
    total = 0.0 * (z.sum() + proxies.sum())
    cases = ((z, between_data), (proxies, between_proxies))
    for term, (points, similarity) in enumerate(cases):
        to_proxies = distances(points, proxies, module.curvature)
        triplets, noise = given[term] if given else draw(module, similarity, generator)
        if len(triplets[0]) == 0:
            continue
        drawn = noise(len(triplets[0]))
        total = total + loss(to_proxies, triplets, drawn, module.temperature, module.margin)
    return total


def distances(x: Tensor, y: Tensor, c: float) -> Tensor:
    """2/√c artanh(√c ‖(−x) ⊕ y‖) of every x (N×D) to every y (P×D), by the Möbius sums themselves."""
    x, y = -x[:, None, :], y[None, :, :]
    xy = (x * y).sum(-1, keepdim=True)
    xx, yy = x.square().sum(-1, keepdim=True), y.square().sum(-1, keepdim=True)
    total = (1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y
    total = total / (1 + 2 * c * xy + c**2 * xx * yy)
    # The root's derivative at 0, of a point to itself, is not finite.
    norm = total.square().sum(-1).clamp_min(1e-24).sqrt()
    return 2 / math.sqrt(c) * torch.atanh((math.sqrt(c) * norm).clamp_max(1 - 1e-7))


def draw(module: HierRegularizer, similarity: Tensor, generator: torch.Generator) -> Draws:
    """Triplets of reciprocal neighbours, anchor by anchor, and a source of Gumbel noise."""
    nearest = similarity.topk(min(module.neighbours, len(similarity)), dim=1).indices.tolist()
    found = []
    for i, neighbours in enumerate(nearest):
        related = [j for j in neighbours if j != i and i in nearest[j]]
        unrelated = sorted(set(range(len(similarity))) - {i, *related})
        if len(related) < 2 or not unrelated:
            continue
        j, k = (
            torch.tensor(each)[torch.randint(len(each), (count,), generator=generator)]
            for each in (related, unrelated)
            for count in (module.triplets_per_anchor,)
        )
        found.append(torch.stack([torch.full_like(j, i), j, k]))
    none = torch.empty(3, 0, dtype=torch.int64)
    i, j, k = torch.cat([none, *found], dim=1).to(similarity.device)

    def noise(n: int) -> Tensor:
        uniform = torch.rand(n, 2, len(module.proxies), generator=generator).clamp_min(1e-38)
        return -torch.log(-torch.log(uniform)).to(similarity.device)

    return (i, j, k), noise


def loss(distances: Tensor, triplets: Triplets, noise: Tensor, temperature: float, margin: float) -> Tensor:
    """The mean triplet loss on lowest common ancestors, all T×P at once, left to autograd."""
    d_i, d_j, d_k = (distances[index] for index in triplets)
    reach_ij = torch.maximum(d_i, d_j)
    pair = choose(noise[:, 0] - reach_ij / temperature)
    triplet = choose(noise[:, 1] - torch.maximum(reach_ij, d_k) / temperature)
    at_pair, at_triplet = ([(d * at).sum(1) for d in (d_i, d_j, d_k)] for at in (pair, triplet))
    total = (
        torch.relu(at_pair[0] - at_triplet[0] + margin)
        + torch.relu(at_pair[1] - at_triplet[1] + margin)
        + torch.relu(at_triplet[2] - at_pair[2] + margin)
    )
    return (total * (pair.argmax(1) != triplet.argmax(1))).mean()


def choose(logits: Tensor) -> Tensor:
    """One-hot rows at the largest logit, with the gradient of the softmax."""
    soft = torch.softmax(logits, dim=1)
    hard = torch.zeros_like(soft).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
    return hard - soft.detach() + soft
