"""Embeddings of a folder's photos, as a table."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hier.deployment.stored import Stored
from hier.errors import ConfigError
from hier.files.atomic import atomic_file


def refuse_folder(out: Path, ending: str = "") -> None:
    """Raise ConfigError where a file cannot be written, since a folder is there, or has another ending."""
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; name a file in it")
    if out.suffix.lower() != ending and ending:
        raise ConfigError(f"{out} would hold Parquet; name a file that ends in {ending}")


def write_vectors(out: Path, paths: list[str], vectors: NDArray[np.float32], stored: Stored) -> None:
    """Write a Parquet file of `path` and `embedding` (a list of D float32) of N photos, in their order.

    Its metadata name the run, the model's hash and the metric. The same vectors give the same bytes. Of a
    path, a byte that is no UTF-8 is written as `backslashreplace` has it.

    Raises ConfigError: `out` is a folder; DiskFullError."""
    refuse_folder(out)
    told = {"run": stored.run, "model_sha256": stored.digest.sha256, "metric": stored.metric}
    told["curvature"] = str(stored.curvature)
    flat = pa.array(vectors.ravel(), pa.float32())
    starts = pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1])
    names = pa.array([path.encode(errors="backslashreplace").decode() for path in paths], pa.string())
    schema = pa.schema([("path", pa.string()), ("embedding", pa.list_(pa.float32()))], metadata=told)
    with atomic_file(out) as temporary:
        pq.write_table(pa.table([names, pa.ListArray.from_arrays(starts, flat)], schema=schema), temporary)
