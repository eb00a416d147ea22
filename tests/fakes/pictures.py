"""Pictures in files, and what the image store makes of them."""

from pathlib import Path

import numpy as np
import pandas as pd

from hier.config.dataset import Counts, Dataset, Generate
from hier.data.layouts import Row, to_table
from hier.data.store import ImageStore, write_store


def dataset_of(**changes) -> Dataset:
    """A dataset whose images are stored with all of their pixels."""
    tiny = Dataset(
        name="tiny",
        layout="cub",
        generate=Generate(seed=0, branching=[2, 2], images_per_class=1, size=16),
        superclass=False,
        levels=["class"],
        counts=Counts(images={"train": 1, "test": 1}, train_classes=1, test_classes=1),
        store_size="exact",
        ks=[1],
    )
    return tiny.model_copy(update=changes)


def index_of(*names: str) -> pd.DataFrame:
    return to_table(Row(name, i, f"class {i}", None, "train") for i, name in enumerate(names))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def stored(folder: Path, *names: str, **changes) -> ImageStore:
    """The store of some files, in their order."""
    path = folder / "images.npy"
    return ImageStore(path, write_store(folder, index_of(*names), dataset_of(**changes), path))


def stored_one(folder: Path, name: str, **changes) -> np.ndarray:
    """The pixels of a file as they are stored."""
    return stored(folder, name, **changes)[0]
