"""Rates of training and embedding that `hier plan --measure` found, kept for the next plan.

They lie in the user's cache folder and hold for one machine, one torch, one network and one kind
of step. Looking them up loads no torch.
"""

import os
import re
import subprocess
from collections.abc import Collection
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat, TypeAdapter

from hier.config.base import Strict
from hier.config.run import Run
from hier.errors import DiskFullError
from hier.files.atomic import write_text
from hier.ledger.environment import cpus, processor

CPU_BATCH = 4
NVIDIA = Path("/proc/driver/nvidia/gpus")
MODEL = re.compile(r"^Model:(.*)", re.MULTILINE)
SECONDS_EACH = 4  # what measuring one rate takes, about


class Rate(Strict):
    """Images per second of a training step (None of a run that is not trained) and of evaluation,
    and where and when they were measured."""

    training: PositiveFloat | None
    embedding: PositiveFloat
    device: str
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]


RATES = TypeAdapter(dict[str, Rate])


def kept_rates(runs: Collection[Run]) -> dict[str, Rate]:
    """The rate of each run by its name; those of which none is kept are left out."""
    stored, here = _read(), machine()
    # A machine with a GPU may have a torch that cannot use it.
    of = {run.name: [stored.get(key_of(run, gpu, here)) for gpu in (True, False)] for run in runs}
    return {name: rate for name, rates in of.items() if (rate := next(filter(None, rates), None))}


def slowest_rates(runs: Collection[Run], gpus: bool = True) -> dict[str, Rate]:
    """The slowest rate of each run by its name that is kept of any machine: of those with a GPU, or else (and
    without `gpus`) of those without; runs of which none is kept are left out."""
    stored = _read()
    found: dict[str, Rate] = {}
    for run in runs:
        on_gpu = gpus and run.runtime.device != "cpu"
        for gpu in (True, False)[not on_gpu :]:
            of = key_of(run, gpu, "")
            if rates := [rate for key, rate in stored.items() if key.endswith(of)]:
                found[run.name] = min(rates, key=lambda rate: (rate.training or 0.0, rate.embedding))
                break
    return found


def keep_rates(rates: dict[str, Rate]) -> None:
    """Keep rates by their `key_of`; where the file cannot be written, the plan goes without it."""
    text = RATES.dump_json(_read() | rates, indent=2).decode() + "\n"
    with suppress(OSError, DiskFullError):
        write_text(kept_file(), text)


def seconds_to_measure(runs: Collection[Run]) -> int:
    """About how long measuring the rates of some runs would take."""
    gpu = bool(gpus())
    return SECONDS_EACH * len({key_of(run, gpu, "") for run in runs})


def key_of(run: Run, gpu: bool, here: str) -> str:
    """What a rate is of: machine, torch, threads, network, image size, precision and step."""
    step = "network alone" if run.schedule.epochs else "evaluation alone"
    if is_whole(run, gpu):
        step = f"loss {run.loss.name}, regulariser {run.regularizer.name}"
    runtime = run.runtime
    network = f"{run.backbone.timm}{', compiled' * runtime.compile}"
    return (
        f"{here}, {runtime.threads} threads, device {runtime.device}: {network}, "
        f"{run.augmentation.size} px, {runtime.precision}, {step}, batch {batch_of(run, gpu)}"
    )


def is_whole(run: Run, gpu: bool) -> bool:
    """Whether the objective is in the step that is timed: it is for whole batches, thus on a GPU."""
    return gpu and run.loss.name != "none"


def batch_of(run: Run, gpu: bool) -> int:
    """Images in a step that is timed: the run's batch on a GPU, a few on a CPU."""
    return run.sampler.batch_size if gpu else CPU_BATCH


def machine() -> str:
    """This machine's processor, GPUs and torch, found without loading torch."""
    hardware = [f"{processor()} × {cpus()}", *gpus()]
    return f"{' + '.join(hardware)}, torch {version('torch')}"


def gpus() -> list[str]:
    """Names of the NVIDIA GPUs that are not hidden from this process."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    with suppress(OSError):
        files = sorted(NVIDIA.glob("*/information"))
        text = "".join(file.read_text(encoding="utf-8", errors="replace") for file in files)
        if names := [name.strip() for name in MODEL.findall(text)]:
            return names
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=5)
        return done.stdout.splitlines()
    return []


def kept_file() -> Path:
    """Where rates are kept: in XDG_CACHE_HOME, else ~/.cache."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return folder / "hier/throughput.json"


def _read() -> dict[str, Rate]:
    """What is kept; nothing where the file cannot be read or is not as `keep_rates` writes it."""
    with suppress(OSError, ValueError):
        return RATES.validate_json(kept_file().read_bytes())
    return {}
