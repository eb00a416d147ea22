"""The training loop, to be read from top to bottom."""

import time
from typing import Any

import torch
from torch import Tensor

from hier.config.run import Run
from hier.errors import DivergedError
from hier.generators import seed_for, torch_generator
from hier.models.network import EmbeddingNetwork, build_network
from hier.progress import Progress, progress
from hier.training.checkpoint import Checkpoints
from hier.training.determinism import make_deterministic
from hier.training.images import TrainingImages
from hier.training.objective import Objective
from hier.training.optimisation import build_optimizer, clip_gradients, start_epoch
from hier.training.watch import Recalls, Watch

History = list[dict[str, float]]


def start_network(run: Run) -> EmbeddingNetwork:
    """The run's network before its first step, the same for every method with the same seed."""
    torch.manual_seed(seed_for(run.seed, "network"))
    return build_network(run.backbone, run.head)


def train(
    run: Run,
    images: TrainingImages,
    num_classes: int,
    checkpoints: Checkpoints,
    recalls: Recalls | None = None,
) -> tuple[EmbeddingNetwork, Objective, History]:
    """Train a run to its last epoch; goes on from its newest checkpoint where there is one.

    Args:
        recalls: measures recall for the protocol, see `Watch`.

    Returns:
        the network of the epoch that the protocol chooses, the objective with its proxies, and per
        epoch: each term's mean, the loss's mean, the factor on the learning rates, and recalls.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    device = make_deterministic(run.runtime)
    network = start_network(run).to(device)
    objective = Objective(run, num_classes).to(device)
    optimizer = build_optimizer(network, objective, run.optimizer)
    precision = getattr(torch, run.runtime.precision)
    mixed = device.type == "cuda" and precision != torch.float32
    scaler = torch.amp.GradScaler(device.type, enabled=mixed and precision == torch.float16)
    watch = Watch(run, recalls)
    saved: dict[str, Any] = {
        "network": network, "objective": objective, "optimizer": optimizer, "scaler": scaler,
        "watch": watch,
    }  # fmt: skip
    history: History = []

    if checkpoint := checkpoints.latest():
        for name, part in saved.items():
            part.load_state_dict(checkpoint[name])
        history = checkpoint["history"]
        print(f"{run.name}: going on after epoch {len(history)}", flush=True)

    with progress(run.name, run.schedule.epochs * images.steps) as shown:
        shown.update(len(history) * images.steps)
        for epoch in range(len(history), run.schedule.epochs):
            rate = start_epoch(optimizer, run.schedule_in_force, epoch)
            torch.manual_seed(seed_for(run.seed, "dropout", epoch))
            generator = torch_generator(run.seed, "regularizer", epoch)
            meter = Meter(run, epoch, images, shown)
            network.train()
            for batch, classes in images.epoch(epoch, device):
                with torch.autocast(device.type, dtype=precision, enabled=mixed):
                    z = network(batch)
                terms = objective(z, classes, generator)
                loss = torch.stack(list(terms.values())).sum()
                if not loss.isfinite():
                    raise diverged(run, epoch, meter.steps, terms, checkpoints)
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                clip_gradients([*network.parameters(), *objective.parameters()], run.optimizer)
                scaler.step(optimizer)
                scaler.update()
                meter.update(loss, terms)
            history.append(meter.means() | {"rate": rate} | watch.look(network, epoch))
            checkpoints.save(
                epoch,
                {name: part.state_dict() for name, part in saved.items()} | {"history": history},
            )
    watch.choose(network)
    return network, objective, history


class Meter:
    """Means of an epoch's terms, and the progress line."""

    def __init__(self, run: Run, epoch: int, images: TrainingImages, shown: Progress) -> None:
        self.run, self.epoch, self.shown = run, epoch, shown
        self.images_per_step = run.sampler.batch_size
        self.steps, self.sums = 0, dict[str, float]()
        self.started = time.monotonic()

    def update(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        self.steps += 1
        for name, value in {"loss": loss, **terms}.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        seconds = max(time.monotonic() - self.started, 1e-9)
        self.shown.update(
            epoch=f"{self.epoch + 1}/{self.run.schedule.epochs}",
            loss=self.sums["loss"] / self.steps,
            images_per_s=self.steps * self.images_per_step / seconds,
        )

    def means(self) -> dict[str, float]:
        return {"epoch": self.epoch + 1} | {
            name: total / self.steps for name, total in self.sums.items()
        }


def diverged(
    run: Run, epoch: int, step: int, terms: dict[str, Tensor], checkpoints: Checkpoints
) -> DivergedError:
    """The error that names the run, the step, the term and the last good checkpoint."""
    values = ", ".join(f"{name} {float(value.detach()):g}" for name, value in terms.items())
    return DivergedError(
        f"{run.name}: the loss is no longer finite ({values}) at epoch {epoch + 1}, step {step + 1}; "
        f"last good checkpoint: {checkpoints.last_good()}. Try a lower optimizer.lr"
    )
