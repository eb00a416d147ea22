"""Set a process to give the same bytes each time."""

import os

import torch

from hier.config.run import Runtime
from hier.errors import ConfigError


def make_deterministic(runtime: Runtime) -> torch.device:
    """Deterministic algorithms and a fixed number of threads; return the device to work on. Raises
    ConfigError: a GPU is asked for and there is none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As use_deterministic_algorithms(True), which first loads torch's compiler for 1.6 s.
    torch.set_deterministic_debug_mode("error")
    # Filling memory that nothing reads costs a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = runtime.cudnn_benchmark
    torch.backends.cudnn.allow_tf32 = runtime.tf32
    torch.backends.cuda.matmul.allow_tf32 = runtime.tf32
    torch.set_num_threads(runtime.threads)
    gpu = torch.cuda.is_available()
    if runtime.device == "cuda" and not gpu:
        raise ConfigError("runtime.device is cuda, but torch sees no GPU; use auto or cpu")
    return torch.device("cuda" if gpu and runtime.device != "cpu" else "cpu")
