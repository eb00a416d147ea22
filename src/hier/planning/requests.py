"""What a job asks a cluster for: cards, processors, memory and time.

It follows from the settings and from the rates that `hier plan --measure` has kept, on whatever machine,
and never from the machine that asks: a login node has other cards and processors than those that work.
"""

import math
from typing import NamedTuple

from hier.config.run import Run
from hier.config.suite import Suite
from hier.pipeline import Stage
from hier.planning.plan import images_by_stage
from hier.planning.rates import slowest_rates

# Megabytes that a process holds beside its batches (Python, torch with CUDA, an index), and a loader worker.
PROCESS, WORKER = 4_000, 500
# Bytes that a pixel of a batch takes in float32. Of the networks here ResNet-50 keeps most for the
# backward pass, 1,700; gradients of it and what an operation works with come to as much again.
PIXEL = {"train": 4_000, "embed": 500}

STARTING = 10  # minutes: imports, hashes of inputs, a slow disk
MARGIN = 2.0  # the rates are without the reading of images, and no two nodes are alike
LONGEST = 24 * 60  # minutes; a longer training goes on from its checkpoint, in the next attempt
UNKNOWN = {"download": 240, "prepare": 240, "train": 240}  # minutes, where no rate is kept
OTHERS = 60


class Request(NamedTuple):
    """What one job asks for, by the names that Snakemake has for it."""

    gpu: int
    cpus_per_task: int
    mem_mb: int
    runtime: int  # minutes


class Requests:
    """What the jobs of some suites ask for; without `gpus`, of a cluster that has none."""

    def __init__(self, suite: Suite, gpus: bool = True) -> None:
        self.suite, self.gpus = suite, gpus
        self.rates = slowest_rates(suite.runs.values(), gpus)

    def of(self, stage: Stage, key: str) -> Request:
        """What `stage` asks for with the dataset, run or suite `key`."""
        minutes = UNKNOWN.get(stage.name, OTHERS)
        if stage.scope != "run":
            return Request(0, 1, PROCESS, minutes)
        run = self.suite.run(key)
        runtime = run.runtime
        if not stage.gpu:
            return Request(0, runtime.threads, PROCESS, minutes)
        processes = processes_of(stage, run)
        gpus = processes if self.gpus and runtime.device != "cpu" else 0
        memory = processes * (PROCESS + runtime.workers * WORKER)
        if not gpus:
            memory += _batch(stage, run)
        cpus = processes * (runtime.threads + runtime.workers)
        return Request(gpus, cpus, memory, self._minutes(stage, run) or minutes)

    def threads(self, stage: Stage, run: str) -> int:
        """The threads that a stage of a run computes with, loader workers apart."""
        settings = self.suite.run(run)
        return settings.runtime.threads * processes_of(stage, settings)

    def _minutes(self, stage: Stage, run: Run) -> int | None:
        """Minutes at the kept rate; None where there is none."""
        rate = self.rates.get(run.name)
        if rate is None:
            return None
        trained, looked_at, embedded = images_by_stage(run, self.suite.dataset(run.dataset))
        if stage.name == "embed":
            seconds = embedded / rate.embedding
        else:
            seconds = looked_at / rate.embedding + (trained / rate.training if rate.training else 0.0)
        return min(math.ceil(STARTING + MARGIN * seconds / 60), LONGEST)


def processes_of(stage: Stage, run: Run) -> int:
    """Processes that a stage of a run works with, each on a card of its own; only training has several."""
    return run.runtime.processes if stage.name == "train" else 1


def _batch(stage: Stage, run: Run) -> int:
    """Megabytes of a batch in the memory of a CPU; of a run that is not trained, 0 while `training`."""
    if stage.name == "embed":
        images, side = run.embed.batch_size, run.embed.crop
    else:
        images, side = run.sampler.batch_size * (run.schedule.epochs > 0), run.augmentation.size
    return math.ceil(images * side**2 * PIXEL[stage.name] / 1e6)
