"""How each dataset's unpacked files become one table with a row per image.

A layout is a file here with a function `read(root: Path, dataset: Dataset) -> pandas.DataFrame`, which
returns `to_table(rows)` in a fixed order and raises LayoutError naming file and line. How to add one, and
where its tests belong, is in docs/extending.md.
"""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from hier.data.archive import leads_out
from hier.errors import LayoutError

ID = "[0-9]{1,18}"  # a whole number that fits into int64


class Row(NamedTuple):
    """One image: path below the root (posix), 0-based class, names, and side of the protocol.

    `superclass` holds the names from the root of the tree to the class's parent, joined by `/`.
    `listed` says where the image is named; it is no column of the table. `crop` is the part that is taken
    (left, top, right, bottom in pixels), if not all; it is a column where some image has one.
    """

    image: str
    label: int
    class_name: str
    superclass: str | None
    split: str  # train, test, query or gallery
    listed: str = "the archive"
    crop: tuple[int, int, int, int] | None = None


def to_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a table: `label` int64, the others object columns of str (`superclass`: or None).

    Raises LayoutError where an image's path is absolute or has `..` in it.
    """
    rows = list(rows)
    for row in rows:
        if reason := leads_out(row.image):
            wrong = f"{row.listed}: image '{row.image}' {reason}"
            raise LayoutError(f"{wrong}; is this the right archive?")
    found = pd.DataFrame(rows, columns=Row._fields, dtype=object)
    whole = ["listed"] if any(row.crop for row in rows) else ["listed", "crop"]
    return found.drop(columns=whole).astype({"label": "int64"})


def base(root: Path, usual: str, name: str) -> Path:
    """The folder in which `name` (a file or folder) lies: `usual` below `root`, `root`, or any other.

    Copies are packed with other folders around what the authors packed. Where `name` is nowhere, it
    is the usual folder, if there is one, so that what is missing is told of there. Raises LayoutError
    where several folders hold it.
    """
    first = [root / usual, root]
    found = [folder for folder in first if is_there(folder / name)][:1] or [
        folder
        for folder in sorted(root.rglob("*/"))
        if is_there(folder / name) and "__MACOSX" not in folder.parts
    ]
    if len(found) > 1:
        raise LayoutError(
            f"{name} is in {found[0]} and in {found[1]}: only one of them can be meant; "
            "is this the right archive?"
        )
    return (found or [folder for folder in first if folder.is_dir()])[0]


def is_there(path: Path) -> bool:
    """Whether a file or folder exists; one whose name is too long does not."""
    try:
        return path.exists()
    except OSError:
        return False


def below(root: Path, folder: Path, name: str) -> str:
    """The path of `folder`/`name` below `root`, as an index has it."""
    return str(PurePosixPath(folder.relative_to(root).as_posix()) / name)


class Line(NamedTuple):
    """A line of a metadata file, its blank ends cut off; as a string, where it stands."""

    path: Path
    number: int  # from 1
    text: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}"

    def match(self, pattern: str, expected: str) -> re.Match[str]:
        """The whole text's match of a pattern; LayoutError, which says what was `expected`, if none."""
        if match := re.fullmatch(pattern, self.text):
            return match
        shown = self.text if len(self.text) <= 200 else f"{self.text[:200]}…"
        raise LayoutError(f"{self}: expected {expected}, found '{shown}'")


def read_lines(path: Path, least: int = 0) -> list[Line]:
    """The lines of a metadata file that are not empty, and empty ones where there are not `least`.

    Raises LayoutError where the file is missing or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise missing(path) from error
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path} is not UTF-8 text: {error}") from error
    lines = [Line(path, at, line.strip()) for at, line in enumerate(text.splitlines(), start=1)]
    lines = [line for line in lines if line.text]
    return lines + [Line(path, at, "") for at in range(len(lines) + 1, least + 1)]


def number(text: str) -> int | None:
    """The whole number that `text` is, if it is one that fits into int64."""
    return int(text) if re.fullmatch(ID, text) else None


def missing(path: Path) -> LayoutError:
    """The error for a metadata file that is not there."""
    return LayoutError(f"{path.name} is missing: expected at {path}; is this the right archive?")
