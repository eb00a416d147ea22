"""Read what earlier stages wrote; a damaged file is named with the command that makes it anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hier.errors import DamagedInputError, HierError
from hier.git import refuse_conflicts
from hier.pipeline import maker

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from hier.data.store import ImageStore


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


def read_images(index_path: Path, store_path: Path) -> "tuple[pd.DataFrame, ImageStore]":
    """A dataset's index and its image store, opened once to see that it is whole."""
    from hier.data.index import read_index
    from hier.data.store import ImageStore

    with reading(index_path):
        index = read_index(index_path)
    store = ImageStore(store_path, index)
    with reading(store_path):
        store[len(store) - 1]
    return index, store
