"""Get a dataset's archives: drawn on the spot, or from the first source of which every file can be had."""

import os
from pathlib import Path

from hier.config.dataset import Dataset
from hier.data.demo import write_archive
from hier.data.fetch import MANUAL_DIR, MIRROR_VARIABLE, fetch, mirrors_of, places_of
from hier.data.in_place import write_list
from hier.errors import NoDataError
from hier.files.atomic import atomic_folder, write_text


def download(dataset: Dataset, destination: Path) -> None:
    """Put the dataset's verified archives into the folder `destination`, all or none.

    Generated datasets are drawn. Others come from the first of `dataset.sources` of which every
    file can be had: in the folders and addresses of the environment variable HIER_MIRROR (separated
    by commas or as in PATH), in downloads/<dataset>/, in `dataset.mirrors`, or at the file's own `url`
    and `alternates`. Of photos that are read in place their list is made. Where none can be had, no-data.txt
    beside `destination` says so until the next call.

    Raises:
        ChecksumError, ArchiveError, DiskFullError: see `fetch`.
        ChangedPhotosError, LayoutError: see `write_list`.
        ConfigError: HIER_MIRROR names what can be neither a folder nor an address.
        NoDataError: no source could be had.
    """
    no_data = destination.parent / "no-data.txt"
    no_data.unlink(missing_ok=True)
    try:
        with atomic_folder(destination) as folder:
            if dataset.generate is not None:
                write_archive(dataset.generate, folder / f"{dataset.name}.tgz")
            else:
                _download_first(dataset, folder, destination)
    except NoDataError as error:
        write_text(no_data, f"{error}\n")
        raise


def _download_first(dataset: Dataset, folder: Path, before: Path) -> None:
    mirrors, hand = mirrors_of(dataset), MANUAL_DIR / dataset.name
    failures: list[str] = []
    for source in dataset.sources:
        try:
            for file in source.files:
                if file.folder is not None:
                    write_list(file, dataset.name, folder / file.name, before / file.name)
                else:
                    fetch(file, folder, places_of(file, mirrors), hand)
        except NoDataError as failure:
            failures.append(str(failure))
            for path in folder.iterdir():
                path.unlink()
        else:
            return
    advice = f"{' '.join(dataset.by_hand.split())} " if dataset.by_hand else ""
    sources = ([file.name for file in source.files if file.folder is None] for source in dataset.sources)
    if names := ", or ".join(" and ".join(source) for source in sources if source):
        advice += f"Put {names} into {hand}{os.sep} (or into another folder, and set {MIRROR_VARIABLE} to it)"
    raise NoDataError(f"{dataset.name}: no source could be had. {'; or '.join(failures)}. {advice}".rstrip())
