"""The last outputs of each job, kept as second names of the same files (of small ones, as copies).

Snakemake deletes a job's outputs before it runs it, also where nothing that goes into them has
changed. A hard link brings them back at once, or a copy where DVC's cache has taken the file in, whose
times are not ours to set. What is kept counts only where its bytes are those of the record, a copy of
which lies beside it, since DVC may put the outputs of other work in the workspace.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from hier.files.atomic import own_copy
from hier.files.hashing import Hasher
from hier.jobs import Job
from hier.ledger.record import Record

FOLDER = Path(".hier/kept")


def cache_outputs(job: Job, hasher: Hasher) -> None:
    """Keep the job's present outputs in place of its earlier ones."""
    shutil.rmtree(FOLDER / job.name, ignore_errors=True)
    try:
        for path, kept in kept_files(job):
            hasher(path)
            _put(job, path, kept)
            hasher.carry_over_digest(path)
            hasher.carry_over_digest(kept, as_=path)
        if job.record.exists():
            shutil.copyfile(job.record, kept_record(job))
    except OSError:  # a file system without hard links, or a full one: nothing is kept
        shutil.rmtree(FOLDER / job.name, ignore_errors=True)


def restore_outputs(job: Job, record: Record, hasher: Hasher) -> bool:
    """Put missing outputs back where what was kept is what the record says; whether all are there."""
    for path, kept in kept_files(job):
        if path.exists():
            continue
        if not kept.exists() or hasher.anew(kept).as_dict() != record["outputs"].get(str(path)):
            return False
        try:
            _put(job, kept, path) if _is_ours(kept) else own_copy(path, of=kept)
        except OSError:
            return False
        hasher.carry_over_digest(path, as_=kept)
    return True


def kept_files(job: Job) -> list[tuple[Path, Path]]:
    """Each output of a job, and where what was kept of it lies."""
    home = FOLDER / job.name
    return [(Path(path), home / Path(path).name) for path in job.outputs]


def kept_record(job: Job) -> Path:
    """Where the record of what was kept lies."""
    return FOLDER / job.name / job.record.name


def _is_ours(kept: Path) -> bool:
    """Whether no file of it has another name, such as in DVC's cache, or another owner: Snakemake
    sets the times of what comes back."""
    stats = [file.stat() for file in (kept, *kept.rglob("*")) if file.is_file()]
    return all(stat.st_nlink == 1 and stat.st_uid == os.geteuid() for stat in stats)


def _put(job: Job, source: Path, target: Path) -> None:
    """Hard-link a file, or every file of a folder; copy what git keeps, which is small, and which
    editors may change in place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if {str(source), str(target)} & {*job.in_git}:
        shutil.copyfile(source, target)
    elif source.is_dir():
        shutil.copytree(source, target, copy_function=os.link)
    else:
        with suppress(FileNotFoundError):
            target.unlink()
        os.link(source, target)
