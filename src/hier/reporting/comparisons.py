"""Differences of pairs as a forest plot, and recall by epoch with the spread of the seeds."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hier.config.run import Run
from hier.reporting.content import Content
from hier.reporting.history import STYLES, recalls
from hier.results.comparisons import interval, p_value, points
from hier.results.means import GROUP
from hier.results.measures import HEADLINE
from hier.results.paper import name_of

Row = dict[str, Any]
LOOKED_AT = f"test {HEADLINE}"
ROOM = 0.94  # of half a plot's width, that the longest interval fills


def forests(content: Content) -> list[Row]:
    """For each dataset, backbone and dimension with comparisons: `title`, `limit` (points at the right end of
    the scale, its left one is that below zero) and `rows`: names in words, `at` (positions in percent of the
    width, of what is drawn) and the figures as text."""
    found = []
    several = content.comparisons["dataset"].nunique() < len(content.comparisons.groupby(GROUP))
    for (dataset, backbone, dim), rows in content.comparisons.groupby(GROUP, sort=False):
        limit = _limit(rows)
        title = f"{dataset}, {backbone}, D {dim}" if several else dataset
        shown = [_row(row, limit) for row in rows.to_dict("records")]
        found.append({"title": title, "dataset": dataset, "limit": limit, "rows": shown})
    return found


def _limit(rows: pd.DataFrame) -> float:
    """A round number of points beyond every interval."""
    longest = rows[["low", "high", "classes_low", "classes_high"]].abs().max(axis=None)
    steps = (factor * 10**power for power in range(-2, 3) for factor in (1, 2, 5))
    return next(step for step in steps if step >= min(longest, 100))


def _row(row: dict[Any, Any], limit: float) -> Row:
    bounds = ("mean", "low", "high", "classes_low", "classes_high")
    at = {name: None if pd.isna(row[name]) else _place(row[name], limit) for name in bounds}
    return {
        "name": f"{name_of(row['method'])} − {name_of(row['against'])}",
        "measure": row["measure"],
        "at": at,
        "mean": f"{row['mean']:+.2f}",
        "seeds": interval(row["low"], row["high"]),
        "classes": interval(row["classes_low"], row["classes_high"]),
        "p": p_value(row["p_holm"]),
        "pairs": row["pairs"],
        "detectable": points(row["detectable"]),
        "verdict": row["verdict"],
    }


def _place(value: float, limit: float) -> float:
    return round(50 + 50 * ROOM * value / limit, 2)


def recall_curves(content: Content) -> dict[str, Row]:
    """Of each dataset, backbone and dimension whose training looked at the test classes, by the name of a
    figure: `title`, and `lines` by method, each the mean, lowest and highest of its seeds by epoch."""
    groups = dict[str, dict[str, list[Run]]]()
    for run in content.suite.runs.values():
        if LOOKED_AT in content.histories.get(run.name, ()):
            name = f"{run.dataset}-{run.backbone.name}-{run.dim}"
            groups.setdefault(name, {}).setdefault(run.method, []).append(run)
    found = {}
    for name, methods in groups.items():
        if any(len(runs) > 1 for runs in methods.values()):
            lines = {name_of(method): _by_epoch(content, runs) for method, runs in methods.items()}
            words = [_in_words(method, line) for method, line in lines.items()]
            found[name] = {"title": next(iter(methods.values()))[0].dataset, "lines": lines, "words": words}
    return found


def _by_epoch(content: Content, runs: Iterable[Run]) -> pd.DataFrame:
    histories = (content.histories[run.name].set_index("epoch") for run in runs)
    table = pd.concat([recalls(history)[LOOKED_AT].dropna() for history in histories], axis=1)
    return table.agg(["mean", "min", "max"], axis=1)


def _in_words(method: str, line: pd.DataFrame) -> str:
    first, last = line.iloc[0], line.iloc[-1]
    return (
        f"{method}: {first['mean']:.2f} after epoch {line.index[0]}, {last['mean']:.2f} after epoch "
        f"{line.index[-1]} (seeds from {last['min']:.2f} to {last['max']:.2f})."
    )


def recall_figure(curves: Row) -> Figure:
    """Mean recall by epoch of each method, with the range of its seeds as a band; six methods per axes."""
    lines = [*curves["lines"].items()]
    parts = [lines[start : start + len(STYLES)] for start in range(0, len(lines), len(STYLES))]
    figure = Figure(figsize=(5.0, 3.4 * len(parts)), layout="constrained")
    for axes, part in zip(figure.subplots(len(parts), squeeze=False)[:, 0], parts, strict=True):
        for (name, line), (colour, dash) in zip(part, STYLES, strict=False):
            axes.fill_between(line.index, line["min"], line["max"], color=colour, alpha=0.15, linewidth=0)
            axes.plot(line.index, line["mean"], dash, color=colour, label=name)
        axes.set(xlabel="epoch", ylabel=f"{HEADLINE}, percent")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure
