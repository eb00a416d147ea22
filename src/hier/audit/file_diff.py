"""Where two files that should be the same bytes differ first, and by how much, in words."""

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hier.audit.lineage import leaves

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
            if shapes := _shapes(one, other):
                return f"tensor {name} is {shapes}"
            if (distance := _distance(one.double().numpy(), other.double().numpy()))[1]:
                found.append((*distance, one.numel(), name))
    if not found:
        return None
    largest, unequal, size, name = max(found)
    rest = f"; {len(found)} tensors differ, this one most" if len(found) > 1 else ""
    return f"tensor {name} differs by up to {largest:.3g} in {unequal} of {size} numbers{rest}"


def _arrays(recorded: Path, rebuilt: Path) -> str | None:
    one, other = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (recorded, rebuilt))
    if shapes := _shapes(one, other):
        return f"it is {shapes}"
    parts = [
        _distance(
            *(array.reshape(-1)[start : start + BLOCK].astype(float) for array in (one, other))
        )
        for start in range(0, one.size, BLOCK)
    ]
    unequal = sum(count for _, count in parts)
    if not unequal:
        return None
    largest = max(most for most, _ in parts)
    return f"it differs by up to {largest:.3g} in {unequal} of {one.size} numbers"


def _distance(one: Any, other: Any) -> tuple[float, int]:
    """The largest absolute difference of two arrays, and in how many numbers they differ."""
    unequal = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    largest = np.abs(one[unequal] - other[unequal]).max(initial=0.0)
    return float(np.nan_to_num(largest, nan=np.inf)), int(unequal.sum())


def _csv(recorded: Path, rebuilt: Path) -> str | None:
    return _frames(*(pd.read_csv(path, dtype=str) for path in (recorded, rebuilt)))


def _parquet(recorded: Path, rebuilt: Path) -> str | None:
    return _frames(*(pd.read_parquet(path) for path in (recorded, rebuilt)))


def _frames(one: pd.DataFrame, other: pd.DataFrame) -> str | None:
    """The first row that differs, and the column; rows are counted from 1."""
    if list(one) != list(other):
        return f"its columns are {', '.join(one)} recorded, {', '.join(other)} rebuilt"
    if len(one) != len(other):
        return f"it has {len(one)} rows recorded, {len(other)} rebuilt"
    ours, theirs = one.astype(str).to_numpy(), other.astype(str).to_numpy()
    for row, column in np.argwhere(ours != theirs)[:1]:
        values = f"{ours[row, column]} recorded, {theirs[row, column]} rebuilt"
        return f"row {row + 1}, {one.columns[column]}: {values}"
    return None


def _json(recorded: Path, rebuilt: Path) -> str | None:
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


def _shapes(one: Any, other: Any) -> str | None:
    """Both kinds of numbers and shapes, where they are not the same."""
    if one.shape == other.shape and one.dtype == other.dtype:
        return None
    ours, theirs = (f"{of.dtype} {tuple(of.shape)}".removeprefix("torch.") for of in (one, other))
    return f"{ours} recorded, {theirs} rebuilt"


def _only(in_recorded: bool) -> str:
    return "recorded, but was not rebuilt" if in_recorded else "rebuilt, but was not recorded"
