"""What is minimised: λ1 · metric loss + λ2 · HIER, λ1 = 1 (paper, equation 9)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from hier.config.run import Hier, Run
from hier.registry import LOSSES
from hier.seeding import torch_generator


class Objective(nn.Module):
    """The metric loss and the regulariser of a run, with their proxies."""

    def __init__(self, run: Run, num_classes: int) -> None:
        super().__init__()
        self.metric = metric_loss(run, num_classes)
        self.regularizer = regularizer(run)
        self.weight = run.regularizer.weight if isinstance(run.regularizer, Hier) else 0.0
        self.on_sphere = run.loss.on_sphere

    def forward(self, z: Tensor, classes: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The terms of the loss for embeddings z (B×D), weighted; their sum is what is minimised."""
        z = z if z.dtype == torch.float64 else z.float()
        terms = {"metric": self.metric(normalize(z) if self.on_sphere else z, classes)}
        if self.regularizer is not None:
            terms["hier"] = self.weight * self.regularizer(z, classes, generator)
        return terms


def metric_loss(run: Run, num_classes: int) -> nn.Module:
    """The module of `run.loss`; its proxies, if any, start from a generator of their own."""
    loss: nn.Module = LOSSES.module(run.loss.name).build(
        run.loss,
        dim=run.dim,
        num_classes=num_classes,
        curvature=run.head.curvature if run.head else 0.0,
        generator=torch_generator(run.seed, "metric proxies"),
    )
    return loss


def regularizer(run: Run) -> nn.Module | None:
    """The module of `run.regularizer`, if any."""
    from hier.losses.hier import HierRegularizer

    if not isinstance(run.regularizer, Hier) or run.head is None:
        return None
    config = run.regularizer
    return HierRegularizer(
        config.proxies,
        run.dim,
        curvature=run.head.curvature,
        clip_radius=run.head.clip_radius,
        neighbours=config.neighbours,
        triplets_per_anchor=config.triplets_per_anchor,
        temperature=config.temperature,
        margin=config.margin,
        generator=torch_generator(run.seed, "hierarchical proxies"),
        geometry=config.geometry,
        proxy_term=config.proxy_term,
        k_may_equal_i=run.protocol.k_may_equal_i,
    )
