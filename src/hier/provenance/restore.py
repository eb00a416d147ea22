"""Make the times of files agree with what their contents say.

Snakemake decides by modification times, and `dvc checkout`, `dvc pull`, git and cp leave them in any
order. Here the contents decide: what is current becomes younger than all that it was made from, and
what is stale older, so that Snakemake runs just what has to be run.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hier.errors import MissingInputError
from hier.pipeline import Job, jobs
from hier.provenance.hashing import Hasher, files_in, hashing
from hier.provenance.holding import holders
from hier.provenance.record import why_stale

LONG_AGO = (
    315_619_200 * 10**9
)  # 2 January 1980, in nanoseconds; a zip file can hold no earlier time


def restore(params: dict[str, Any]) -> dict[str, str | None]:
    """Set the times of every job's outputs that are out of order; nothing else is changed.

    Jobs that a process works on are left alone.

    Returns:
        by name of a job, why its outputs are stale, or None where they are current; jobs without
        outputs are left out.
    """
    found: dict[str, str | None] = {}
    at_work = holders()
    with hashing() as hasher:
        for job in jobs(params):
            outputs = [Path(path) for path in job.outputs if Path(path).exists()]
            if not outputs or job.name in at_work:
                continue
            found[job.name] = reason = _why_stale(job, params, hasher)
            in_order = _youngest_input(job) <= min(map(_time, outputs))
            if reason is None and not in_order:
                _set_times(outputs, time.time_ns(), hasher)
            elif reason is not None and in_order:
                _set_times(outputs, LONG_AGO, hasher)
    return found


def _why_stale(job: Job, params: dict[str, Any], hasher: Hasher) -> str | None:
    try:
        return why_stale(job, params, hasher)
    except MissingInputError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"


def _youngest_input(job: Job) -> int:
    """The latest modification time of what a job reads, as Snakemake sees it."""
    return max((_time(path) for path in _inputs(job)), default=0)


def _inputs(job: Job) -> Iterator[Path]:
    for path in map(Path, (*job.inputs, *job.stage.versioned())):
        if path.is_dir() and str(path) not in job.inputs:
            yield from files_in(path)
        elif path.exists():
            yield path


def _time(path: Path) -> int:
    stamp = path / ".snakemake_timestamp"
    return (stamp if stamp.exists() else path).stat().st_mtime_ns


def _set_times(paths: list[Path], nanoseconds: int, hasher: Hasher) -> None:
    for path in paths:
        with suppress(PermissionError):  # what cannot be read can have a time all the same
            hasher(path)
        for file in [path, *path.rglob("*")]:
            os.utime(file, ns=(nanoseconds, nanoseconds))
        hasher.same_bytes(path)
