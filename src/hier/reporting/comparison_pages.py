"""Pages of a comparison: of two reports, or of two runs. They are no part of the report."""

from pathlib import Path
from statistics import stdev
from typing import Any

import pandas as pd

from hier.audit.run_diff import Comparison
from hier.config.suite import Suite
from hier.pipeline import HISTORY, TABLE_CSV
from hier.reporting.curves import svg, training_curves
from hier.reporting.history import read_history, recalls
from hier.reporting.page import Pages
from hier.reporting.site import put
from hier.reporting.standalone_page import written
from hier.reporting.terminal.run_diff import line_of
from hier.results.compare import VERDICTS, compare, in_words, read_cells, table_at, verdict_on
from hier.results.measures import read_figures

OUT = Path("results/compare")
PAGE = "comparison.html"


def compare_reports(suite: Suite, other: Path, out: Path = OUT) -> tuple[Path, str]:
    """Write a page that holds results/table.csv against another; its path, and the result in words.

    Raises:
        ConfigError: there is no other table, or `out` is something else than an earlier comparison.
    """
    place = table_at(other)
    rows = compare(read_cells(table_at(Path(TABLE_CSV))), read_cells(place))

    def write(_: Path) -> str:
        values = {"rows": rows, "verdicts": VERDICTS, "there": str(place), "words": in_words(rows)}
        return _pages(suite).render("compare.html.j2", "", "compare", **values)

    return written(out, PAGE, write), in_words(rows)


def compare_runs(suite: Suite, found: Comparison, out: Path = OUT) -> Path:
    """Write a page that holds two runs against each other; its path.

    Raises:
        ConfigError: `out` is something else than an earlier comparison.
    """
    panels = _panels(found.one, found.other)
    kinds = [
        (kind, [line_of(kind, difference) for difference in differences])
        for kind, differences in found.kinds()
        if kind != "figures"
    ]

    def write(folder: Path) -> str:
        curves = f"figures/{found.one}-{found.other}-curves.svg" if panels else None
        if curves:
            put(folder / curves, svg(training_curves(panels)))
        values: dict[str, Any] = {"rows": _figures(suite, found), "verdicts": VERDICTS}
        values |= {"found": found, "kinds": kinds, "panels": panels, "curves": curves}
        return _pages(suite).render("compare_runs.html.j2", "", "compare", **values)

    return written(out, PAGE, write)


def _pages(suite: Suite) -> Pages:
    return Pages(suite=suite.suite, with_galleries=[])


def _figures(suite: Suite, found: Comparison) -> list[dict[str, Any]]:
    """A row per measure: `here` and `there` (percent), `moved` (there − here), `spread`, `verdict`."""
    one, other = read_figures(found.one), read_figures(found.other)
    spreads = [_spread(suite, found.one), _spread(suite, found.other)]
    rows = []
    for name in dict.fromkeys([*one, *other]):
        here, there = one.get(name), other.get(name)
        row: dict[str, Any] = {"measure": name, "here": here, "there": there, "moved": None}
        if here is not None and there is not None:
            row["moved"] = there - here
        row["spread"] = max((s[name] for s in spreads if name in s), default=None)
        rows.append(row | {"verdict": verdict_on(row)})
    return rows


def _spread(suite: Suite, run: str) -> dict[str, float]:
    """By measure, the sample standard deviation over the seeds of a run's settings, if they are two."""
    settings = run.rpartition("-s")[0]
    alike = [read_figures(name) for name in suite.runs if name.rpartition("-s")[0] == settings]
    values = {
        m: [of[m] for of in alike if m in of] for m in dict.fromkeys(m for of in alike for m in of)
    }
    return {measure: stdev(found) for measure, found in values.items() if len(found) > 1}


def _panels(one: str, other: str) -> list[dict[str, Any]]:
    """Loss, and recall where it was looked at, of both runs over the epochs."""
    histories = {}
    for run in (one, other):
        path = Path(HISTORY.format(run=run))
        if path.exists() and len(found := read_history(path)):
            histories[run] = found.set_index("epoch")
    parts = [
        ("Loss", "mean over the epoch's steps", {run: of["loss"] for run, of in histories.items()}),
        ("Recall while training", "R@1 in percent", {
            run: of.iloc[:, 0] for run, table in histories.items() if len((of := recalls(table)).columns)
        }),
    ]  # fmt: skip
    panels = []
    for title, unit, lines in parts:
        if lines:
            both = pd.DataFrame(lines)
            values = {run: [None if pd.isna(v) else float(v) for v in both[run]] for run in both}
            words = " ".join(
                f"{run} ends at {of.dropna().iloc[-1]:.3g}." for run, of in lines.items()
            )
            epoch = [int(e) for e in both.index]
            panels.append(
                {"title": title, "unit": unit, "epoch": epoch, "lines": values, "words": words}
            )
    return panels
