"""The machine, the packages and the versions that a stage ran with, for its record.

Nothing is imported to find out: what concerns torch is told where the stage has loaded it.
"""

import os
import platform
import resource
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path
from typing import Any

from hier.files.hashing import hash_file
from hier.git import git
from hier.kernels import kernels_in_use

LOCK = Path("requirements.lock")
KIND = ("cpu family", "model")  # of /proc/cpuinfo, beside the name


def environment() -> dict[str, Any]:
    """Python, processor, kernels, GPU, driver, threads, switches of torch, lock file and git commit."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cpus": cpus(),
        "kernels": kernels_in_use(),
        "libc": " ".join(platform.libc_ver()),
        "driver": next(iter(_lines("/proc/driver/nvidia/version")), None),
        "torch": _torch(),
        "lock_sha256": hash_file(LOCK).sha256 if LOCK.exists() else None,
        "git": commit(),
    }


def versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """The installed versions of packages, None for one that is not installed; what a build is for (`+cpu`,
    `+cu126`) belongs to the machine."""
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
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return maximum * (1 if sys.platform == "darwin" else 1024)


def processor() -> str:
    """The processor's name with its family and model: a cloud calls several kinds by one name, and
    their arithmetic differs in the last bits."""
    first = takewhile(str.strip, _lines("/proc/cpuinfo"))  # of the processors, which are alike
    facts = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in first)}
    kind = [f"{name.removeprefix('cpu ')} {facts[name]}" for name in KIND if name in facts]
    name = facts.get("model name") or platform.processor()
    return f"{name} ({', '.join(kind)})" if kind and "model name" in facts else name


def cpus() -> int | None:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@lru_cache(maxsize=1)
def commit() -> dict[str, Any] | None:
    """The commit, and whether the versioned files are as it has them; None outside of git."""
    head = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
    return None if head is None else {"commit": head.strip(), "clean": changed == ""}


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


def _lines(path: str) -> list[str]:
    """The lines of a file that Linux has; none elsewhere."""
    if not Path(path).exists():
        return []
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()


@lru_cache
def _version(package: str) -> str | None:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None
