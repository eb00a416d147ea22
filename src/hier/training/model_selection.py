"""Recall while training: shown beside the result and, where the protocol says so, used to choose it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hier.config.run import Run
from hier.models.network import EmbeddingNetwork
from hier.training.looks import is_looked_at

Recalls = Callable[[EmbeddingNetwork], dict[str, float]]
"""Recall@K of a network by the name of a column, such as `test R@1`; shares of 1."""

CHOOSES_BY = {"best_on_test": "test R@1", "held_out": "held-out R@1"}


class ModelSelector:
    """Looks at recall when the protocol says so (`is_looked_at`), and keeps the epoch that is to be reported:
    the network, and `beside` it whatever was learned with it, such as proxies.

    A choice among equal epochs is the earliest. The network is in training mode afterwards, and no
    random generator is used, so that looking changes nothing.
    """

    def __init__(self, run: Run, recalls: Recalls | None, beside: nn.Module | None = None) -> None:
        self.run, self.recalls, self.beside = run, recalls, beside or nn.Identity()
        self.column = CHOOSES_BY.get(run.protocol.choose)
        self.best = -1.0
        self.state: dict[str, Tensor] = {}

    def evaluate(self, network: EmbeddingNetwork, epoch: int) -> dict[str, float]:
        """The recalls after `epoch` (from 0), NaN for an epoch that is not looked at."""
        if self.recalls is None or not is_looked_at(self.run, epoch):
            return {}
        found = self.recalls(network)
        network.train()
        if self.column and found[self.column] > self.best:
            self.best = found[self.column]
            of_both = nn.ModuleList([network, self.beside]).state_dict()
            self.state = {name: copied(value) for name, value in of_both.items()}
        return found

    def restore_best(self, network: EmbeddingNetwork) -> None:
        """Give `network` and what is beside it the state of the chosen epoch; without a choice both stay as
        they are after the last one."""
        if self.state:
            nn.ModuleList([network, self.beside]).load_state_dict(self.state)

    def state_dict(self) -> dict[str, Any]:
        return {"best": torch.tensor(self.best, dtype=torch.float64), "state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.state = float(state["best"]), state["state"]


def copied(value: Any) -> Any:
    """A tensor on the CPU that what is learned further does not change."""
    return value.detach().cpu().clone() if isinstance(value, Tensor) else value
