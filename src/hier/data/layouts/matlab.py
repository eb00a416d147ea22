"""Variables of MATLAB files, which several layouts have their labels in."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hier.data.layouts import missing
from hier.errors import LayoutError

UNREADABLE = (ValueError, TypeError, KeyError, IndexError, NotImplementedError, OSError, zlib.error)


def read_names(path: Path, name: str) -> list[str]:
    """A cell array of strings; LayoutError as `read_variable`."""
    return [str(text) for text in read_variable(path, name)]


def read_variable(path: Path, name: str) -> Any:
    """A variable of a MATLAB file as an array of one dimension; LayoutError where it cannot be had."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.exists():
        raise missing(path)
    try:
        found = loadmat(path, squeeze_me=True, variable_names=[name])
    except (MatReadError, *UNREADABLE) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise LayoutError(f"{path} cannot be read as a MATLAB file: {reason}") from error
    if name not in found:
        raise LayoutError(f"{path}: expected a variable {name}, there is none")
    return np.atleast_1d(found[name])
