"""Where two files that should be the same bytes differ first, and by how much, in words."""

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hier.audit.lineage import leaves

BLOCK = 1 << 24  # numbers, or bytes, compared at a time


def difference(recorded: Path, rebuilt: Path) -> str:
    """How two files that are not the same bytes differ, as far as their kind is known.

    Where what they hold is the same, or cannot be read, the first byte that differs is named.
    """
    kinds = {
        ".safetensors": _arrays, ".npy": _arrays, ".csv": _rows, ".parquet": _rows, ".json": _values,
    }  # fmt: skip
    try:
        found = kinds[recorded.suffix](recorded, rebuilt) if recorded.suffix in kinds else None
    except Exception:  # a damaged file fails in whatever way
        found = None
    return found or _bytes(recorded, rebuilt)


def _arrays(recorded: Path, rebuilt: Path) -> str | None:
    """The array that differs most."""
    one, other = _read_arrays(recorded), _read_arrays(rebuilt)
    if alone := sorted(one.keys() ^ other.keys()):
        return f"{alone[0]} is {_only(alone[0] in one)}"
    for name in one:
        ours, theirs = (f"{of[name].dtype} {of[name].shape}" for of in (one, other))
        if ours != theirs:
            return f"{name} is {ours} recorded, {theirs} rebuilt"
    found = [(*_distance(one[name], other[name]), one[name].size, name) for name in one]
    differing = [distance for distance in found if distance[1]]
    if not differing:
        return None
    largest, unequal, size, name = max(differing)
    rest = f"; {len(differing)} tensors differ, this one most" if len(differing) > 1 else ""
    return f"{name} differs by up to {largest:.3g} in {unequal} of {size} numbers{rest}"


def _read_arrays(path: Path) -> dict[str, Any]:
    if path.suffix == ".npy":
        return {"it": np.load(path, mmap_mode="r", allow_pickle=False)}
    from safetensors.numpy import load_file

    return {f"tensor {name}": array for name, array in sorted(load_file(path).items())}


def _distance(one: Any, other: Any) -> tuple[float, int]:
    """The largest absolute difference of two arrays, and in how many numbers they differ."""
    largest, count = 0.0, 0
    for start in range(0, one.size, BLOCK):
        a, b = (of.reshape(-1)[start : start + BLOCK].astype(float) for of in (one, other))
        unequal = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        most = np.abs(a[unequal] - b[unequal]).max(initial=0.0)
        largest = max(largest, float(np.nan_to_num(most, nan=np.inf)))
        count += int(unequal.sum())
    return largest, count


def _rows(recorded: Path, rebuilt: Path) -> str | None:
    """The first row that differs, and the column; rows are counted from 1."""
    is_csv = recorded.suffix == ".csv"
    one, other = (
        pd.read_csv(path, dtype=str) if is_csv else pd.read_parquet(path) for path in (recorded, rebuilt)
    )
    if list(one) != list(other):
        return f"its columns are {', '.join(one)} recorded, {', '.join(other)} rebuilt"
    if len(one) != len(other):
        return f"it has {len(one)} rows recorded, {len(other)} rebuilt"
    ours, theirs = one.astype(str).to_numpy(), other.astype(str).to_numpy()
    for row, column in np.argwhere(ours != theirs)[:1]:
        values = f"{ours[row, column]} recorded, {theirs[row, column]} rebuilt"
        return f"row {row + 1}, {one.columns[column]}: {values}"
    return None


def _values(recorded: Path, rebuilt: Path) -> str | None:
    """The first value that differs, with its dotted key."""
    one, other = (
        leaves(json.loads(path.read_text(encoding="utf-8")), nested=(dict, list))
        for path in (recorded, rebuilt)
    )
    for key in dict.fromkeys([*one, *other]):
        if key not in one or key not in other:
            return f"{key} is {_only(key in one)}"
        if one[key] != other[key]:
            return f"{key}: {one[key]} recorded, {other[key]} rebuilt"
    return None


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


def _only(in_recorded: bool) -> str:
    return "recorded, but was not rebuilt" if in_recorded else "rebuilt, but was not recorded"
