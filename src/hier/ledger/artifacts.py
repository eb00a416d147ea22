"""Read what earlier stages wrote; a damaged file is named with the command that makes it anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hier.errors import DamagedInputError, HierError
from hier.git import refuse_conflicts
from hier.jobs import maker

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor

    from hier.config.run import Run
    from hier.data.store import ImageStore

HIERARCHICAL_PROXIES = "regularizer.proxies"
"""Their name in proxies.safetensors, which holds the metric loss's proxies as well, if any."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into one line. Raises ConflictError: it is a text with
    the marks of an unfinished merge; DamagedInputError: `path` cannot be read."""
    refuse_conflicts([path])
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for for ever
            raise ValueError("it is no regular file")
        yield
    except HierError:
        raise
    except Exception as error:
        raise DamagedInputError(path, maker(str(path)), error) from error


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """The tensors of a safetensors file, by name, on the CPU; DamagedInputError where it cannot be read, or
    a float is NaN or infinite."""
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


def read_embeddings(
    index_path: Path, path: Path, run: "Run"
) -> "tuple[pd.DataFrame, NDArray[np.int64], Tensor]":
    """The test images of an index with their N rows in it, and their embeddings, float32 (N×D);
    DamagedInputError where the file does not hold those."""
    from hier.data.index import read_index, rows_to_embed

    with reading(index_path):
        index = read_index(index_path)
    rows, stored = rows_to_embed(index), read_tensors(path)
    with reading(path):
        if "row" not in stored or stored["row"].tolist() != rows.tolist():
            raise ValueError("its rows are not those of the index's test images")
        _check_shape(stored.get("embedding"), (len(rows), run.dim), "embedding")
        return index.iloc[rows], rows, stored["embedding"]


def read_features(path: Path, run: "Run", images: int) -> "Tensor | None":
    """What the backbone makes of so many test images, float32 (N×F), or None where it is not kept. Raises
    DamagedInputError: the file does not hold that."""
    features = read_tensors(path).get("features") if run.embed.features else None
    if run.embed.features:
        with reading(path):
            _check_shape(features, (images, run.backbone.features), "features")
    return features


def read_proxies(path: Path, run: "Run") -> "Tensor | None":
    """The hierarchical proxies of a run, float32 (P×D), or None where it has none; DamagedInputError where
    the file does not hold those."""
    proxies = read_tensors(path).get(HIERARCHICAL_PROXIES)
    if run.regularizer.name == "hier":
        with reading(path):
            _check_shape(proxies, (run.regularizer.proxies, run.dim), HIERARCHICAL_PROXIES)
    return proxies


def _check_shape(tensor: "Tensor | None", shape: tuple[int, int], name: str) -> None:
    """Raise ValueError where a tensor is not float32 of that shape."""
    kind = "missing" if tensor is None else str(tensor.dtype).removeprefix("torch.")
    found = () if tensor is None else tuple(tensor.shape)
    if (kind, found) != ("float32", shape):
        wanted, held = (" × ".join(map(str, size)) for size in (shape, found))
        raise ValueError(f"{name} should be float32 {wanted}, is {kind} {held}".rstrip())
