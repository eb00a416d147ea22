"""Parameter groups, their gradients, and their rates over the epochs (method, section 5)."""

from typing import Any

import torch
from torch import nn

from hier.config.run import Optimizer, Schedule
from hier.models.network import EmbeddingNetwork
from hier.training.objective import Objective


def build_optimizer(network: EmbeddingNetwork, objective: Objective, config: Optimizer) -> torch.optim.AdamW:
    """AdamW over up to four groups: backbone, head, hierarchical proxies, metric-loss proxies.

    Weight decay applies to all of them, as in the official code.
    """
    parts: dict[str, tuple[nn.Module | None, float]] = {
        "backbone": (network.backbone, config.multipliers.backbone),
        "head": (network.head, config.multipliers.head),
        "hierarchical_proxies": (objective.regularizer, config.multipliers.hierarchical_proxies),
        "metric_proxies": (objective.metric, config.multipliers.metric_proxies),
    }
    groups: list[dict[str, Any]] = []
    for name, (module, multiplier) in parts.items():
        parameters = [p for p in module.parameters() if p.requires_grad] if module else []
        if parameters:
            groups.append({"name": name, "params": parameters, "base_lr": config.lr * multiplier})
    return torch.optim.AdamW(
        groups, lr=config.lr, weight_decay=config.weight_decay, eps=config.eps, fused=True
    )


def scale_gradients(network: nn.Module, config: Optimizer) -> None:
    """Multiply the network's gradients by their scale (see `Optimizer`)."""
    if config.network_gradient_scale != 1.0:
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(config.network_gradient_scale)


def clip_gradients(parameters: list[nn.Parameter], config: Optimizer) -> None:
    """Clip each gradient's values (HIER's code) or the norm of all together (Hyp's), where set."""
    if config.clip_value is not None:
        torch.nn.utils.clip_grad_value_(parameters, config.clip_value)
    if config.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)


def start_epoch(optimizer: torch.optim.Optimizer, schedule: Schedule, epoch: int) -> float:
    """Set each group's rate for `epoch` (from 0); return the factor on the base rates.

    While warming up the backbone does not move: its rate, with which its weight decay goes, is 0, or its
    parameters get no gradient and so take no step.
    """
    warming_up = epoch < schedule.warmup_epochs
    factor = 1.0
    if schedule.name == "step":
        factor = schedule.gamma ** (epoch // schedule.step_size)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
        if group["name"] == "backbone" and schedule.warmup == "zero_rate":
            group["lr"] *= not warming_up
        elif group["name"] == "backbone":
            for parameter in group["params"]:
                parameter.requires_grad_(not warming_up)
                if warming_up:
                    parameter.grad = None
    return factor
