"""Tables of one's own photos, and a file that says the split of photos or classes."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hier.data.layouts.sides import Photo
from hier.errors import LayoutError

KINDS = (".csv", ".parquet", ".tsv")


class Line(NamedTuple):
    """A row of a table: its values as text, blank ends cut off, by column; and where it stands."""

    values: dict[str, str]
    where: str


def find_table(root: Path, what: str) -> Path | None:
    """The one file in a folder whose name ends in `what`, such as `shoes-table.csv`; LayoutError where there
    are several."""
    found = sorted(p for p in root.iterdir() if p.suffix.lower() in KINDS and p.stem.endswith(what))
    if len(found) > 1:
        raise LayoutError(f"{found[0].name} and {found[1].name} are both there: one {what} is meant")
    return found[0] if found else None


def read_table(path: Path, needed: tuple[str, ...]) -> list[Line]:
    """The rows of a CSV file (with commas, semicolons or tabs) or of a Parquet file. Raises LayoutError: it
    cannot be read, lacks a column that is needed, or a value of one."""
    lines = list(_of_parquet(path) if path.suffix.lower() == ".parquet" else _of_text(path))
    if not lines:
        raise LayoutError(f"{path.name} has no rows")
    columns = list(lines[0].values)
    for column in needed:
        if column not in columns:
            there = f"it has {', '.join(columns)}"
            raise LayoutError(
                f"{path.name} has no column {column} ({there}); rename one, or name it (--columns)"
            )
        if empty := next((line for line in lines if not line.values[column]), None):
            raise LayoutError(f"{empty.where}: {column} is empty")
    return lines


def read_split(root: Path) -> Callable[[list[Photo]], list[Photo]] | None:
    """What gives photos the split that the file `*split.csv` says of their paths or classes, in its columns
    `split` and `path` or `label`; None where there is no such file. It raises LayoutError of one without."""
    path = find_table(root, "split")
    if path is None:
        return None
    key = "path" if "path" in read_table(path, ("split",))[0].values else "label"
    said = {line.values[key]: line for line in read_table(path, (key, "split"))}

    def split(photos: list[Photo]) -> list[Photo]:
        found = []
        for photo in photos:
            names = [photo.path] if key == "path" else [photo.names[-1], "/".join(photo.names)]
            line = next((said[name] for name in names if name in said), None)
            if line is None:
                raise LayoutError(f"{path.name} says no split of {key} '{names[-1]}'")
            found.append(photo._replace(split=line.values["split"].lower(), listed=line.where))
        return found

    return split


def _of_text(path: Path) -> Iterator[Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path.name} is not UTF-8 text; save it as CSV in UTF-8") from error
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=text.partition("\n")[0].count), strict=True
    )
    try:
        header = [name.strip() for name in next(rows, [])]
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise LayoutError(f"{path.name} has two columns '{twice[0]}'")
        for row in rows:
            if not any(row):
                continue
            where = f"{path.name}, line {rows.line_num}"
            if len(row) != len(header):
                raise LayoutError(f"{where}: {len(row)} values, where the head has {len(header)} columns")
            yield Line(dict(zip(header, (value.strip() for value in row), strict=True)), where)
    except csv.Error as error:
        raise LayoutError(f"{path.name}, line {rows.line_num}: {error}") from error


def _of_parquet(path: Path) -> Iterator[Line]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise LayoutError(f"{path.name} is no Parquet file that can be read: {error}") from error
    for number, row in enumerate(rows, start=1):
        yield Line({name: _text(value) for name, value in row.items()}, f"{path.name}, row {number}")


def _text(value: Any) -> str:
    """A value as a CSV file would have it; of a list, its numbers."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value).strip()
