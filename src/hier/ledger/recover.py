"""After a kill: end orphans, free stale locks, remove what was half written."""

import shutil
from collections.abc import Callable
from pathlib import Path

from hier.errors import BusyError
from hier.files.lock_owner import describe, is_here
from hier.ledger.locks import call, engines_at_work, free_all, holders, orphaned, stop

SNAKEMAKE_LOCKS = Path(".snakemake/locks")
MADE = ("data", "runs", "results", "weights", ".checkpoints", ".hier")
TEMPORARY = (".*.part", f".{'[0-9A-Za-z_-]' * 22}.tmp")
"""Names of half-written files: the project's own, and DVC's, as when it tries which links a disk has."""


def recover(say: Callable[[str], None] = print, break_locks: bool = False) -> None:
    """Bring the project to a state from which either engine goes on; `break_locks` takes the user's word that
    no other machine works here, whatever locks say.

    BusyError where an engine, or a stage that somebody called by hand, is still at work here; HierError where
    Snakemake's lock could not be removed.
    """
    at_work = holders()
    for name, holder in at_work.items():
        if orphaned(holder):
            say(f"ending process {holder['process']['pid']} ({name}), whose engine is gone")
            stop(holder)
        elif break_locks and not is_here(holder):
            say(f"taking {name} from {describe(holder)}")
    left = []
    for name in free_all(break_locks):
        elsewhere = name in at_work and not is_here(at_work[name])
        left.append(f"{name} ({describe(at_work[name])})" if elsewhere else name)
    if still := [*left, *engines_at_work(Path())]:
        mend = "wait for it or end it"
        if any(not is_here(holder) for holder in holders().values()):
            mend += "; if its machine is gone for good: hier recover --break-locks"
        raise BusyError(f"still at work here: {', '.join(still)}; {mend}")
    if SNAKEMAKE_LOCKS.is_dir() and any(SNAKEMAKE_LOCKS.iterdir()):
        say("removing the lock that a killed Snakemake left behind")
        call("snakemake", "--unlock")
    for leftover in half_written():
        say(f"removing {leftover}, half written")
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def half_written() -> list[Path]:
    """Temporary neighbours of outputs that a killed process left behind."""
    found = {p for folder in MADE for name in TEMPORARY for p in Path(folder).glob(f"**/{name}")}
    return sorted(path for path in found if found.isdisjoint(path.parents))
