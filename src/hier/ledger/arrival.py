"""What came without a promise of its content is held against the file that it came from, and the list of
photos that are read in place against their folder.

Its hash is that of the archive's own file, which the download's record vouches for. A local file that
holds other bytes now makes the download stale; one that is gone, or an address, says nothing.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hier.errors import ChangedPhotosError, ConfigError, LayoutError
from hier.files.hashing import Hasher
from hier.jobs import Job

TAKE_OVER = "take it over with: "


def changed_source(job: Job, hasher: Hasher) -> str | None:
    """A local file that is no longer what was downloaded from it, and what to do; or None."""
    for source, kept in _pairs(job):
        if hasher.file(source).sha256 != hasher.file(kept).sha256:
            return f"{source} is no longer what was downloaded; {TAKE_OVER}{job.command}"
    return next(_changed_photos(job, hasher), None)


def is_its_source(job: Job, hasher: Hasher) -> bool:
    """Whether something of a download came without a promise, and its local source holds the same."""
    alike = [hasher.file(one).sha256 == hasher.file(other).sha256 for one, other in _pairs(job)]
    return bool(alike) and all(alike)


def _changed_photos(job: Job, hasher: Hasher) -> Iterator[str]:
    """How the photos in a folder, or a table of them, differ from what a download made of them."""
    files = _files(job)
    folder = next((file["folder"] for file in files if file.get("folder")), None)
    if folder is None:
        return
    from hier.data.fetch import local_path
    from hier.data.in_place import differences, list_photos

    for file in files:
        kept, source = Path(job.outputs[0], file["name"]), local_path(file.get("url") or folder)
        if source is None or not kept.is_file() or not source.exists():
            continue  # what is not there now says nothing
        changes = ""
        with suppress(LayoutError):
            if source.is_dir():
                found = list_photos(source, job.key, lambda path: hasher.file(path).sha256)
                changes = differences(kept.read_text(encoding="utf-8"), found)
            elif hasher.file(source).sha256 != hasher.file(kept).sha256:
                changes = f"{source} has changed"
        if changes:
            yield str(ChangedPhotosError(job.key, folder, changes))


def _files(job: Job) -> list[dict[str, Any]]:
    """What a download promises of each file; of another job, nothing."""
    sources = job.settings.datasets[job.key]["sources"] if job.stage.name == "download" else []
    return [file for source in sources for file in source["files"]]


def _pairs(job: Job) -> Iterator[tuple[Path, Path]]:
    """Of each file without a promise, the local one that it would be taken from, and the archive's."""
    if all(file.get("unproved") is None for file in _files(job)):
        return  # what follows takes a while to import
    from pydantic import ValidationError

    from hier.config.dataset import Dataset
    from hier.data.fetch import mirrors_of, source_of, taken_from

    folder = Path(job.outputs[0])
    with suppress(ValidationError, ConfigError):  # told when it is downloaded
        dataset = Dataset.model_validate(job.settings.datasets[job.key])
        source = source_of(dataset, (path.name for path in folder.glob("*")))
        mirrors = mirrors_of(dataset)
        for file in source.files if source else ():
            path = taken_from(file, mirrors) if file.unproved is not None else None
            if path is not None:
                yield path, folder / file.name
