"""One process at a time works on a job; a second one is told which, and which engine called it. After a
kill, orphans are ended, stale locks freed, and what was half written is removed."""

import atexit
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import dropwhile
from pathlib import Path

import psutil

from hier.errors import BusyError, HierError
from hier.files.lock import free, living, locked
from hier.files.lock_owner import (
    Holder,
    batch_job,
    describe,
    identify,
    is_here,
    is_identity,
    lives,
    own_batch_job,
)
from hier.jobs import Job
from hier.ledger.torn import put_aside_torn

FOLDER = Path(".hier/locks")
ENGINES = ("snakemake", "dvc", "hier")
# `-f`, alone or among others of `dvc repro` and `dvc exp run` that take no value.
DVC_FORCE = re.compile("-[ikpPqRsv]*f[fikpPqRsv]*")
SNAKEMAKE_LOCKS = Path(".snakemake/locks")
MADE = ("data", "runs", "results", "weights", ".checkpoints", ".hier")
TEMPORARY = (".*.part", f".{'[0-9A-Za-z_-]' * 22}.tmp")
"""Names of half-written files: the project's own, and DVC's, as when it tries which links a disk has."""


@contextmanager
def locked_job(job: Job, wait: bool = False) -> Iterator[None]:
    """Hold a job while the block runs. A holder whose engine was killed is ended first. One that is another
    job of a batch system, or by `wait` any, is waited for; BusyError names any other.

    A cluster's job outlives the engine that sent it away. An engine that is started anew sends a second one
    after it, which would fail as long as the first works, and so use up its retries.
    """
    holder = living(FOLDER / job.name)
    if holder and orphaned(holder):
        print(f"ending process {holder['process']['pid']} ({job.name}), whose engine is gone")
        stop(holder)
    engine = _caller()
    identity, called_by = (identify(engine.pid), _engine(engine)) if engine else (None, None)
    patience = _Patience(job.name, wait)
    with locked(FOLDER / job.name, patience, job=job.name, engine=identity, called_by=called_by):
        yield


class _Patience:
    """Says of a holder whether it is waited for, and, once, that it is."""

    def __init__(self, name: str, for_any: bool) -> None:
        self.name, self.for_any, self.told = name, for_any, set[str]()

    def __call__(self, holder: Holder | None) -> bool:
        if holder is None:  # it has just taken the lock, or given it back
            return self.for_any or bool(self.told or own_batch_job())
        if not (self.for_any or _is_other_batch_job(holder)):
            return False
        who = describe(holder)
        if who not in self.told:
            print(f"{self.name}: waiting for {who}", flush=True)
            self.told.add(who)
        return True


def _is_other_batch_job(holder: Holder) -> bool:
    """Two processes of one job on one machine are as two in one terminal."""
    batch = batch_job(holder)
    return batch != "" and not (is_here(holder) and batch == own_batch_job())


def announce(engine: str) -> None:
    """Let other machines see, until this process ends, that an engine works here; whether two may do so
    is for the engine to say."""
    announced = ExitStack()
    for number in range(1, 100):
        with suppress(BusyError):
            announced.enter_context(locked(FOLDER / f"{engine}.{number}", called_by=engine))
            break
    atexit.register(announced.close)


def heed_announced(unlock: bool) -> None:
    """Say which engines work here, on whatever machine. BusyError where one does and the user tells Snakemake
    to remove its lock, as Snakemake itself advises whom it refuses."""
    announced = {name: holder for name, holder in holders().items() if "." in name}
    if not announced:
        return
    found = (f"{_shown(name)} ({describe(holder)})" for name, holder in announced.items())
    said = _still_at_work(found, announced)
    if unlock:
        raise BusyError(f"Snakemake's lock is not left over: {said}")
    print(said, file=sys.stderr)


def holders() -> dict[str, Holder]:
    """By job, the processes that hold one now, as far as one glance tells."""
    found = {name: living(FOLDER / name) for name in _noted()}
    return {name: holder for name, holder in found.items() if holder}


def orphaned(holder: Holder) -> bool:
    """Whether the holder is of this machine and the engine that called it is gone."""
    engine = holder.get("engine")
    return is_here(holder) and is_identity(engine) and not lives(engine)


def stop(holder: Holder, patience: float = 60.0) -> None:
    """End a holder of this machine: asked first, so that a training writes a checkpoint; then killed."""
    if not is_here(holder) or not lives(holder["process"]):
        return
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(holder["process"]["pid"])
        process.terminate()
        try:
            process.wait(patience)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(patience)


