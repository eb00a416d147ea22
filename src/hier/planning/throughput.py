"""How many images a second this machine trains and embeds, measured in seconds, for `hier plan`."""

import time
from collections.abc import Callable
from datetime import date
from functools import partial

import torch
from torch import Tensor, nn

from hier.config.run import Run
from hier.errors import ConfigError
from hier.gpus import acquire_gpu
from hier.models.network import build_network
from hier.planning.rate import Rate
from hier.training.determinism import make_deterministic
from hier.training.objective import Objective
from hier.training.step import Step

CPU = (1, 2)
"""Steps that are run first and steps that are timed, on a CPU."""
GPU = (3, 5)


def measure(run: Run, batch: int, whole: bool) -> Rate:
    """Time a few steps of the run's network, with random weights, on `batch` random images.

    Training is timed only where the run trains. On a GPU, a card that no other job works on is
    waited for.
    Precision, image size and threads are the run's. The reading of images is not in it.

    Args:
        whole: the objective, with its regulariser, is in the training step; `batch` must then be
            the run's own.

    Raises:
        ConfigError: the run asks for a GPU and there is none, or the batch does not fit on it.
        CardError: see `acquire_gpu`.
    """
    with acquire_gpu(run.runtime, f"hier plan --measure, {run.name}"):
        device = make_deterministic(run.runtime)
        try:
            return _measure(run, batch, whole, device)
        except torch.OutOfMemoryError as error:
            raise ConfigError(f"{run.name}: a batch of {batch} images does not fit on {name_of(device)}; "
                              "give --images-per-second N instead of --measure") from error  # fmt: skip


def on_gpu(run: Run) -> bool:
    """Whether this machine would train the run on a GPU."""
    return torch.cuda.is_available() and run.runtime.device != "cpu"


def name_of(device: torch.device) -> str:
    """What a person calls the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"


def _measure(run: Run, batch: int, whole: bool, device: torch.device) -> Rate:
    network = build_network(run.backbone, run.head, pretrained=False).to(device)
    each, edge = run.sampler.images_per_class, run.augmentation.size
    objective = Objective(run, batch // each).to(device) if whole else _NoObjective()
    step = Step(run, network, objective, device)
    images = torch.randn(batch, 3, edge, edge, device=device)
    classes = torch.arange(batch, device=device) // each  # the batch's classes are all
    generator = torch.Generator(device).manual_seed(0)

    def evaluate() -> None:
        with torch.inference_mode():
            step.embed(images)

    training = None
    if run.schedule.epochs:
        network.train()
        training = _images_per_second(partial(step, images, classes, generator), batch, device)
    network.eval()
    embedding = _images_per_second(evaluate, batch, device)
    today, name = date.today().isoformat(), name_of(device)
    return Rate(training=training, embedding=embedding, device=name, date=today)


class _NoObjective(Objective):
    """Some gradient for the network where its batch is too small for the run's own objective."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.metric, self.regularizer = nn.Identity(), None

    def forward(self, z: Tensor, classes: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {"square": z.float().square().mean()}


def _images_per_second(work: Callable[[], object], images: int, device: torch.device) -> float:
    warm_up, steps = GPU if device.type == "cuda" else CPU
    for _ in range(warm_up):
        work()
    _wait(device)
    started = time.perf_counter()
    for _ in range(steps):
        work()
    _wait(device)
    return steps * images / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
