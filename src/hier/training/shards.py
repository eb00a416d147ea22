"""A step whose batch the network computes in shards, by one process or by several."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hier.config.run import Run
from hier.errors import ConfigError
from hier.models.network import EmbeddingNetwork
from hier.training.group import Group
from hier.training.objective import Objective
from hier.training.step import Step


def build_step(
    run: Run, network: EmbeddingNetwork, objective: Objective, device: torch.device, group: Group
) -> Step:
    """The step that the run's sampler asks for."""
    if run.sampler.shards == 1:
        return Step(run, network, objective, device)
    return ShardedStep(run, network, objective, device, group)


class ShardedStep(Step):
    """The network computes each shard by itself. The objective sees all embeddings at once. Then each shard's
    gradient is computed, and they are summed in the order of shards.

    The whole is the gradient of the whole batch, except for rounding. How many processes share the shards
    changes no bit of it: the objective and the optimiser work alike in each of them. ConfigError: the network
    has batch norms whose statistics would be those of a shard.
    """

    def __init__(
        self,
        run: Run,
        network: EmbeddingNetwork,
        objective: Objective,
        device: torch.device,
        group: Group,
    ) -> None:
        super().__init__(run, network, objective, device)
        self.group, self.shards = group, run.sampler.shards
        norms = (m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
        if any(norm not in network.norms_in_eval for norm in norms):
            raise ConfigError(
                f"sampler.shards {self.shards}: the batch norms of {run.backbone.name} would learn from a "
                "shard at a time; compose with backbone.batch_norm=eval or =frozen, or with sampler.shards=1"
            )

    def differentiate(
        self, images: Tensor, classes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As of `Step`, from this process's part of the images and the classes of all (B)."""
        own = list(self.embed_shards(images))
        z = self.group.gather(torch.cat(own).detach()).requires_grad_()
        loss, terms = self.backward(z, classes, generator)
        assert z.grad is not None
        dz = z.grad[self.group.part_of(len(z))].chunk(len(own))
        learning = [p for p in self.network.parameters() if p.requires_grad]
        found = [
            torch.autograd.grad(embedded, learning, gradient, allow_unused=True)
            for embedded, gradient in zip(own, dz, strict=True)
        ]
        used = [p for p, gradient in zip(learning, found[0], strict=True) if gradient is not None]
        total = self.group.sum_in_order([flat(gradients) for gradients in found])
        for parameter, gradient in zip(used, total.split([p.numel() for p in used]), strict=True):
            # In the parameter's own layout: fused AdamW reads the two side by side as they lie in memory.
            parameter.grad = torch.empty_like(parameter).copy_(gradient.view_as(parameter))
        return loss, terms

    def embed_shards(self, images: Tensor) -> Iterator[Tensor]:
        """Embeddings of each of this process's shards. What a network draws (dropout) is drawn for each
        shard from a seed of its own, which all processes draw alike."""
        seeds = torch.randint(2**62, (self.shards,)).tolist()
        shards = images.chunk(self.shards // self.group.size)
        first = self.group.rank * len(shards)
        with torch.random.fork_rng(devices=[]):
            for seed, shard in zip(seeds[first:], shards, strict=False):
                torch.manual_seed(seed)
                yield self.embed(shard)


def flat(gradients: tuple[Tensor | None, ...]) -> Tensor:
    """All numbers of the gradients that there are, one after the other."""
    return torch.cat([gradient.reshape(-1) for gradient in gradients if gradient is not None])
