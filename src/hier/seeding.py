"""All randomness comes from named generators, each a pure function of (seed, name, position)."""

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_for(seed: int, name: str, *position: int) -> int:
    """A 63-bit seed for the purpose `name` at `position` (epoch, image …) of a run's `seed`.

    A purpose has the same number of positions each time: numpy pads with zeros, so () and (0,) agree.
    """
    words = np.random.SeedSequence([seed, zlib.crc32(name.encode()), *position])
    return int(words.generate_state(1, np.uint64)[0] >> np.uint64(1))


def numpy_generator(seed: int, name: str, *position: int) -> np.random.Generator:
    """numpy's generator for one purpose at one position."""
    return np.random.default_rng(seed_for(seed, name, *position))


def torch_generator(
    seed: int, name: str, *position: int, device: "torch.device | str" = "cpu"
) -> "torch.Generator":
    """torch's generator for one purpose at one position, on `device`."""
    import torch

    return torch.Generator(device).manual_seed(seed_for(seed, name, *position))
