"""The training loop, to be read from top to bottom."""

import time

import torch
from torch import Tensor

from hier.config.run import Run
from hier.errors import DivergedError, WorkerError
from hier.models.network import EmbeddingNetwork, build_network
from hier.progress import Progress, progress
from hier.seeding import seed_for
from hier.training.batches import TrainingImages
from hier.training.checkpoint import Checkpoints
from hier.training.determinism import make_deterministic
from hier.training.group import ALONE, Group
from hier.training.interruption import interruptible
from hier.training.model_selection import ModelSelector, Recalls
from hier.training.objective import Objective
from hier.training.optimisation import start_epoch
from hier.training.shards import build_step
from hier.training.state import Generators, History, State


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
    group: Group = ALONE,
) -> tuple[EmbeddingNetwork, Objective, History]:
    """Train a run to its last epoch; goes on from its newest good checkpoint where there is one. In a
    `group` each process does so and computes its part of every batch.

    The result is the same however often it was stopped on the way, down to the last bit: the network of the
    epoch that the protocol chooses, the objective with its proxies then, and per epoch each term's mean, the
    loss's mean, the factor on the learning rates, and what `recalls` measures (see `ModelSelector`).

    Raises DivergedError: the loss became NaN or infinite; WorkerError: the images cannot be loaded;
    SystemExit: SIGTERM or Ctrl-C came. A checkpoint of the last whole step is written for the last two."""
    device = make_deterministic(run.runtime)
    network = start_network(run).to(device)
    objective = Objective(run, num_classes).to(device)
    step = build_step(run, network, objective, device, group)
    selector = ModelSelector(run, recalls, objective)
    generators = Generators(run.seed, device)
    state = State(
        network=network,
        objective=objective,
        optimizer=step.optimizer,
        scaler=step.scaler,
        selector=selector,
        generators=generators,
    )
    if state.restore(checkpoints):
        print(f"{run.name}: going on after {describe(state)}", flush=True)

    with (
        interruptible() as interruption,
        progress(run.name, run.schedule.epochs * images.steps) as bar,
    ):
        shown = ProgressLine(run, bar, state, images.steps)
        part = group.part_of(run.sampler.batch_size)
        for epoch in range(state.epoch, run.schedule.epochs):
            rate = start_epoch(step.optimizer, run.schedule, epoch)
            if not state.step:  # within an epoch the generators go on as the checkpoint has them
                generators.start_epoch(epoch)
            network.train()
            try:
                for batch, classes in images.epoch(
                    epoch, device, state.step, stop=lambda: interruption.asked, part=part
                ):
                    loss, terms = step(batch, classes, generators.regularizer)
                    if not loss.isfinite():  # nothing is saved of what that step has made
                        raise diverged(run, state, terms, checkpoints)
                    state.meter.update(loss, terms)
                    shown.update()
                    if interruption.asked or checkpoints.due():
                        interruption.leave(state.save(checkpoints))
                means = state.meter.means()
                state.end_epoch(
                    {"epoch": epoch + 1} | means | {"rate": rate} | selector.evaluate(network, epoch)
                )
            except WorkerError:  # the steps before are whole, and nobody may need another batch
                interruption.leave(state.save(checkpoints))
                raise
            # The model follows the last one at once: that need not outlive more than this process.
            last = state.epoch == run.schedule.epochs
            interruption.leave(state.save(checkpoints, fsync=not last))
    selector.restore_best(network)
    return network, objective, state.history


class ProgressLine:
    """The progress line: epoch, mean loss of the epoch so far, images per second of this process."""

    def __init__(self, run: Run, bar: Progress, state: State, steps_per_epoch: int) -> None:
        self.run, self.bar, self.state = run, bar, state
        self.steps, self.started = 0, time.monotonic()
        bar.update(state.epoch * steps_per_epoch + state.step)

    def update(self) -> None:
        self.steps += 1
        seconds = max(time.monotonic() - self.started, 1e-9)
        self.bar.update(
            epoch=f"{self.state.epoch + 1}/{self.run.schedule.epochs}",
            loss=self.state.meter.means()["loss"],
            images_per_s=self.steps * self.run.sampler.batch_size / seconds,
        )


def describe(state: State) -> str:
    """Where training stands."""
    if state.step:
        return f"step {state.step} of epoch {state.epoch + 1}"
    return f"epoch {state.epoch}"


def diverged(run: Run, state: State, terms: dict[str, Tensor], checkpoints: Checkpoints) -> DivergedError:
    """The error that names the run, the step, the term and the last good checkpoint."""
    values = ", ".join(f"{name} {float(value.detach()):g}" for name, value in terms.items())
    return DivergedError(
        f"{run.name}: the loss is no longer finite ({values}) at epoch {state.epoch + 1}, "
        f"step {state.step + 1}; last good checkpoint: {checkpoints.last_good()}. Try a lower optimizer.lr"
    )
