"""One step of training: embeddings, the terms of the loss, their gradients, the optimiser's move."""

import torch
from torch import Tensor

from hier.config.run import Run
from hier.models.network import EmbeddingNetwork
from hier.training.objective import Objective
from hier.training.optimisation import build_optimizer, clip_gradients, scale_gradients


class Step:
    """What turns a batch into better parameters, with the optimiser and the scaler that it needs.

    On a GPU the network runs in the run's precision; the objective never in less than float32.
    """

    def __init__(
        self, run: Run, network: EmbeddingNetwork, objective: Objective, device: torch.device
    ) -> None:
        self.network = network
        self.forward = torch.compile(network) if run.runtime.compile else network
        self.objective, self.device, self.config = objective, device, run.optimizer
        self.parameters = [*network.parameters(), *objective.parameters()]
        self.optimizer = build_optimizer(network, objective, run.optimizer)
        self.precision: torch.dtype = getattr(torch, run.runtime.precision)
        self.mixed = device.type == "cuda" and self.precision != torch.float32
        half = self.mixed and self.precision == torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)

    def __call__(
        self, images: Tensor, classes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from images (B×3×S×S) and classes (B, int64); return the loss and its terms."""
        self.optimizer.zero_grad()
        loss, terms = self.differentiate(images, classes, generator)
        self.scaler.unscale_(self.optimizer)
        scale_gradients(self.network, self.config)
        clip_gradients(self.parameters, self.config)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss, terms

    def differentiate(
        self, images: Tensor, classes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Give each parameter its gradient, times the scaler's factor; return the loss and its terms."""
        return self.backward(self.embed(images), classes, generator)

    def backward(
        self, z: Tensor, classes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Differentiate the loss of embeddings z (B×D) by all that they depend on."""
        terms: dict[str, Tensor] = self.objective(z, classes, generator)
        loss = torch.stack(list(terms.values())).sum()
        self.scaler.scale(loss).backward()
        return loss, terms

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings (B×D) of images (B×3×S×S)."""
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.mixed):
            z: Tensor = self.forward(images)
        return z
