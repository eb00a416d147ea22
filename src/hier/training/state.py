"""All that training goes on from: what it learns, what it draws from, and where it stands."""

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hier.seeding import seed_for, torch_generator
from hier.training.checkpoint import Checkpoints

History = list[dict[str, float]]


class Part(Protocol):
    """Whatever torch's convention can save and restore."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Generators:
    """The generators that a step draws from, seeded by name at each epoch's start.

    `regularizer`, on the device, draws HIER's triplets and noise. torch's own, of the CPU and of the
    GPU where that is the device, draw dropout.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed, self.device = seed, device
        self.regularizer = torch_generator(seed, "regularizer", 0, device=device)

    def start_epoch(self, epoch: int) -> None:
        torch.manual_seed(seed_for(self.seed, "dropout", epoch))
        self.regularizer.manual_seed(seed_for(self.seed, "regularizer", epoch))

    def state_dict(self) -> dict[str, Tensor]:
        state = {"cpu": torch.get_rng_state(), "regularizer": self.regularizer.get_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        self.regularizer.set_state(state["regularizer"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)


class Meter:
    """Means of the loss and its terms over the steps of an epoch so far."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.steps, self.sums = 0, dict[str, float]()

    def update(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        self.steps += 1
        for name, value in {"loss": loss, **terms}.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())

    def means(self) -> dict[str, float]:
        return {name: total / self.steps for name, total in self.sums.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "sums": self.sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.sums = state["steps"], state["sums"]


class State:
    """The parts of a training by name, and its history. A checkpoint is all of them.

    Training stands after `epoch` whole epochs, each a row of the history, and `step` steps of the
    next one. The sampler needs no more than these: its batches are a function of seed and epoch.
    """

    def __init__(self, **parts: Part) -> None:
        self.meter = Meter()
        self.parts: dict[str, Part] = {**parts, "meter": self.meter}
        self.history: History = []

    @property
    def epoch(self) -> int:
        return len(self.history)

    @property
    def step(self) -> int:
        return self.meter.steps

    def end_epoch(self, row: dict[str, float]) -> None:
        """Add the epoch's row to the history and start the next one's means."""
        self.history.append(row)
        self.meter.reset()

    def restore(self, checkpoints: Checkpoints) -> bool:
        """Take over the newest good checkpoint; whether there is one."""
        checkpoint = checkpoints.latest()
        if checkpoint is None:
            return False
        for name, part in self.parts.items():
            part.load_state_dict(checkpoint[name])
        self.history = checkpoint["history"]
        return True

    def save(self, checkpoints: Checkpoints, fsync: bool = True) -> Path:
        """Write a checkpoint of the present moment, which lies between two steps."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return checkpoints.save(self.epoch, self.step, {**parts, "history": self.history}, fsync)