def engines_at_work(folder: Path) -> list[str]:
    """Snakemake or DVC processes that work in `folder`, as `name (pid)`."""
    here = str(folder.resolve())
    found = ((p, _engine(p)) for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == here)
    return [f"{name} ({process.pid})" for process, name in found if name in ("snakemake", "dvc")]


def forced_by_dvc() -> bool:
    """Whether the DVC that called this process was told to force (`dvc repro --force` or `-f`), which it
    tells a stage nowhere else. Snakemake's rules hand `--force` on by themselves."""
    engine = _caller()
    if engine is None or _engine(engine) != "dvc":
        return False
    return any(word == "--force" or DVC_FORCE.fullmatch(word) for word in engine.cmdline())


def call(*command: str) -> None:
    """Run `python -m <command>`, silently; HierError where it fails, with the first of its lines that calls
    itself an error or a file invalid, or else the last."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr or done.stdout).splitlines()
        lines = [line.strip() for line in said if line.strip()]
        errors = [line for line in lines if line.upper().startswith("ERROR")]
        invalid = [line for line in lines if "is invalid" in line or "validation failed" in line]
        why = [*errors, *invalid, *reversed(lines), "it says nothing"][0]
        raise HierError(f"{' '.join(command)} failed: {why}")


def recover(say: Callable[[str], None] = print, break_locks: bool = False) -> None:
    """Bring the project to a state from which either engine goes on; `break_locks` takes the user's word that
    no other machine works here, whatever locks say.

    Jobs of a batch system go on: an engine that is started anew waits for them, and what they write stays.
    BusyError where an engine, or a stage that somebody called by hand, is still at work here; HierError where
    Snakemake's lock could not be removed.
    """
    at_work = holders()
    for name, holder in at_work.items():
        if orphaned(holder):
            say(f"ending process {holder['process']['pid']} ({name}), whose engine is gone")
            stop(holder)
        elif break_locks and not is_here(holder):
            say(f"taking {_shown(name)} from {describe(holder)}")
    left = {name: at_work.get(name) for name in _noted() if not free(FOLDER / name, break_locks)}
    going_on = {name: holder for name, holder in left.items() if holder and _goes_on(holder)}
    others = [_at_work(name, holder) for name, holder in left.items() if name not in going_on]
    if still := [*others, *engines_at_work(Path())]:
        raise BusyError(_still_at_work(still, holders()))
    for name, holder in going_on.items():
        say(f"{name} goes on as {describe(holder)}; what it writes stays, and Snakemake waits for it")
    if SNAKEMAKE_LOCKS.is_dir() and any(SNAKEMAKE_LOCKS.iterdir()):
        say("removing the lock that a killed Snakemake left behind")
        call("snakemake", "--unlock")
    for leftover in [] if going_on else half_written():
        say(f"removing {leftover}, half written")
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    put_aside_torn(say)


def _goes_on(holder: Holder) -> bool:
    """Whether a holder is a job of a batch system whose engine may be gone: that of a living one is seen by
    what the engine holds, but for DVC, which holds nothing."""
    return batch_job(holder) != "" and "job" in holder and holder.get("called_by") != "dvc"


def _at_work(name: str, holder: Holder | None) -> str:
    return f"{_shown(name)} ({describe(holder)})" if holder and not is_here(holder) else _shown(name)


def _still_at_work(named: Iterable[str], holders: dict[str, Holder]) -> str:
    mend = "wait for it or end it"
    if not all(map(is_here, holders.values())):
        mend += "; if its machine is gone for good: hier recover --break-locks"
    return f"still at work here: {', '.join(named)}; {mend}"


def _shown(name: str) -> str:
    """The name of a lock as it is told: an engine's without its number."""
    return name.partition(".")[0]


def half_written() -> list[Path]:
    """Temporary neighbours of outputs that a killed process left behind."""
    found = {p for folder in MADE for name in TEMPORARY for p in Path(folder).glob(f"**/{name}")}
    return sorted(path for path in found if found.isdisjoint(path.parents))


def _caller() -> psutil.Process | None:
    """The engine that called this process, if one did."""
    return next((p for p in psutil.Process().parents() if _engine(p)), None)


def _engine(process: psutil.Process) -> str | None:
    """The engine that a process is, or None."""
    try:
        words = process.cmdline()
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return None
    if words and Path(words[0]).name.startswith("python"):  # a script's, or `python -P -m`
        words = list(dropwhile(("-P", "-m").__contains__, words[1:]))
    name = Path(words[0]).name if words else ""
    return name if name in ENGINES else None


def _noted() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("[!.]*.json"))
