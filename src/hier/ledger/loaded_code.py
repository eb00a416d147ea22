"""Whether the source that a record hashes is the source that ran.

A record hashes files when a stage begins, so the stage must not run a module that was loaded from other
bytes, earlier or later. An edit of a file whose module is loaded already changes nothing that runs.
"""

import sys
from pathlib import Path

from hier.errors import StaleError
from hier.files.hashing import Hasher, files_in
from hier.jobs import Job
from hier.pipeline import SRC

_loaded: dict[Path, str] = {}
"""By file, the SHA-256 that it had when its module was first seen loaded in this process."""


class Sources:
    """The files under version control that a job runs or reads, as they are when it begins; StaleError
    where one has changed since this process loaded it."""

    def __init__(self, job: Job, hasher: Hasher) -> None:
        self.job = job
        self.before = self._hashes(hasher)
        note_loaded(hasher)
        self.loaded = _files_of_modules()
        for path in sorted(self.before.keys() & self.loaded):
            if self.before[path] != _loaded[path.absolute()]:
                since = "has changed since this process loaded it; run it again"
                raise StaleError(f"source {path} of {job.name} {since}")

    def changed_before_use(self, hasher: Hasher) -> Path | None:
        """The first file that may have been loaded, or read, with other bytes than when the job began."""
        now = self._hashes(hasher)
        note_loaded(hasher)
        late = _files_of_modules() - self.loaded
        changed = (p for p in {**self.before, **now} if self.before.get(p) != now.get(p))
        return min((p for p in changed if p in late or p.suffix != ".py"), default=None)

    def _hashes(self, hasher: Hasher) -> dict[Path, str]:
        paths = [path for path in map(Path, self.job.code_paths) if path.exists()]
        files = (file for path in paths for file in (files_in(path) if path.is_dir() else [path]))
        return {file: hasher.file(file).sha256 for file in files}


def note_loaded(hasher: Hasher) -> None:
    """Note what the files of the modules hold that this process has loaded since the last call."""
    for path in _files_of_modules():
        if path.absolute() not in _loaded and path.exists():
            _loaded[path.absolute()] = hasher.file(path).sha256


def _files_of_modules() -> set[Path]:
    """The files below src/hier/ in the current folder from which this process has loaded modules."""
    home = Path(SRC).resolve()
    named = [module for name, module in sys.modules.items() if name.startswith("hier.")]
    files = [Path(file).resolve() for module in named if (file := getattr(module, "__file__", ""))]
    return {Path(SRC) / file.relative_to(home) for file in files if file.is_relative_to(home)}
