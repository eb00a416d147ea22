"""Entries that are kept apart, in results/SUITE/ledger.yaml: dvc.lock has those of a suite only while the
suite is composed.

DVC parses and writes all of dvc.lock for each stage that it runs, which takes most of a minute a stage where
hundreds of runs are entered. Entries go to the shelf and back as the text that DVC wrote.
"""

from pathlib import Path

from hier.config.settings import Settings
from hier.errors import ConflictError, TamperedError
from hier.files.atomic import write_texts
from hier.git import refuse_conflicts
from hier.jobs import jobs
from hier.ledger.dvc_lock import LOCK, shelf_of, texts, whole

Shelf = dict[str, str]  # the texts of entries, by the names of stages in dvc.yaml


def shelve(settings: Settings) -> list[Path]:
    """Put the entries that dvc.lock has of each suite on its shelf, and in place of those of the same name on
    all others; the files that changed. What else is on a shelf stays, as where some runs are composed.
    Raises TamperedError: a file is not as DVC writes it; ConflictError: one has the marks of a merge."""
    entered, shelves = _read(LOCK), _shelves()
    for suite in settings.suites:
        names = [job.dvc_name for job in jobs(settings.of_suite(suite))]
        own = shelves.setdefault(Path(shelf_of(suite)), {})
        own |= {name: entered[name] for name in names if name in entered}
    composed = {job.dvc_name for job in jobs(settings)} & entered.keys()
    for own in shelves.values():
        own |= {name: entered[name] for name in own if name in composed}
    old = {path: path.read_bytes() for path in shelves if path.is_file()}
    new = {path: whole(own) for path, own in shelves.items()}
    changed = {path: text for path, text in new.items() if old.get(path) != text.encode()}
    write_texts(changed)
    return [*changed]


def take_down(settings: Settings) -> None:
    """Give dvc.lock the entries that it lacks of the composed suites, from their shelves or else from any,
    and take those of other suites out of it that stand on a shelf in the same words.
    Raises TamperedError: dvc.lock or a shelf of theirs is not as DVC writes it; ConflictError: it has the
    marks of a merge."""
    mine = [Path(shelf_of(suite)) for suite in settings.suites]
    shelves = _shelves(mine)
    if not shelves:
        return
    entered, composed = _read(LOCK), [job.dvc_name for job in jobs(settings)]
    known: Shelf = {}
    for path in sorted(shelves, key=lambda path: path not in mine):
        known = shelves[path] | known
    spare = {name for own in shelves.values() for name, text in own.items() if entered.get(name) == text}
    kept = {name: entered.get(name) or known[name] for name in composed if name in entered or name in known}
    kept |= {name: text for name, text in entered.items() if name not in spare and name not in kept}
    if kept != entered:
        write_texts({LOCK: whole(kept)})


def on_a_shelf(name: str) -> bool:
    """Whether an entry is on some shelf, so that dvc.lock need not have it."""
    return any(name in own for own in _shelves([]).values())


def _shelves(needed: list[Path] | None = None) -> dict[Path, Shelf]:
    """All shelves but for damaged ones that are not `needed`."""
    found = {}
    for path in sorted(Path().glob(shelf_of("*"))):
        try:
            found[path] = _read(path)
        except (TamperedError, ConflictError):
            if needed is None or path in needed:
                raise
    return found


def _read(path: Path) -> Shelf:
    if not path.exists():
        return {}
    refuse_conflicts([path])
    try:
        found = texts(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, OSError):
        found = None
    if found is None:
        mend = f"git checkout {path} (or, where that is so in git, git checkout COMMIT -- {path})"
        raise TamperedError(f"{path} is not as DVC writes it; bring it back with: {mend}")
    return found
