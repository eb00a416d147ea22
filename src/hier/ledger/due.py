"""Which jobs have something to do, by contents alone.

Snakemake decides by modification times, and `dvc checkout`, `dvc pull`, git and cp leave them in any
order; where DVC links files to its cache, they are the cache's and not ours to set. So it is told
instead (workflow/rules/common.smk): the times of what a settled job reads count for nothing, and what
is stale is due whatever its times are.
"""

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from hier.config.settings import Settings
from hier.errors import MissingInputError
from hier.files.atomic import own_copy, put_link
from hier.files.hashing import Hasher, hashing
from hier.jobs import Job, jobs
from hier.ledger.dvc_lock import cached
from hier.ledger.locks import holders
from hier.ledger.record import stale_reason


def stale_reasons(settings: Settings) -> dict[str, str | None]:
    """Look at every job's outputs; nothing is changed.

    Jobs that a process works on, and those that have no output, are left out.

    Returns:
        by name of a job, why its outputs are stale, or None where they are current.
    """
    found: dict[str, str | None] = {}
    at_work = holders()
    with hashing() as hasher:
        for job in jobs(settings):
            if job.name not in at_work and any(map(os.path.exists, job.outputs)):
                found[job.name] = _stale_reason(job, hasher)
    return found


def unsettled(
    settings: Settings, found: dict[str, str | None], forced: Collection[str]
) -> set[str]:
    """The names of the jobs that are not current or forced, and of all that come after one of them.

    What comes after can be current, and stays so where the same bytes come out; it must be asked
    again once they did.

    Args:
        found: what `stale_reasons` said.
        forced: names of jobs that are to be done anew.
    """
    names: set[str] = set()
    may_change: set[str] = set()
    for job in jobs(settings):
        is_current = job.name in found and found[job.name] is None
        if not is_current or job.name in forced or may_change.intersection(job.inputs):
            names.add(job.name)
            may_change.update(job.outputs)
    return names


def let_be_replaced(due: Iterable[Job]) -> None:
    """Where outputs are write-protected, as DVC's hard links are, put in their place what is not.

    Snakemake would refuse to replace them. A symbolic link to the same file of DVC's cache does, else
    a copy of the bytes. What cannot be changed here stays, and Snakemake names it.
    """
    with hashing() as hasher:
        for path in (Path(path) for job in due for path in job.outputs):
            with suppress(PermissionError):
                if path.is_file() and not path.is_symlink() and not os.access(path, os.W_OK):
                    file = cached(hasher(path).md5)
                    if file is not None and file.samefile(path):
                        put_link(path, file.absolute())
                    else:
                        own_copy(path)
                    hasher.carry_over_digest(path)


def _stale_reason(job: Job, hasher: Hasher) -> str | None:
    try:
        return stale_reason(job, hasher)
    except MissingInputError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
