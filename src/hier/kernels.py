"""With which instructions a process computes: the same on every x86-64 processor with AVX2, or its own.

PyTorch, NumPy and SciPy choose among their kernels by the processor when they are loaded, and each kind
rounds in another order. `portable` names one choice for all of them. So it is made first of all, and
nothing heavy is imported here.
"""

import os
import platform
import sys
from functools import lru_cache
from pathlib import Path
from typing import Literal

from hier.errors import ConfigError

Kernels = Literal["portable", "native"]

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own loops
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_CBWR": "COMPATIBLE",  # matrix products and QR; its other branches differ between vendors
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",  # loops and sorts of NumPy
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of NumPy and of SciPy
    "OPENBLAS_L2_SIZE": "512",  # at 1024 and with AVX-512 it takes other blocks (OpenBLAS issue 6021)
}
STEERING = (
    "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "MKL_ENABLE_INSTRUCTIONS",
    "MKL_DEBUG_CPU_TYPE", "NPY_ENABLE_CPU_FEATURES", "OPENBLAS_BLOCK_FACTOR", "GLIBC_TUNABLES",
)  # fmt: skip
"""Other variables that choose instructions. None of them may be set."""
NEEDED = {"avx2", "fma"}  # of the processor
COMPUTING = {"numpy", "scipy", "torch"}
"""What chooses when it is loaded."""


def choose_kernels(kernels: Kernels, threads: int = 1) -> None:
    """Let this process compute with `kernels` in so many threads, before anything of COMPUTING is loaded.

    Where the processor cannot compute portably it computes by its own; :func:`kernels_in_use` says so.
    ConfigError where a variable of the user's contradicts, or where it is too late.
    """
    # Of OpenMP (scikit-learn) and OpenBLAS (NumPy, SciPy), which else take every core; PyTorch is told
    # elsewhere. OpenBLAS's threads and PyTorch's would wait for each other.
    os.environ.update(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS="1")
    if kernels == "native" or lacking():
        return
    given = {name: os.environ[name] for name in (*PORTABLE, *STEERING) if name in os.environ}
    if wrong := [f"{name}={value}" for name, value in given.items() if PORTABLE.get(name) != value]:
        raise ConfigError(
            f"runtime.kernels is portable, but the environment says {', '.join(wrong)}; unset "
            f"{'it' if len(wrong) == 1 else 'them'}, or compose with runtime.kernels=native"
        )
    if given.keys() < PORTABLE.keys() and (loaded := sorted(COMPUTING & sys.modules.keys())):
        raise ConfigError(
            f"runtime.kernels is portable, but {loaded[0]} was loaded before; start a new process"
        )
    os.environ.update(PORTABLE)


def kernels_in_use() -> str:
    """What this process computes with, for its record: `portable`, or `native`, with the variables that
    choose instructions, if any."""
    given = {name: os.environ[name] for name in (*PORTABLE, *STEERING) if name in os.environ}
    if given == PORTABLE and not lacking():
        return "portable"
    return " ".join(["native", *(f"{name}={value}" for name, value in given.items())])


@lru_cache(maxsize=1)
def lacking() -> str:
    """Why this processor cannot compute portably; "" where it can."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"{platform.machine()} is not x86-64"
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return f"the processor has no {', '.join(sorted(missing))}" if (missing := NEEDED - {*flags}) else ""
