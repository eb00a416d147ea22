"""Load a run's model so that it computes as the run did."""

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hier.errors import ConfigError
from hier.kernels import COMPUTING, choose_kernels, kernels_in_use

if TYPE_CHECKING:
    from hier.deployment.model import Model


class Unproved(UserWarning):
    """Something that cannot be proved of a model that was loaded."""


def load(run: str | Path, threads: int = 1, device: Literal["auto", "cpu", "cuda"] = "auto") -> "Model":
    """A run's model; see :func:`hier.load`."""
    model = open_model(run, threads, device)
    for line in model.unproved:
        warnings.warn(line, Unproved, stacklevel=3)
    return model


def open_model(run: str | Path, threads: int = 1, device: Literal["auto", "cpu", "cuda"] = "auto") -> "Model":
    """The same without warnings."""
    folder = Path(run)
    if (folder / "head.json").is_file():
        how = f"{folder / 'README.md'} has the code that embeds with it"
        raise ConfigError(f"{folder} is a package, no run; {how}, hier verify {folder} proves it")
    said = choose_portable_kernels(threads)
    from hier.deployment.model import Model
    from hier.deployment.stored import read_model

    model = Model(read_model(run), threads, device)
    model.unproved = [*said, *model.unproved]
    return model


def choose_portable_kernels(threads: int) -> list[str]:
    """Let this process compute portably, where it still can; else why it does not."""
    if kernels_in_use() == "portable":
        return []
    if loaded := sorted(COMPUTING & sys.modules.keys()):
        return [f"the kernels are the processor's own, since {loaded[0]} was loaded before the model"]
    try:
        choose_kernels("portable", threads)
    except ConfigError as error:
        return [str(error)]
    return []
