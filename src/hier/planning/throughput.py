"""How many images a second this machine trains and embeds, measured in seconds, for `hier plan`."""

import time
from collections.abc import Callable, Collection
from datetime import date
from functools import partial

import torch
from torch import Tensor, nn

from hier.config.run import Run
from hier.errors import ConfigError
from hier.gpus import acquire_gpus
from hier.models.network import build_network
from hier.planning.rates import Rate, batch_of, is_whole, keep_rates, key_of, machine
from hier.progress import track
from hier.training.determinism import make_deterministic
from hier.training.objective import Objective
from hier.training.step import Step

CPU, GPU = (1, 2), (3, 5)  # steps that are run first, and steps that are timed


def measured_rates(runs: Collection[Run]) -> dict[str, Rate]:
    """The rate of each run by its name, measured here and now, and kept; errors as of `measure`."""
    here, present = machine(), torch.cuda.is_available()
    gpu = {run.name: present and run.runtime.device != "cpu" for run in runs}
    keys = {run.name: key_of(run, gpu[run.name], here) for run in runs}
    examples = {keys[run.name]: run for run in reversed([*runs])}
    rates = {
        key: measure(run, batch_of(run, gpu[run.name]), is_whole(run, gpu[run.name]))
        for key, run in track(list(examples.items()), "measuring")
    }
    keep_rates(rates)
    return {name: rates[key] for name, key in keys.items()}


def measure(run: Run, batch: int, whole: bool) -> Rate:
    """Time a few steps of the run's network, with random weights, on `batch` random images.

    Precision, image size and threads are the run's; training is timed only where it trains. The reading of
    images is not in it; the objective, with its regulariser, is where the step is `whole`, and then `batch`
    must be the run's own. On a GPU, a card that no other job works on is waited for (see `acquire_gpus`).
    ConfigError where the run asks for a GPU and there is none, or the batch does not fit on it.
    """
    with acquire_gpus(run.runtime, f"hier plan --measure, {run.name}"):
        device = make_deterministic(run.runtime)
        try:
            return _measure(run, batch, whole, device)
        except torch.OutOfMemoryError as error:
            mend = "give --images-per-second N instead of --measure"
            where = f"{run.name}: a batch of {batch} images does not fit on {_name_of(device)}"
            raise ConfigError(f"{where}; {mend}") from error


def _measure(run: Run, batch: int, whole: bool, device: torch.device) -> Rate:
    network = build_network(run.backbone, run.head, pretrained=False).to(device)
    each, edge = run.sampler.images_per_class, run.augmentation.size
    objective = Objective(run, batch // each).to(device) if whole else _NoObjective()
    step = Step(run, network, objective, device)
    images = torch.randn(batch, 3, edge, edge, device=device)
    classes = torch.arange(batch, device=device) // each  # the batch's classes are all
    generator = torch.Generator(device).manual_seed(0)
    training = None
    if run.schedule.epochs:
        network.train()
        training = _images_per_second(partial(step, images, classes, generator), batch, device)
    network.eval()
    with torch.inference_mode():
        embedding = _images_per_second(partial(step.embed, images), batch, device)
    today, name = date.today().isoformat(), _name_of(device)
    return Rate(training=training, embedding=embedding, device=name, date=today)


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"


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
