"""Where two files that should be the same bytes differ first, and by how much, in words."""

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BLOCK = 1 << 24  # numbers compared at a time


def difference(recorded: Path, rebuilt: Path) -> str:
    """How two files that are not the same bytes differ, as far as their kind is known.

    Where what they hold is the same, or cannot be read, the first byte that differs is named.
    """
    kinds = {
        ".safetensors": _tensors, ".npy": _arrays, ".csv": _csv, ".parquet": _parquet, ".json": _json,
    }  # fmt: skip
    try:
        found = kinds[recorded.suffix](recorded, rebuilt) if recorded.suffix in kinds else None
    except Exception:  # a damaged file fails in whatever way
        found = None
    return found or _bytes(recorded, rebuilt)


def _tensors(recorded: Path, rebuilt: Path) -> str | None:
    """The tensor that differs most."""
    from safetensors import safe_open

    with safe_open(recorded, "pt") as ours, safe_open(rebuilt, "pt") as theirs:
        if alone := sorted(set(ours.keys()) ^ set(theirs.keys())):
            return f"tensor {alone[0]} is {_only(alone[0] in ours.keys())}"  # noqa: SIM118
        found = []
        for name in ours.keys():  # noqa: SIM118
            one, other = ours.get_tensor(name), theirs.get_tensor(name)
            if one.shape != other.shape or one.dtype != other.dtype:
                return f"tensor {name} is {_shape(one)} recorded, {_shape(other)} rebuilt"
            largest, unequal = _distance(one.double().numpy(), other.double().numpy())
            if unequal:
                found.append((largest, unequal, one.numel(), name))
    if not found:
        return None
    largest, unequal, size, name = max(found)
    rest = f"; {len(found)} tensors differ, this one most" if len(found) > 1 else ""
    return f"tensor {name} differs by up to {largest:.3g} in {unequal} of {size} numbers{rest}"


def _arrays(recorded: Path, rebuilt: Path) -> str | None:
    one, other = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (recorded, rebuilt))
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"it is {_shape(one)} recorded, {_shape(other)} rebuilt"
    one, other, largest, unequal = one.reshape(-1), other.reshape(-1), 0.0, 0
    for start in range(0, one.size, BLOCK):
        here = slice(start, start + BLOCK)
        most, count = _distance(one[here].astype(float), other[here].astype(float))
        largest, unequal = max(largest, most), unequal + count
    if not unequal:
        return None
    return f"it differs by up to {largest:.3g} in {unequal} of {one.size} numbers"


def _distance(one: Any, other: Any) -> tuple[float, int]:
    """The largest absolute difference of two arrays, and in how many numbers they differ."""
    unequal = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    if not unequal.any():
        return 0.0, 0
    apart = np.abs(one[unequal] - other[unequal])
    return float(np.nan_to_num(apart, nan=np.inf).max()), int(unequal.sum())


def _csv(recorded: Path, rebuilt: Path) -> str | None:
    one, other = (pd.read_csv(path, dtype=str) for path in (recorded, rebuilt))
    return _frames(one, other)


def _parquet(recorded: Path, rebuilt: Path) -> str | None:
    return _frames(pd.read_parquet(recorded), pd.read_parquet(rebuilt))


def _frames(one: pd.DataFrame, other: pd.DataFrame) -> str | None:
    """The first row that differs, and the column; rows are counted from 1."""
    if list(one) != list(other):
        return f"its columns are {', '.join(one)} recorded, {', '.join(other)} rebuilt"
    if len(one) != len(other):
        return f"it has {len(one)} rows recorded, {len(other)} rebuilt"
    ours, theirs = one.astype(str).to_numpy(), other.astype(str).to_numpy()
    rows, columns = np.nonzero(ours != theirs)
    if not len(rows):
        return None
    row, column = rows[0], columns[0]
    values = f"{ours[row, column]} recorded, {theirs[row, column]} rebuilt"
    return f"row {row + 1}, {one.columns[column]}: {values}"


def _json(recorded: Path, rebuilt: Path) -> str | None:
    """The first value that differs, with its dotted key."""
    one, other = (
        dict(_leaves(json.loads(path.read_text(encoding="utf-8")))) for path in (recorded, rebuilt)
    )
    for key in [*one, *(key for key in other if key not in one)]:
        if key not in one or key not in other:
            return f"{key} is {_only(key in one)}"
        if one[key] != other[key]:
            return f"{key}: {one[key]} recorded, {other[key]} rebuilt"
    return None


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings and lists by their dotted keys; lists are counted from 0."""
    if not node or not isinstance(node, dict | list):
        yield key, node
        return
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _leaves(value, f"{key}.{name}" if key else str(name))


def _bytes(recorded: Path, rebuilt: Path) -> str:
    """The first byte that differs."""
    start = 0
    with recorded.open("rb") as one, rebuilt.open("rb") as other:
        while (ours := one.read(BLOCK)) == (theirs := other.read(BLOCK)) and ours:
            start += len(ours)
    pairs = enumerate(zip_longest(ours, theirs))
    first = start + next((i for i, (a, b) in pairs if a != b), 0)
    sizes = f"{recorded.stat().st_size} bytes recorded, {rebuilt.stat().st_size} rebuilt"
    return f"byte {first} is another ({sizes})"


def _shape(array: Any) -> str:
    return f"{array.dtype} {tuple(array.shape)}".removeprefix("torch.")


def _only(in_recorded: bool) -> str:
    return "recorded, but was not rebuilt" if in_recorded else "rebuilt, but was not recorded"
