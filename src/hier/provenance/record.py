"""Each stage's record: what went in, what came out, and the machine that did it.

The record lies beside the outputs as `<stage>.record.json`. Times and the machine stand here, never
in an output, so that the outputs of two runs can be the same bytes.
"""

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hier.errors import MissingInputError, StaleError
from hier.pipeline import Job, maker
from hier.provenance.atomic import write_text
from hier.provenance.hashing import hash_path

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "pytorch-metric-learning", "pandas")

KINDS = {"params": "parameter", "inputs": "input", "versioned": "source", "outputs": "output"}


def what_goes_in(job: Job, params: dict[str, Any]) -> dict[str, Any]:
    """Everything that a job's outputs follow from: hashes of inputs and code, and its parameters.

    Raises:
        MissingInputError: an input, code or a table is not there; says what brings it back.
    """
    for path in job.inputs:
        if not Path(path).exists():
            raise MissingInputError(path, maker(path))
    for path in job.stage.versioned():
        if not Path(path).exists():
            raise MissingInputError(path, f"git checkout {path}")
    return {
        "inputs": {path: hash_path(Path(path)) for path in job.inputs},
        "versioned": {path: hash_path(Path(path)) for path in job.stage.versioned()},
        "params": {key: _select(params, key) for key in job.params},
    }


def identity(going_in: dict[str, Any]) -> str:
    """One hash of all that goes in."""
    return sha256(json.dumps(going_in, sort_keys=True).encode()).hexdigest()


@contextmanager
def recorded(job: Job, params: dict[str, Any]) -> Iterator[str]:
    """Run a stage's work: check its inputs, give its identity, and record what came out.

    The record is removed first and written last, so that an interrupted stage has none.

    Raises:
        MissingInputError: an input is not there.
        StaleError: an input changed while the stage ran.
    """
    going_in = what_goes_in(job, params)
    job.record.unlink(missing_ok=True)
    started = time.monotonic()
    start = datetime.now(UTC)
    yield identity(going_in)
    if what_goes_in(job, params)["inputs"] != going_in["inputs"]:
        raise StaleError(f"an input of {job.name} changed while it ran; run it again")
    record = {
        "stage": job.name,
        "command": job.command,
        **going_in,
        "outputs": {path: hash_path(Path(path)) for path in job.outputs},
        "environment": environment(),
        "started": start.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 2),
    }
    write_text(job.record, json.dumps(record, indent=2, sort_keys=True) + "\n")


def read_record(job: Job) -> dict[str, Any] | None:
    """A job's record, or None where there is none that can be read."""
    try:
        record = json.loads(job.record.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) and record.keys() >= set(KINDS) else None


def of_other_settings(job: Job, params: dict[str, Any]) -> bool:
    """Whether a job's record says that its outputs were made with other settings than `params`."""
    record = read_record(job)
    return record is not None and record["params"] != {k: _select(params, k) for k in job.params}


def why_stale(job: Job, params: dict[str, Any]) -> str | None:
    """The first reason why a job's outputs are not current, or None where they are proved to be."""
    record = read_record(job)
    if record is None:
        return "has no record"
    missing = [path for path in job.outputs if not Path(path).exists()]
    if missing:
        return f"output {missing[0]} is missing"
    now = what_goes_in(job, params) | {
        "outputs": {path: hash_path(Path(path)) for path in job.outputs}
    }
    for kind in KINDS:
        for name in sorted(now[kind].keys() | record[kind].keys()):
            if now[kind].get(name) != record[kind].get(name):
                return f"has {KINDS[kind]} {name} other than its record says"
    return None


def environment() -> dict[str, Any]:
    """The machine and the packages whose versions can change a number."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _select(params: dict[str, Any], key: str) -> Any:
    node: Any = params
    for part in key.split("."):
        node = node[part]
    return node
