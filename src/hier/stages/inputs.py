"""Read what earlier stages wrote; a damaged file is named with the command that makes it anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hier.errors import DamagedInputError, HierError
from hier.git import refuse_conflicts
from hier.pipeline import maker

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into one line.

    Raises:
        ConflictError: it is a text with the marks of an unfinished merge.
        DamagedInputError: `path` cannot be read.
    """
    refuse_conflicts([path])
    try:
        yield
    except HierError:
        raise
    except Exception as error:
        raise DamagedInputError(path, maker(str(path)), error) from error


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """The tensors of a safetensors file, by name, on the CPU; of floats, all are finite.

    Raises:
        DamagedInputError: it cannot be read, or is not that.
    """
    from safetensors.torch import load_file

    with reading(path):
        tensors = load_file(path)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ValueError(f"{name} holds NaN or infinity")
        return tensors
