"""Pages of a comparison: of two reports, or of two runs. They are no part of the report."""

from pathlib import Path
from typing import Any

import pandas as pd

from hier.audit.run_diff import Comparison
from hier.config.suite import Suite
from hier.pipeline import HISTORY, RESULTS, TABLE_CSV
from hier.reporting.curves import svg, training_curves
from hier.reporting.history import read_history, recalls
from hier.reporting.page import Pages
from hier.reporting.site import put
from hier.reporting.standalone_page import written
from hier.reporting.terminal.run_diff import line_of
from hier.results.compare import VERDICTS, against, compare, describe, read_cells, table_at
from hier.results.measures import HEADLINE
from hier.results.metrics import read_values

OUT = Path("results/compare")
"""Where two runs, which may be of two suites, are compared."""
PAGE = "comparison.html"


def compare_reports(suite: Suite, other: Path, out: Path | None = None) -> tuple[Path, str]:
    """Write a page that holds a suite's table against another; its path, and the result in words.

    Raises:
        ConfigError: there is no other table, or `out` is something else than an earlier comparison.
    """
    there = table_at(other, suite.suite)
    here = table_at(Path(TABLE_CSV.format(suite=suite.suite)), suite.suite)
    rows = compare(read_cells(here), read_cells(there))

    def write(_: Path) -> str:
        values = {"rows": rows, "verdicts": VERDICTS, "there": str(there), "words": describe(rows)}
        return _pages(suite).render("compare.html.j2", "", "compare", **values)

    place = out or Path(RESULTS.format(suite=suite.suite), "compare")
    return written(place, PAGE, write), describe(rows)


def compare_runs(suite: Suite, found: Comparison, out: Path | None = None) -> Path:
    """Write a page that holds two runs against each other; its path.

    Raises:
        ConfigError: `out` is something else than an earlier comparison.
    """
    panels = _panels(found.one, found.other)
    kinds = [
        (kind, [line_of(kind, difference) for difference in differences])
        for kind, differences in found.differences.items()
        if kind != "figures"
    ]

    def write(folder: Path) -> str:
        curves = f"figures/{found.one}-{found.other}-curves.svg" if panels else None
        if curves:
            put(folder / curves, svg(training_curves(panels)))
        values: dict[str, Any] = {"rows": _values(suite, found), "verdicts": VERDICTS}
        values |= {"found": found, "kinds": kinds, "panels": panels, "curves": curves}
        return _pages(suite).render("compare_runs.html.j2", "", "compare", **values)

    return written(out or OUT, PAGE, write)


def _pages(suite: Suite) -> Pages:
    return Pages(suite=suite.suite, with_galleries=[])


def _values(suite: Suite, found: Comparison) -> list[dict[str, Any]]:
    """A row per measure of two runs, see :func:`against`; `moved` is there − here."""
    one, other = read_values(found.one), read_values(found.other)
    spreads = [_spread(suite, found.one), _spread(suite, found.other)]
    rows = []
    for name in dict.fromkeys([*one, *other]):
        row = against(one.get(name), other.get(name), [of.get(name) for of in spreads])
        moved = None if row["moved"] is None else 0.0 - row["moved"]
        rows.append(row | {"measure": name, "moved": moved})
    return rows


def _spread(suite: Suite, run: str) -> dict[str, float]:
    """By measure, the sample standard deviation over the seeds of a run's settings, if they are two."""
    settings = run.rpartition("-s")[0]
    alike = [read_values(name) for name in suite.runs if name.rpartition("-s")[0] == settings]
    spreads = pd.DataFrame(alike).std(ddof=1).dropna()
    return {str(measure): float(value) for measure, value in spreads.items()}


def _panels(one: str, other: str) -> list[dict[str, Any]]:
    """Loss, and recall where it was looked at, of both runs over the epochs."""
    losses, found = dict[str, pd.Series](), dict[str, pd.Series]()
    for run in (one, other):
        path = Path(HISTORY.format(run=run))
        if path.exists() and len(history := read_history(path).set_index("epoch")):
            losses[run] = history["loss"]
            if len((of := recalls(history)).columns):
                found[run] = of.iloc[:, 0]
    parts = (
        ("Loss", "mean over the epoch's steps", losses),
        ("Recall while training", f"{HEADLINE} in percent", found),
    )
    return [_panel(title, unit, pd.DataFrame(lines)) for title, unit, lines in parts if lines]


def _panel(title: str, unit: str, lines: pd.DataFrame) -> dict[str, Any]:
    ends = (f"{run} ends at {of.dropna().iloc[-1]:.3g}." for run, of in lines.items())
    return {
        "title": title,
        "unit": unit,
        "epoch": [int(epoch) for epoch in lines.index],
        "lines": lines.astype(object).where(lines.notna(), None).to_dict("list"),
        "words": " ".join(ends),
    }
