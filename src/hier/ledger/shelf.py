"""Entries that are kept apart, in results/SUITE/ledger.yaml: dvc.lock has those of a suite only while the
suite is composed.

DVC parses and writes all of dvc.lock for each stage that it runs, which takes most of a minute a stage where
hundreds of runs are entered. Entries go to the shelf and back as the text that DVC wrote.
"""

import re
from pathlib import Path

from hier.config.settings import Settings
from hier.errors import TamperedError
from hier.files.atomic import write_texts
from hier.git import refuse_conflicts
from hier.jobs import jobs
from hier.ledger.dvc_lock import LOCK, SHELF

HEAD = "schema: '2.0'\nstages:\n"
_ENTRY = re.compile(r"^  (\S+):\n(?:    .*\n)+", re.MULTILINE)


def shelve(settings: Settings) -> list[Path]:
    """Put the entries that dvc.lock has of each suite on its shelf, in place of those of the same name; the
    files. dvc.lock stays as it is, and so does what else is on a shelf, as where some runs are composed.
    Raises TamperedError: a file is not as DVC writes it; ConflictError: one has the marks of a merge."""
    entered, texts = entries(LOCK), dict[Path, str]()
    for suite in settings.suites:
        path = Path(SHELF.format(suite=suite))
        names = [job.dvc_name for job in jobs(settings.of_suite(suite))]
        texts[path] = _text(entries(path) | {name: entered[name] for name in names if name in entered})
    write_texts(texts)
    return [*texts]


def take_down(settings: Settings) -> None:
    """Give dvc.lock the entries that it lacks of the composed suites, from their shelves, and take those of
    other suites out of it that stand on a shelf in the same words.
    Raises TamperedError: a file is not as DVC writes it; ConflictError: one has the marks of a merge."""
    shelves = {path: entries(path) for path in sorted(Path().glob(SHELF.format(suite="*")))}
    if not shelves:
        return
    composed = [job.dvc_name for job in jobs(settings)]
    entered = entries(LOCK)
    spare = {name for own in shelves.values() for name, text in own.items() if entered.get(name) == text}
    kept = {name: text for name, text in entered.items() if name in composed or name not in spare}
    for suite in settings.suites:
        own = shelves.get(Path(SHELF.format(suite=suite)), {})
        kept |= {name: own[name] for name in composed if name in own and name not in kept}
    if kept != entered:
        write_texts({LOCK: _text(kept)})


def entries(path: Path) -> dict[str, str]:
    """The text of each entry of a ledger, by its stage's name in dvc.yaml; none of no file."""
    if not path.exists():
        return {}
    refuse_conflicts([path])
    text = path.read_text(encoding="utf-8", errors="replace")
    found = {match[1]: match[0] for match in _ENTRY.finditer(text)}
    if text != _text(found):
        raise TamperedError(f"{path} is not as DVC writes it; bring it back with: git checkout {path}")
    return found


def _text(found: dict[str, str]) -> str:
    return HEAD + "".join(found.values()) if found else "schema: '2.0'\n"
