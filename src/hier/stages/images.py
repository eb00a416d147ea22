"""Read what prepare wrote: the index and the image store."""

from pathlib import Path

import pandas as pd

from hier.data.index import read_index
from hier.data.store import ImageStore
from hier.stages.inputs import reading


def read_images(index_path: Path, store_path: Path) -> tuple[pd.DataFrame, ImageStore]:
    """A dataset's index and its image store, opened once to see that it is whole."""
    with reading(index_path):
        index = read_index(index_path)
    store = ImageStore(store_path, index)
    with reading(store_path):
        store[len(store) - 1]
    return index, store
