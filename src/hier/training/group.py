"""Processes that train one run together, and what they tell each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """The process of this `rank` among `size`, joined by torch's default process group where size > 1."""

    rank: int = 0
    size: int = 1

    def part_of(self, batch: int) -> slice:
        """This process's part of `batch` images; the parts are equal, and stand in the order of ranks."""
        own = batch // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def gather(self, own: Tensor) -> Tensor:
        """The rows of all processes (b×D of each) in the order of ranks: the same B×D everywhere."""
        if self.size == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own)
        return torch.cat(parts)

    def sum_in_order(self, own: Sequence[Tensor]) -> Tensor:
        """The sum of the tensors of all processes, added one by one in the order of ranks: the same bits
        everywhere, however many processes share them. (An all_reduce adds in an order of its own.)"""
        total = own[0]
        if self.rank:
            total = torch.empty_like(own[0])
            dist.recv(total, self.rank - 1)
        for each in own if self.rank else own[1:]:
            total = total + each
        if self.rank < self.size - 1:
            dist.send(total, self.rank + 1)
        if self.size > 1:
            dist.broadcast(total, self.size - 1)
        return total


ALONE = Group()
