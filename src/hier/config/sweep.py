"""Sweeps: a run is made once for each value of a setting. What such a run's method is called.

Values 0.1 and 0.5 of `regularizer.weight` make of `hier` the methods `hier_weight_0_1` and `hier_weight_0_5`.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

Sweep = dict[str, list[Any]]  # values by dotted key


def check_values(key: str, values: Any) -> None:
    """ValueError where a setting cannot be swept over these values, or not by names of their own."""
    if "." not in key:
        raise ValueError("a sweep is of one setting: sweep.<group>.<setting>=[a,b]")
    if key.startswith("dataset."):
        raise ValueError("a suite has one setting of each dataset; compose one suite after the other")
    if not isinstance(values, list):
        raise ValueError(f"a sweep takes a list of values: sweep.{key}=[a,b]")
    if not values:
        raise ValueError("an empty list leaves no runs")
    if groups := [value for value in values if isinstance(value, dict)]:
        raise ValueError(f"{shown(groups[0])} is a group of settings; sweep one of them")
    for i, value in enumerate(values):
        if [other for other in values[:i] if _same(value, other)]:
            raise ValueError(f"{shown(value)} is given twice")
        if alike := [other for other in values[:i] if label(value) == label(other)]:
            both = f"{shown(alike[0])} and {shown(value)}"
            raise ValueError(f"{both} give one name, {label(value)}; make them variants of a suite")


def tails(keys: Collection[str]) -> dict[str, str]:
    """Of each dotted key the last part, or as many as tell it apart from the others, as part of a name."""
    return {key: _tail(key, [other for other in keys if other != key]) for key in keys}


def label(value: Any) -> str:
    """A value as part of a name: 0.1 is 0_1, -1 is _1, [0.2,1.0] is 0_2_1_0."""
    return re.sub(r"[^a-z0-9]", "_", re.sub(r'[\[\]"]', "", shown(value).lower()))


def shown(value: Any) -> str:
    """A value as an override gives it, but for quotes."""
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def labelled(method: str, values: Mapping[str, Any], keys: Collection[str]) -> str:
    """The name of a method with some values; `keys` are all that are swept beside it, in order."""
    names = tails(keys)
    return "_".join([method, *(f"{names[key]}_{label(values[key])}" for key in keys if key in values)])


def without_labels(method: str, values: Mapping[str, Any]) -> str:
    """The method that :func:`labelled` was given with these values, in order, and maybe more keys."""
    usual = tails(values)
    for key, value in reversed([*values.items()]):
        parts = key.split(".")
        ends = [usual[key], *("_".join(parts[-n:]) for n in range(1, len(parts) + 1))]
        names = [f"_{end}_{own}" for end in ends for own in _labels(value)]
        method = next((method.removesuffix(name) for name in names if method.endswith(name)), method)
    return method


def _labels(value: Any) -> list[str]:
    """What a value may have been called: the schema makes 1.0 of a 1 that was given."""
    return [label(value), label(re.sub(r"\.0(?!\d)", "", shown(value)))]


def _tail(key: str, others: Collection[str]) -> str:
    parts = key.split(".")
    ends = (parts[-n:] for n in range(1, len(parts)))
    alone = (end for end in ends if all(other.split(".")[-len(end) :] != end for other in others))
    return "_".join(next(alone, parts))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same setting: 1 and 1.0 are, 1 and true are not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
