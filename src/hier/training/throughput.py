"""How many images a second this machine trains and embeds, measured in seconds, for `hier plan`."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hier.config.run import Run
from hier.models.network import build_network

CPU_BATCH = 4
WARM_UP, STEPS = 1, 2


@dataclass(frozen=True)
class Throughput:
    """Images per second of a training step and of evaluation, without the loader."""

    training: float
    embedding: float


def measure(run: Run) -> Throughput:
    """Time a few steps of the run's network with random weights and random images.

    Forward, backward and optimiser at the run's precision and image size, with its batch on a GPU
    and a small one on a CPU. The regulariser and the reading of images are not in it.
    """
    device = torch.device(
        "cuda" if torch.cuda.is_available() and run.runtime.device != "cpu" else "cpu"
    )
    network = build_network(run.backbone, run.head, pretrained=False).to(device)
    optimizer = torch.optim.AdamW(p for p in network.parameters() if p.requires_grad)
    size = run.sampler.batch_size if device.type == "cuda" else CPU_BATCH
    edge = run.augmentation.size
    images = torch.randn(size, 3, edge, edge, device=device)
    precision = getattr(torch, run.runtime.precision)
    mixed = device.type == "cuda" and precision != torch.float32

    def forward() -> Tensor:
        with torch.autocast(device.type, dtype=precision, enabled=mixed):
            z: Tensor = network(images)
        return z

    def step() -> None:
        optimizer.zero_grad()
        forward().float().square().mean().backward()
        optimizer.step()

    def look() -> None:
        with torch.inference_mode():
            forward()

    network.train()
    training = _images_per_second(step, size, device)
    network.eval()
    return Throughput(training, _images_per_second(look, size, device))


def _images_per_second(work: Callable[[], None], images: int, device: torch.device) -> float:
    for _ in range(WARM_UP):
        work()
    _wait(device)
    started = time.perf_counter()
    for _ in range(STEPS):
        work()
    _wait(device)
    return STEPS * images / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
