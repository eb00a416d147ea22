"""One process at a time works on a job; a second one is told which.

The lock is the operating system's (it goes with the process, whatever kills it); the note beside it
says who holds it and which engine called.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from hier.errors import BusyError
from hier.pipeline import Job
from hier.provenance.atomic import write_text

FOLDER = Path(".hier/locks")
ENGINES = ("snakemake", "dvc", "hier")
# `-f`, alone or among others of `dvc repro` and `dvc exp run` that take no value.
DVC_FORCE = re.compile("-[ikpPqRsv]*f[fikpPqRsv]*")
NOTED = {"job", "process", "engine", "called_by", "since"}


@contextmanager
def held(job: Job) -> Iterator[None]:
    """Hold a job while the block runs; a holder whose engine was killed is ended first.

    Raises:
        BusyError: another process holds it.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    holder = holders().get(job.name)
    if holder and orphaned(holder):
        print(f"ending process {holder['process']['pid']} ({job.name}), whose engine is gone")
        stop(holder)
    try:
        with FileLock(_lock(job.name), timeout=0):
            write_text(_note(job.name), json.dumps(_myself(job)) + "\n")
            try:
                yield
            finally:
                _note(job.name).unlink(missing_ok=True)
    except Timeout:
        raise BusyError(f"{job.name} is being worked on by {_in_words(job.name)}") from None


def holders() -> dict[str, dict[str, Any]]:
    """By job, the processes that hold one now: pid, command, engine."""
    found = {}
    for note in sorted(FOLDER.glob("*.json")):
        holder = _read(note)
        if holder and _lives(holder["process"]):
            found[note.stem] = holder
    return found


def orphaned(holder: dict[str, Any]) -> bool:
    """Whether the engine that called the holder is gone."""
    return _is_identity(holder["engine"]) and not _lives(holder["engine"])


def stop(holder: dict[str, Any], patience: float = 60.0) -> None:
    """End a holder: asked first, so that a training writes a checkpoint; then killed."""
    if not _lives(holder["process"]):
        return
    try:
        process = psutil.Process(holder["process"]["pid"])
        process.terminate()
        try:
            process.wait(patience)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(patience)
    except psutil.NoSuchProcess:
        pass


def engines_at_work(folder: Path) -> list[str]:
    """Snakemake or DVC processes that work in `folder`, as `name (pid)`."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        name = _engine(process)
        if name in ("snakemake", "dvc") and process.info["cwd"] == str(folder.resolve()):
            found.append(f"{name} ({process.info['pid']})")
    return found


def forced_by_dvc() -> bool:
    """Whether the DVC that called this process was told to force (`dvc repro --force` or `-f`).

    It tells a stage so nowhere else. Snakemake's rules hand `--force` on by themselves.
    """
    engine = next((p for p in psutil.Process().parents() if _engine(p)), None)
    if engine is None or _engine(engine) != "dvc":
        return False
    return any(word == "--force" or DVC_FORCE.fullmatch(word) for word in engine.cmdline())


def _myself(job: Job) -> dict[str, Any]:
    me = psutil.Process()
    engine = next((p for p in me.parents() if _engine(p)), None)
    return {
        "job": job.name,
        "process": _identify(me),
        "engine": _identify(engine) if engine else None,
        "called_by": _engine(engine) if engine else None,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _identify(process: psutil.Process) -> dict[str, Any]:
    # A number alone could be another process's by now.
    return {"pid": process.pid, "created": process.create_time()}


def _lives(known: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(known["pid"])
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return alive and abs(process.create_time() - known["created"]) < 1
    except psutil.NoSuchProcess:
        return False


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


def _in_words(job: str) -> str:
    holder = _read(_note(job))
    if not holder:
        return "another process"
    engine = f", called by {holder['called_by']}" if holder["called_by"] else ""
    return f"process {holder['process']['pid']} since {holder['since']}{engine}"


def _read(note: Path) -> dict[str, Any] | None:
    try:
        holder = dict(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return holder if holder.keys() >= NOTED and _is_identity(holder["process"]) else None


def _is_identity(known: Any) -> bool:
    """Whether it is what `_identify` gives."""
    kinds = {"pid": int, "created": float}
    return isinstance(known, dict) and all(
        isinstance(known.get(name), kind) for name, kind in kinds.items()
    )


def _lock(job: str) -> Path:
    return FOLDER / f"{job}.lock"


def _note(job: str) -> Path:
    return FOLDER / f"{job}.json"
