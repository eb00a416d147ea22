"""Photos that stay where they are: which files of a folder count, and the list that proves them.

The list has a line `<sha256>  ./<path>` for each photo, sorted by path, as `sha256sum` writes it, so that
`sha256sum --check` in the folder tells the same.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from hier.config.dataset import Dataset, File
from hier.data.archive import leads_out
from hier.errors import ChangedPhotosError, LayoutError, NoDataError
from hier.files.atomic import write_text
from hier.progress import progress

PHOTOS = (
    ".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
LINE = re.compile(r"([0-9a-f]{64})  \./(.+)")


class Folder(NamedTuple):
    """What lies in a folder: paths below it (posix, sorted)."""

    photos: list[str]  # regular files with an ending of PHOTOS
    hidden: list[str]  # files and folders whose names begin with a dot; none of them is looked into
    links: list[str]  # to files and folders; none of them is followed
    others: list[str]  # regular files with other endings
    empty: list[str]  # folders without a photo at any depth

    def remarks(self) -> Iterator[str]:
        """What does not count, a line each."""
        kinds = {
            "hidden": (self.hidden, "are left out"),
            "links": (self.links, "are not followed"),
            "files that are no photos": (self.others, "are left out"),
            "folders without a photo": (self.empty, "do not count"),
        }
        for kind, (paths, what) in kinds.items():
            if paths:
                yield f"{len(paths)} {kind} {what} (such as {paths[0]})"


def look_into(root: Path) -> Folder:
    """The files in a folder and its subfolders. Raises LayoutError: it is no folder, or cannot be read."""
    if not root.is_dir():
        raise LayoutError(f"{root} is {'no folder' if root.exists() else 'not there'}; name a folder")
    found = Folder([], [], [], [], [])
    folders: list[str] = []

    def refuse(error: OSError) -> None:
        raise LayoutError(f"{error.filename} cannot be read: {error.strerror}") from error

    for at, inside, files in os.walk(root, onerror=refuse):
        here = Path(at).relative_to(root)
        for name in (*inside, *files):
            path, below = Path(at, name), (here / name).as_posix()
            if name.startswith("."):
                found.hidden.append(below)
            elif path.is_symlink():
                found.links.append(below)
            elif name in inside:
                folders.append(below)
            elif path.is_file():
                (found.photos if path.suffix.lower() in PHOTOS else found.others).append(below)
        inside[:] = [name for name in inside if name[0] != "." and not Path(at, name).is_symlink()]
    above = {str(parent) for photo in found.photos for parent in Path(photo).parents}
    found.empty.extend(folder for folder in folders if folder not in above)
    return Folder(*map(sorted, found))


def list_photos(root: Path, title: str, sha256: Callable[[Path], str] | None = None) -> str:
    """The list of a folder's photos as text; `sha256` gives the hash of a file, by default of its bytes now.
    Raises LayoutError as `look_into`, or where a file's name cannot be told on a line."""
    photos, lines = look_into(root).photos, []
    with progress(f"reading the photos of {title}", len(photos)) as shown:
        for photo in photos:
            if "\n" in photo or "\\" in photo or not _is_utf_8(photo):
                raise LayoutError(f"{root}: the name {photo!r} cannot be listed; rename that file")
            lines.append(f"{(sha256 or _sha256)(root / photo)}  ./{photo}\n")
            shown.update()
    return "".join(lines)


def read_list(text: str) -> dict[str, str]:
    """The hashes that a list of photos has, by path; LayoutError where it is none."""
    found = {}
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        match = LINE.fullmatch(line)
        if match is None or leads_out(match[2]):
            raise LayoutError(
                f"line {number} of the list of photos is '{line[:100]}', not <sha256>  ./<path>"
            )
        found[match[2]] = match[1]
    return found


def write_list(file: File, dataset: str, path: Path, before: Path) -> None:
    """Write the list of the photos in `file.folder` to `path`. Raises NoDataError: there is no such folder;
    ChangedPhotosError: it is not the list that is promised (what has changed can be told where the promised
    one is at `before`)."""
    root = Path(str(file.folder))
    if not root.is_dir():
        raise NoDataError(f"{root} is not there, in which the photos of {dataset} lie")
    text = list_photos(root, dataset)
    if (found := _digest(text)) != file.sha256:
        said = before.read_text(encoding="utf-8") if before.is_file() else ""
        known = _digest(said) == file.sha256
        changes = differences(said, text) if known else f"their list has sha256 {found}, not {file.sha256}"
        raise ChangedPhotosError(dataset, root, changes)
    write_text(path, text)


def the_list(dataset: Dataset, folder: Path) -> tuple[File, Path] | None:
    """Of a dataset whose photos are read in place the list that is in the archive's `folder`, as it is
    promised and where it is; None of any other."""
    files = [file for source in dataset.sources for file in source.files if file.folder is not None]
    there = ((file, folder / file.name) for file in files)
    return next((pair for pair in there if pair[1].is_file()), None)


def see_that_they_are_the_same(root: Path, said: str, name: str) -> None:
    """Raise ChangedPhotosError where the photos in a folder are not those of the list `said`."""
    if changes := differences(said, list_photos(root, name)):
        raise ChangedPhotosError(name, root, changes)


def differences(said: str, found: str) -> str:
    """How two lists of photos differ, in words; "" where they do not."""
    before, after = read_list(said), read_list(found)
    kinds = {
        "changed": [path for path in before if path in after and before[path] != after[path]],
        "missing": [path for path in before if path not in after],
        "new": [path for path in after if path not in before],
    }
    told = [f"{len(paths)} {kind} (such as {paths[0]})" for kind, paths in kinds.items() if paths]
    return ", ".join(told)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_utf_8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
