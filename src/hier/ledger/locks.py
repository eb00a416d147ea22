"""One process at a time works on a job; a second one is told which, and which engine called it. After a
kill, orphans are ended, stale locks freed, and what was half written is removed."""

import atexit
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import dropwhile
from pathlib import Path

import psutil

from hier.errors import BusyError, HierError
from hier.files.lock import free, living, locked
from hier.files.lock_owner import Holder, describe, identify, is_here, is_identity, lives
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
def locked_job(job: Job) -> Iterator[None]:
    """Hold a job while the block runs; a holder whose engine was killed is ended first, and BusyError
    names any other."""
    holder = living(FOLDER / job.name)
    if holder and orphaned(holder):
        print(f"ending process {holder['process']['pid']} ({job.name}), whose engine is gone")
        stop(holder)
    engine = _caller()
    identity, called_by = (identify(engine.pid), _engine(engine)) if engine else (None, None)
    with locked(FOLDER / job.name, job=job.name, engine=identity, called_by=called_by):
        yield


def announce(engine: str) -> None:
    """Let other machines see, until this process ends, that an engine works here; whether two may do so
    is for the engine to say."""
    announced = ExitStack()
    with suppress(BusyError):
        announced.enter_context(locked(FOLDER / engine, called_by=engine))
    atexit.register(announced.close)


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
    for name in (name for name in _noted() if not free(FOLDER / name, break_locks)):
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
    put_aside_torn(say)


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
