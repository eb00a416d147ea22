"""The history in a checkpoint, read without torch and without the tensors, most of its bytes by far."""

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

Row = dict[str, float]


def history_in(path: Path) -> list[Row] | None:
    """The rows of the whole epochs before a checkpoint; None where it has vanished or is damaged.

    Its pickle is proved by the archive's own checksum. The hash in the name, for which every byte would have
    to be read at each look, is for whoever goes on from it.
    """
    try:
        with ZipFile(path) as archive:
            (record,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            state = _WithoutTensors(BytesIO(archive.read(record))).load()
        return [as_row(row) for row in state["history"]]
    except Exception:  # whatever pickle or the disk has against it, the one before may do
        return None


def as_row(values: Mapping[str, Any]) -> Row:
    """An epoch's numbers without what was not looked at. KeyError, TypeError or ValueError where one is none,
    or the epoch or its loss is missing."""
    there = {name: float(value) for name, value in values.items() if value != ""}
    return {name: there[name] for name in ("epoch", "loss", *there)}


class _Absent:
    """Stands for a tensor, and for whatever would make one."""

    def __init__(self, *_: Any, **__: Any) -> None: ...


class _WithoutTensors(pickle.Unpickler):
    """Plain data alone: no class but OrderedDict is looked up, so that nothing is run or loaded."""

    def find_class(self, module: str, name: str) -> Any:
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _Absent

    def persistent_load(self, _: Any) -> None:
        """Where a storage would be read."""
