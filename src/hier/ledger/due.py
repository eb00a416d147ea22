"""Which jobs have something to do, by contents alone.

Snakemake decides by modification times, which `dvc checkout`, `dvc pull`, git and cp leave in any order.
So it is told instead (workflow/rules/common.smk): the times of what a settled job reads count for
nothing, and what is stale is due whatever its times are.
"""

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hier.config.settings import Settings
from hier.errors import MissingInputError
from hier.files.atomic import own_copy, put_link
from hier.files.hashing import Hasher, hashing
from hier.jobs import Job, jobs
from hier.ledger.dvc_lock import cached
from hier.ledger.locks import holders
from hier.ledger.record import stale_reason

ROUNDING = 1e-6
"""Seconds: Snakemake takes times as floats, which are as exact as that."""


def stale_reasons(settings: Settings) -> dict[str, str | None]:
    """By name of a job, why its outputs are stale, or None where they are current; jobs that a process
    works on, and those that have no output, are left out."""
    at_work = holders()
    with hashing() as hasher:
        return {
            job.name: _stale_reason(job, hasher)
            for job in jobs(settings)
            if job.name not in at_work and any(map(os.path.exists, job.outputs))
        }


def unsettled(settings: Settings, found: dict[str, str | None], forced: Collection[str]) -> set[str]:
    """The names of the jobs that are not current (see `stale_reasons`) or forced, and of all that come
    after one of them: those stay current where the same bytes come out, but must be asked again."""
    names: set[str] = set()
    may_change: set[str] = set()
    for job in jobs(settings):
        is_current = found.get(job.name, "has no output") is None
        if not is_current or job.name in forced or may_change.intersection(job.inputs):
            names.add(job.name)
            may_change.update(job.outputs)
    return names


def let_be_replaced(due: Iterable[Job]) -> None:
    """Where outputs are write-protected, as DVC's hard links are, so that Snakemake would refuse to replace
    them, put in their place a symbolic link to the same file of DVC's cache, or else a copy."""
    with hashing() as hasher:
        for path in (Path(path) for job in due for path in job.outputs):
            with suppress(PermissionError):
                if path.is_file() and not path.is_symlink() and not os.access(path, os.W_OK):
                    if (file := cached(hasher(path).md5)) and file.samefile(path):
                        put_link(path, file.absolute())
                    else:
                        own_copy(path)
                    hasher.carry_over_digest(path)


async def make_as_young(dag: Any, job: Any, outputs: Iterable[Any]) -> None:
    """Give outputs that a job of Snakemake's has just made the time of its youngest input, if that is later.

    It stands for DAG.check_output_mtime of Snakemake, which fails such a job, and so deletes its outputs. An
    input is that young where the clock of another machine, or that of a disk's server, is ahead.
    """

    async def times(files: Iterable[Any]) -> dict[Any, float]:
        return {f: (await f.mtime_uncached()).local() for f in files if await f.exists_local()}

    youngest = max((await times(job.input)).values(), default=0.0)
    for file, time in (await times(outputs)).items():
        if time < youngest:
            file.touch((youngest + ROUNDING,) * 2)


def _stale_reason(job: Job, hasher: Hasher) -> str | None:
    try:
        return stale_reason(job, hasher)
    except MissingInputError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
