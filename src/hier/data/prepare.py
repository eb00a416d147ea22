"""From verified archives to the index and the image store."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from hier.config.dataset import Dataset, Subset
from hier.data.archive import SUFFIXES, Budget, unpack
from hier.data.in_place import see_that_they_are_the_same, the_list
from hier.data.index import check_index, few, write_index
from hier.data.layouts import is_there
from hier.data.store import write_store
from hier.errors import ConfigError, LayoutError, MissingInputError
from hier.files.atomic import full_disk_is_clear
from hier.registry import LAYOUTS

PLAIN = (".csv", ".mat", ".parquet", ".sha256", ".tsv", ".txt")  # files that are no archives


def prepare(dataset: Dataset, archives: Path, index_path: Path, store_path: Path) -> None:
    """Unpack every archive in the folder `archives`, check the facts, write index and store.

    Files that are no archives (see PLAIN) are laid beside what the archives hold. Image paths in the
    index are relative to the one folder that holds everything in the archives, or to the folder of photos
    that are read in place. Of a dataset with a `subset`, the facts of the whole are checked and the part is
    stored.

    Raises:
        MissingInputError: `archives` is missing or empty.
        ArchiveError, LayoutError, ImageError: what the archives hold is bad, or leads out of them.
        ChangedPhotosError: photos that are read in place are no longer those that were added.
        ClassOverlapError, MissingSuperclassError, CountError: a promised fact does not hold.
        ConfigError: `exclude` names an image that does not exist, or `subset` asks too much.
        DiskFullError: no space left.
    """
    # Snakemake leaves a hidden time stamp in the folders that it makes.
    files = sorted(f for f in archives.glob("*") if not f.name.startswith("."))
    if not files:
        raise MissingInputError(archives, f"hier download {dataset.name}")
    folder = store_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(".part", f".{dataset.name}.", folder, ignore_cleanup_errors=True) as name:
        unpacked = Path(name)
        with full_disk_is_clear(store_path):
            budget = Budget(dataset.limits)
            for file in files:
                if file.suffix in PLAIN:
                    shutil.copyfile(file, unpacked / file.name)
                else:
                    unpack(file, unpacked, budget)
        with _paths_are_the_archives(unpacked, files, dataset):
            root = _top(unpacked)
            images = _in_place(dataset, archives) or root
            table = _without(LAYOUTS.module(dataset.layout).read(root, dataset), dataset)
            check_index(table, dataset)
            _see_that_images_are_there(images, table, dataset)
            if dataset.subset is not None:
                table = take(table, dataset.subset)
            write_index(write_store(images, table, dataset, store_path), index_path)


@contextmanager
def _paths_are_the_archives(unpacked: Path, files: list[Path], dataset: Dataset) -> Iterator[None]:
    """Give paths in a LayoutError as they are in the archives, since `unpacked` goes; say the mend."""
    try:
        yield
    except LayoutError as error:
        text = str(error).replace(f"{unpacked}{os.sep}", "").replace(str(unpacked), "the archive")
        paths = sorted(p.relative_to(unpacked) for p in unpacked.rglob("*") if p.is_file())
        if inner := [p for p in paths if p.suffix.lower() in (*SUFFIXES, ".rar", ".7z")]:
            text += f" ({inner[0]} in it is an archive of its own; is that the one that is meant?)"
        if the_list(dataset, files[0].parent):
            raise LayoutError(
                f"{text}; mend it, then: hier dataset add PHOTOS --name {dataset.name} --replace"
            ) from error
        names = " or ".join(file.name for file in files)
        place = f"replace {names} where it came from (by hand: downloads/{dataset.name}/), then"
        mend = "make it anew with" if dataset.generate else place
        raise LayoutError(f"{text}; {mend}: hier download --force {dataset.name}") from error


def _in_place(dataset: Dataset, archives: Path) -> Path | None:
    """The folder of photos that are read where they lie, once they are seen to be those of the list."""
    found = the_list(dataset, archives)
    if found is None:
        return None
    file, path = found
    folder = Path(str(file.folder))
    see_that_they_are_the_same(folder, path.read_text(encoding="utf-8"), dataset.name)
    return folder


def _top(folder: Path) -> Path:
    """The folder reached by going down while there is nothing but one folder."""
    inside = list(folder.iterdir())
    return _top(inside[0]) if len(inside) == 1 and inside[0].is_dir() else folder


def _without(table: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """The table without the images that `exclude` names."""
    unknown = sorted(set(dataset.exclude) - set(table["image"]))
    if unknown:
        raise ConfigError(
            f"{dataset.name}: exclude names images that do not exist: {', '.join(unknown)}; "
            f"correct exclude in conf/dataset/{dataset.name}.yaml and compose again"
        )
    return table[~table["image"].isin(dataset.exclude)].reset_index(drop=True)


def _see_that_images_are_there(root: Path, table: pd.DataFrame, dataset: Dataset) -> None:
    """Where not one is there, the lists are of another tree of folders."""
    images = table["image"].tolist()
    if not images or any(is_there(root / image) for image in images):
        return
    folders = sorted(path.name for path in root.iterdir() if path.is_dir())
    found = f"the folders {few(folders)}" if folders else "no folders"
    raise LayoutError(
        f"{dataset.name}: none of its {len(images)} images is in the archive; "
        f"expected {images[0]}, found {found}{dataset.advice}"
    )


def take(index: pd.DataFrame, subset: Subset) -> pd.DataFrame:
    """The rows of a few classes of each side, in their order; they depend on the arguments alone.

    The classes are spread evenly over the side's labels, those that retrieval can use first (two
    images, or a query and a gallery image). Of each class the first `subset.images` images of each
    split are kept; how many classes have fewer is said on standard error. Raises ConfigError where a
    side has fewer classes than asked for.
    """
    in_train = index["split"] == "train"
    labels = [
        *_classes(index[in_train], subset, "training"),
        *_classes(index[~in_train], subset, "test"),
    ]
    early = index.groupby(["label", "split"]).cumcount() < subset.images
    part = index[early & index["label"].isin(labels)].reset_index(drop=True)
    sizes = part.groupby(["label", "split"]).size()
    if fewer := int((sizes < subset.images).sum()):
        print(
            f"dataset.subset.images {subset.images}: {fewer} of {len(sizes)} classes (by split) "
            "have fewer, and give all that they have",
            file=sys.stderr,
        )
    return part


def _classes(side: pd.DataFrame, subset: Subset, name: str) -> list[int]:
    """Sorted labels of the classes to keep."""
    images = side.groupby(["label", "split"]).size().unstack(fill_value=0).sort_index()
    usable = (images > 0).all(axis=1) & (images.sum(axis=1) > 1)
    if len(images) < subset.classes:
        raise ConfigError(f"subset.classes {subset.classes}: there are only {len(images)} {name} classes")
    good, others = images.index[usable].to_numpy(), images.index[~usable].to_numpy()
    kept = _spread(good, min(subset.classes, len(good)))
    return sorted([*kept, *_spread(others, subset.classes - len(kept))])


def _spread(values: np.ndarray, number: int) -> list[int]:
    """`number` of the values at even distances, the first among them."""
    return values[np.arange(number) * len(values) // max(number, 1)].tolist()
