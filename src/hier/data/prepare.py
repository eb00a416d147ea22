"""From verified archives to the index and the image store."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pandas as pd

from hier.config.dataset import Dataset, Subset
from hier.data.archive import SUFFIXES, Budget, unpack
from hier.data.index import check_index, write_index
from hier.data.layouts import is_there
from hier.data.store import write_store
from hier.data.subset import take
from hier.errors import ConfigError, LayoutError, MissingInputError
from hier.files.atomic import full_disk_is_clear
from hier.registry import LAYOUTS

PLAIN = (".mat", ".txt")  # files beside the archives that are no archives


def prepare(dataset: Dataset, archives: Path, index_path: Path, store_path: Path) -> None:
    """Unpack every archive in the folder `archives`, check the facts, write index and store.

    Files that are no archives (see PLAIN) are laid beside what the archives hold.
    The unpacked files live in a temporary folder beside the store and are removed at the end.
    Image paths in the index are relative to the one folder that holds everything in the archives.
    Of a dataset with a `subset`, the facts of the whole are checked and the part is stored.

    Raises:
        MissingInputError: `archives` is missing or empty.
        ArchiveError, LayoutError, ImageError: what the archives hold is bad, or leads out of them.
        ClassOverlapError, MissingSuperclassError, CountError: a promised fact does not hold.
        ConfigError: `exclude` names an image that does not exist, or `subset` asks too much.
        DiskFullError: no space left.
    """
    # Snakemake leaves a hidden time stamp in the folders that it makes.
    files = sorted(f for f in archives.glob("*") if not f.name.startswith("."))
    if not files:
        raise MissingInputError(archives, f"hier download {dataset.name}")
    store_path.parent.mkdir(parents=True, exist_ok=True)
    unpacked = Path(mkdtemp(prefix=f".{dataset.name}.", suffix=".part", dir=store_path.parent))
    try:
        with full_disk_is_clear(store_path):
            budget = Budget(dataset.limits)
            for file in files:
                if file.suffix in PLAIN:
                    shutil.copyfile(file, unpacked / file.name)
                else:
                    unpack(file, unpacked, budget)
        with _paths_are_the_archives(unpacked, files, dataset):
            root = _top(unpacked)
            table = _without(LAYOUTS.module(dataset.layout).read(root, dataset), dataset)
            check_index(table, dataset)
            _see_that_images_are_there(root, table, dataset)
            if dataset.subset is not None:
                table = take(table, dataset.subset)
                _say_what_is_smaller(table, dataset.subset)
            write_index(write_store(root, table, dataset, store_path), index_path)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


@contextmanager
def _paths_are_the_archives(unpacked: Path, files: list[Path], dataset: Dataset) -> Iterator[None]:
    """Give paths in a LayoutError as they are in the archives, since `unpacked` goes; say the mend."""
    try:
        yield
    except LayoutError as error:
        text = str(error).replace(f"{unpacked}{os.sep}", "").replace(str(unpacked), "the archive")
        if inner := _archive_in(unpacked):
            text += f" ({inner} in it is an archive of its own; is that the one that is meant?)"
        names = " or ".join(file.name for file in files)
        place = f"replace {names} where it came from (by hand: downloads/{dataset.name}/), then"
        raise LayoutError(
            f"{text}; {'make it anew with' if dataset.generate else place}: "
            f"hier download --force {dataset.name}"
        ) from error


def _archive_in(unpacked: Path) -> str | None:
    """The first archive that came out of another one."""
    paths = sorted(p.relative_to(unpacked) for p in unpacked.rglob("*") if p.is_file())
    found = (path.as_posix() for path in paths if path.suffix.lower() in (*SUFFIXES, ".rar", ".7z"))
    return next(found, None)


def _see_that_images_are_there(root: Path, table: pd.DataFrame, dataset: Dataset) -> None:
    """Where not one is there, the lists are of another tree of folders."""
    images = table["image"].tolist()
    if not images or any(is_there(root / image) for image in images):
        return
    folders = sorted(path.name for path in root.iterdir() if path.is_dir())
    there = ", ".join(folders[:5]) + (", …" if len(folders) > 5 else "")
    raise LayoutError(
        f"{dataset.name}: none of its {len(images)} images is in the archive; expected {images[0]}, "
        f"found {f'the folders {there}' if folders else 'no folders'}" + dataset.advice
    )


def _say_what_is_smaller(part: pd.DataFrame, subset: Subset) -> None:
    sizes = part.groupby(["label", "split"]).size()
    if fewer := int((sizes < subset.images).sum()):
        print(
            f"dataset.subset.images {subset.images}: {fewer} of {len(sizes)} classes (by split) "
            "have fewer, and give all that they have",
            file=sys.stderr,
        )


def _top(folder: Path) -> Path:
    """The folder reached by going down while there is nothing but one folder."""
    inside = list(folder.iterdir())
    while len(inside) == 1 and inside[0].is_dir():
        folder = inside[0]
        inside = list(folder.iterdir())
    return folder


def _without(table: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    unknown = sorted(set(dataset.exclude) - set(table["image"]))
    if unknown:
        raise ConfigError(
            f"{dataset.name}: exclude names images that do not exist: {', '.join(unknown)}; "
            f"correct exclude in conf/dataset/{dataset.name}.yaml and compose again"
        )
    return table[~table["image"].isin(dataset.exclude)].reset_index(drop=True)
