"""The machine, the packages and the versions that a stage ran with, for its record.

Nothing is imported to find out: what concerns torch is told where the stage has loaded it.
"""

import os
import platform
import resource
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hier.files.hashing import hash_file

LOCK = Path("requirements.lock")
KIND = ("cpu family", "model")  # of /proc/cpuinfo, beside the name


def environment() -> dict[str, Any]:
    """Python, processor, GPU, driver, threads, switches of torch, lock file and git commit."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cpus": cpus(),
        "driver": _first_line("/proc/driver/nvidia/version"),
        "torch": _torch(),
        "lock_sha256": hash_file(LOCK).sha256 if LOCK.exists() else None,
        "git": git(),
    }


def versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """The installed versions of packages; None for one that is not installed.

    What a build is for (`+cpu`, `+cu126`) belongs to the machine, not to the version.
    """
    return {name: _version(name) for name in packages}


def peak_memory() -> dict[str, int]:
    """The most memory that the process (and on a GPU, torch) has held, in bytes."""
    held = {"process_bytes": most_held()}
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available() and torch.cuda.is_initialized():
        held["gpu_bytes"] = torch.cuda.max_memory_allocated()
    return held


def most_held() -> int:
    """The most bytes that this process has held. Linux's ru_maxrss counts what its caller held before
    it started this process."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return maximum * (1 if sys.platform == "darwin" else 1024)


def processor() -> str:
    """The processor's name with its family and model: a cloud calls several kinds by one name, and
    their arithmetic differs in the last bits."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        first = (
            cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
        )
        facts = {
            name.strip(): value.strip() for name, _, value in (x.partition(":") for x in first)
        }
        if "model name" in facts:
            kind = [f"{name.removeprefix('cpu ')} {facts[name]}" for name in KIND if name in facts]
            return f"{facts['model name']} ({', '.join(kind)})" if kind else facts["model name"]
    return platform.processor()


def cpus() -> int | None:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


@lru_cache(maxsize=1)
def git() -> dict[str, Any] | None:
    """The commit, and whether the versioned files are as it has them; None outside of git."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "clean": changed == ""}


def _torch() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    gpu = torch.cuda.is_available()
    return {
        "build": torch.__version__,
        "cuda": torch.version.cuda,
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _first_line(path: str) -> str | None:
    return Path(path).read_text(encoding="utf-8").splitlines()[0] if Path(path).exists() else None


@lru_cache
def _version(package: str) -> str | None:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None
