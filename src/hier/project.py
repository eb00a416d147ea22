"""The project that a command works in: the folder that it belongs to, and the code that lies there.

Commands work in its root, so that all paths in the program are relative to it. Its own `src/hier` is what
runs: a record hashes the source in the project, which says nothing where other code was imported.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hier.errors import ForeignCodeError, HierError, NoProjectError

PACKAGE = Path(__file__).parent  # the code that runs
SOURCE = Path("src/hier")
MARKS = ("src/hier/__init__.py", "conf/suite")
# Folders that a user may keep elsewhere, as links.
LINKABLE = ("data", "runs", "results", "weights", "downloads", ".checkpoints", ".hier")
RESTARTED = "HIER_RESTARTED"  # the project with whose code this process was started anew


@dataclass(frozen=True)
class Place:
    """The user's folder and the root of its project."""

    here: Path
    root: Path

    def from_root(self, path: str) -> Path:
        """A path that the user gives, as one from the root."""
        return _moved(Path(path), self.here, self.root)

    def from_here(self, path: Path) -> Path:
        """A path from the root, as one from the user's folder."""
        return _moved(path, self.root, self.here)

    def named(self, path: str) -> str:
        """A path that the user gives, as the pipeline names its files; that of no such file stays."""
        full = Path(os.path.normpath(self.here / path))
        return str(full.relative_to(self.root)) if full.is_relative_to(self.root) else path


def _moved(path: Path, start: Path, to: Path) -> Path:
    kept = start == to or path.is_absolute()
    return path if kept else Path(os.path.relpath(start / path, to))


def find_place() -> Place:
    """Where the user is, and the nearest folder upwards that holds a project; NoProjectError where none
    does, or the current folder was removed."""
    try:
        here, named = Path.cwd(), Path(os.environ.get("PWD", ""))
        if named.is_absolute() and named.exists() and named.samefile(here):
            here = named  # the shell's name of it, where links lead to it
    except FileNotFoundError:
        raise NoProjectError("the current folder, which was removed,") from None
    for folder in (here, *here.parents):
        if any((folder / mark).exists() for mark in MARKS):
            return Place(here, folder)
    raise NoProjectError(here)


@contextmanager
def at_root() -> Iterator[Place]:
    """Work in the root of the user's project while the block runs. NoProjectError where the current folder
    belongs to none, else what the two `refuse_…` raise."""
    place = find_place()
    with chdir(place.root):
        refuse_foreign_code()
        refuse_dead_links()
        yield place


def run_own_code() -> None:
    """Start the command anew with the project's own code, where this is another's."""
    restarted = os.environ.pop(RESTARTED, None)
    try:
        root = find_place().root
    except NoProjectError:
        return
    if not _is_foreign(root) or restarted == str(root):
        return
    path = os.pathsep.join(filter(None, [str(root / "src"), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, RESTARTED: str(root)}
    # -P: the current folder may hold modules with the names of Python's own.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "hier", *sys.argv[1:]], environment)


def refuse_foreign_code() -> None:
    """Raise ForeignCodeError where, in the root, a record would hash other source than runs."""
    if _is_foreign(Path()):
        raise ForeignCodeError(SOURCE.absolute(), PACKAGE)


def refuse_dead_links() -> None:
    """Raise HierError where, in the root, a folder is kept elsewhere and is not there."""
    for path in map(Path, LINKABLE):
        if path.is_symlink() and not path.exists():
            target = path.resolve()
            raise HierError(f"{path} is a link to {target}, which is not there; mkdir -p {target}")


def _is_foreign(root: Path) -> bool:
    """Whether a project has code, and this is not it."""
    own = root / SOURCE
    return own.exists() and not own.samefile(PACKAGE)
