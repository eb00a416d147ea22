"""A measure drawn against the setting that a suite sweeps, with the intervals of its means."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pandas.api.types import is_numeric_dtype

from hier.reporting.content import Content
from hier.reporting.history import STYLES
from hier.results.means import GROUP, swept_keys
from hier.results.measures import HEADLINE
from hier.results.paper import name_of
from hier.results.sweep import swept_values

Row = dict[str, Any]
WIDE = 10.0  # times the least value that the greatest must be for a logarithmic scale


def sweep_plots(content: Content) -> dict[str, Row]:
    """For each dataset, backbone and dimension and each key that is swept there, by the name of a figure:
    `title`, `key`, `lines` (by method, and where several keys are swept by the others' values: rows with the
    value, mean, low, high and n), `levels` (means of methods without the key) and `words`."""
    keys = swept_keys(content.cells)
    if not keys:
        return {}
    table = swept_values(content.cells[content.cells["measure"] == HEADLINE], keys)
    found = {}
    for (dataset, backbone, dim), rows in table.groupby(GROUP, sort=False):
        for key in keys:
            lines = dict(_lines(rows, key, [other for other in keys if other != key]))
            if any(len(line) > 1 for line in lines.values()):
                levels = {name_of(row["method"]): row["mean"] for row in _without(rows, keys)}
                words = [_in_words(key, name, row) for name, line in lines.items() for row in _records(line)]
                words += [f"{name}: {mean:.2f} without it." for name, mean in levels.items()]
                name = f"{dataset}-{backbone}-{dim}-{key}"
                found[name] = {"title": dataset, "key": key, "lines": lines, "levels": levels, "words": words}
    return found


def _lines(rows: pd.DataFrame, key: str, others: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    there = rows[rows[key].notna()]
    for values, line in there.groupby(["method", *others], sort=False, dropna=False):
        own = [f"{other} {value}" for other, value in zip(others, values[1:], strict=True) if pd.notna(value)]
        line = line[[key, "mean", "low", "high", "n"]]
        in_order = line.sort_values(key) if is_numeric_dtype(line[key]) else line
        yield ", ".join([name_of(str(values[0])), *own]), in_order


def _without(rows: pd.DataFrame, keys: list[str]) -> list[dict[Any, Any]]:
    return _records(rows[rows[keys].isna().all(axis=1)])


def _records(rows: pd.DataFrame) -> list[dict[Any, Any]]:
    return rows.to_dict("records")


def _in_words(key: str, name: str, row: dict[Any, Any]) -> str:
    seeds = "one seed" if row["n"] == 1 else f"{row['low']:.2f} to {row['high']:.2f}, {row['n']} seeds"
    return f"{name}, {key} {_text(row[key])}: {row['mean']:.2f} ({seeds})."


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def sweep_figure(plot: Row) -> Figure:
    """Means by value with 95 % intervals over the seeds, six lines per axes; dashed grey levels are of
    methods without the key."""
    lines = [*plot["lines"].items()]
    parts = [lines[start : start + len(STYLES)] for start in range(0, len(lines), len(STYLES))]
    figure = Figure(figsize=(5.0, 3.4 * len(parts)), layout="constrained")
    for axes, part in zip(figure.subplots(len(parts), squeeze=False)[:, 0], parts, strict=True):
        for (name, line), (colour, dash) in zip(part, STYLES, strict=False):
            values = line[plot["key"]]
            x = values if is_numeric_dtype(values) else values.astype(str)
            bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
            axes.errorbar(x, line["mean"], bars, fmt=f"o{dash}", color=colour, capsize=3, label=name)
            if is_numeric_dtype(values) and values.min() > 0 and values.max() >= WIDE * values.min():
                axes.set_xscale("log")
        for at, (name, mean) in enumerate(plot["levels"].items()):
            axes.axhline(mean, color="#5a5a56", linestyle=(0, (3 + 3 * at, 2)), linewidth=1, label=name)
        low, high = axes.get_ylim()
        axes.set(xlabel=plot["key"], ylabel=f"{HEADLINE}, percent", ylim=(max(low, 0), min(high, 100)))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure
