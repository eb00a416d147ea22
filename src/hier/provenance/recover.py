"""After a kill: end orphans, free stale locks, remove what was half written."""

import shutil
from collections.abc import Callable
from pathlib import Path

from hier.errors import BusyError
from hier.provenance.holding import engines_at_work, holders, orphaned, stop
from hier.provenance.tools import call

SNAKEMAKE_LOCKS = Path(".snakemake/locks")
MADE = ("data", "runs", "results", "weights", ".checkpoints", ".hier")


def recover(say: Callable[[str], None] = print) -> None:
    """Bring the project to a state from which either engine goes on.

    Raises:
        BusyError: an engine, or a stage that somebody called by hand, is still at work here.
        HierError: Snakemake's lock could not be removed.
    """
    for name, holder in holders().items():
        if orphaned(holder):
            say(f"ending process {holder['process']['pid']} ({name}), whose engine is gone")
            stop(holder)
    if at_work := [*holders(), *engines_at_work(Path())]:
        raise BusyError(f"still at work here: {', '.join(at_work)}; wait for it or end it")
    if SNAKEMAKE_LOCKS.is_dir() and any(SNAKEMAKE_LOCKS.iterdir()):
        say("removing the lock that a killed Snakemake left behind")
        call("snakemake", "--unlock")
    for leftover in half_written():
        say(f"removing {leftover}, half written")
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def half_written() -> list[Path]:
    """Temporary neighbours of outputs that a killed process left behind."""
    found = {path for folder in MADE for path in Path(folder).glob("**/.*.part")}
    return sorted(path for path in found if found.isdisjoint(path.parents))
