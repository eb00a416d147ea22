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

from pydantic import TypeAdapter

from hier.config.run import Run
from hier.errors import DiskFullError
from hier.files.atomic import write_text
from hier.ledger.environment import cpus, processor
from hier.planning.rate import Rate
from hier.progress import track

CPU_BATCH = 4
NVIDIA = Path("/proc/driver/nvidia/gpus")
MODEL = re.compile(r"^Model:(.*)", re.MULTILINE)
SECONDS_EACH = 4
"""What measuring one rate takes, about."""


RATES = TypeAdapter(dict[str, Rate])


def kept_rates(runs: Collection[Run]) -> dict[str, Rate]:
    """The rate of each run by its name; those of which none is kept are left out."""
    stored, here = _read(), machine()
    # A machine with a GPU may have a torch that cannot use it.
    of = {run.name: [stored.get(key_of(run, gpu, here)) for gpu in (True, False)] for run in runs}
    return {name: rate for name, rates in of.items() if (rate := next(filter(None, rates), None))}


def measured_rates(runs: Collection[Run]) -> dict[str, Rate]:
    """Measure each rate that the runs need, on this machine and now, and keep it.

    Returns:
        the rate of each run by its name.

    Raises:
        ConfigError: a run asks for a GPU that is not there, or does not fit on the one that is.
    """
    from hier.planning.throughput import measure, on_gpu

    here = machine()
    keys = {run.name: key_of(run, on_gpu(run), here) for run in runs}
    examples = {keys[run.name]: run for run in reversed([*runs])}
    rates = {}
    for key, run in track(list(examples.items()), "measuring"):
        gpu = on_gpu(run)
        rates[key] = measure(run, batch_of(run, gpu), is_whole(run, gpu))
    _keep(rates)
    return {name: rates[key] for name, key in keys.items()}


def seconds_to_measure(runs: Collection[Run]) -> int:
    """About how long `measured_rates` would take."""
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
    texts = (_text(file) for file in sorted(NVIDIA.glob("*/information")))
    return [name.strip() for text in texts for name in MODEL.findall(text)] or _listed_gpus()


def kept_file() -> Path:
    """Where rates are kept: in XDG_CACHE_HOME, else ~/.cache."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return folder / "hier/throughput.json"


def _listed_gpus() -> list[str]:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", check=True, timeout=5
        ).stdout.splitlines()
    return []


def _read() -> dict[str, Rate]:
    """What is kept; nothing where the file cannot be read or is not as `_keep` writes it."""
    with suppress(OSError, ValueError):
        return RATES.validate_json(kept_file().read_bytes())
    return {}


def _keep(rates: dict[str, Rate]) -> None:
    """Add rates to the file; where that cannot be written, the plan goes without it."""
    text = RATES.dump_json(_read() | rates, indent=2).decode() + "\n"
    with suppress(OSError, DiskFullError):
        write_text(kept_file(), text)


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace")
    return ""
