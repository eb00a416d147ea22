"""Who holds a lock, and whether the holder lives: what this machine can say of its own processes."""

import os
import socket
import time
from pathlib import Path
from typing import Any, TypeGuard

import psutil

Holder = dict[str, Any]
BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")
NOTED = {"process": dict, "host": str, "boot": str, "since": str, "inode": int, "flock": bool}
IDENTITY = {"pid": int, "created": float}
BATCH = {"SLURM_JOB_ID": "Slurm", "PBS_JOBID": "PBS", "LSB_JOBID": "LSF"}
"""The variables by which systems that run jobs on clusters tell a process which one it is of."""


def myself() -> Holder:
    """This process."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return here() | {"process": identify(os.getpid()), "since": since, "batch": own_batch_job()}


def is_holder(known: Any) -> bool:
    """Whether it is what a note holds: `myself`, here or elsewhere, and facts of the lock."""
    return _has(known, NOTED) and _has(known["process"], IDENTITY)


def describe(holder: Holder | None) -> str:
    """Who it is, for a message."""
    if not holder:
        return "another process"
    where = "" if is_here(holder) else f" on {holder['host']}"
    who = f"process {holder['process']['pid']}{where}"
    if batch := batch_job(holder):
        who = f"{batch} on {holder['host']}"
    engine = f", called by {holder['called_by']}" if holder.get("called_by") else ""
    return f"{who} since {holder['since']}{engine}"


def own_batch_job() -> str:
    """The job of a batch system that this process is of, such as `Slurm job 17`; "" where it is of none."""
    found = (f"{system} job {os.environ[name]}" for name, system in BATCH.items() if os.environ.get(name))
    return next(found, "")


def batch_job(holder: Holder) -> str:
    """The job of a batch system that a holder is of, or ""."""
    batch = holder.get("batch")
    return batch if isinstance(batch, str) else ""


def here() -> dict[str, Any]:
    """What tells this machine, and the view of its processes (a container has its own), from others."""
    namespace = NAMESPACE.stat().st_ino if NAMESPACE.exists() else 0
    return {"host": socket.gethostname(), "boot": boot(), "namespace": namespace}


def is_here(holder: Holder | None) -> bool:
    """Whether this machine's process table tells of a holder."""
    return holder is not None and here().items() <= holder.items()


def works(holder: Holder) -> bool:
    """Whether a holder of this machine lives, and works in this folder, not in one that this copies."""
    if not lives(holder["process"]):
        return False
    try:
        return Path(psutil.Process(holder["process"]["pid"]).cwd()).samefile(Path())
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError):
        return True  # it cannot be asked


def identify(pid: int) -> dict[str, Any]:
    """What tells a process from others that have its number at another time; psutil.NoSuchProcess where
    there is none."""
    try:  # ticks since the machine started: a clock that is set right does not change them
        started = float(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        started = psutil.Process(pid).create_time()
    return {"pid": pid, "created": started}


def is_identity(known: Any) -> TypeGuard[dict[str, Any]]:
    """Whether it is what `identify` gives."""
    return _has(known, IDENTITY)


def lives(known: dict[str, Any]) -> bool:
    """Whether the process that `identify` told of lives."""
    try:
        alive = psutil.Process(known["pid"]).status() != psutil.STATUS_ZOMBIE
        return alive and identify(known["pid"]) == known
    except psutil.NoSuchProcess:
        return False


def boot() -> str:
    """Which start of the machine this is; '' where the system does not say."""
    try:
        return BOOT.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _has(known: Any, kinds: dict[str, type]) -> bool:
    return isinstance(known, dict) and all(isinstance(known.get(k), kinds[k]) for k in kinds)
