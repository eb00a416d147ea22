"""What the tests of the losses share."""

from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parents[1] / "golden" / "hier_loss.npz"
BOTH_DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def golden_hier():
    """Inputs and outputs of the official regulariser."""
    with np.load(GOLDEN) as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}


def noise_of(pair, triplet):
    """The noise of the loss, from T×P for each of its two choices."""
    rest = [torch.stack([pair, triplet], dim=1)]

    def following(n):
        now, rest[0] = rest[0][:n], rest[0][n:]
        return now

    return following


def loop_loss(distances, triplets, pair_noise, triplet_noise, temperature, margin):
    """The loss triplet by triplet, with the textbook straight-through one-hot."""

    def choose(reach, noise):
        soft = torch.softmax((noise - reach / temperature), 0)
        hard = torch.zeros_like(soft)
        hard[int(soft.argmax())] = 1.0
        return hard - soft.detach() + soft, int(soft.argmax())

    terms = []
    for t, (i, j, k) in enumerate(zip(*(index.tolist() for index in triplets), strict=True)):
        pair_reach = torch.maximum(distances[i], distances[j])
        triplet_reach = torch.maximum(pair_reach, distances[k])
        pair, rho_ij = choose(pair_reach, pair_noise[t])
        triplet, rho_ijk = choose(triplet_reach, triplet_noise[t])
        hinges = [
            distances[i] @ pair - distances[i] @ triplet + margin,
            distances[j] @ pair - distances[j] @ triplet + margin,
            distances[k] @ triplet - distances[k] @ pair + margin,
        ]
        terms.append(sum(h.clamp_min(0.0) for h in hinges) * float(rho_ij != rho_ijk))
    return sum(terms) / len(terms)
