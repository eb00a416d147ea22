"""Pages that are no part of the report: it against another, two runs, and the times of all.

They are written elsewhere, when somebody asks for them, and refuse a folder that is something else
(ConfigError). Times and machines, which differ from one run of the same work to the next, are the records'.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from hier.audit.run_diff import Comparison
from hier.config.settings import Settings
from hier.config.suite import Suite
from hier.errors import ConfigError, TamperedError
from hier.files.atomic import atomic_folder
from hier.jobs import job, jobs
from hier.ledger.record import Record, read_record
from hier.pipeline import HISTORY, RESULTS, TABLE_CSV
from hier.planning.plan import images_of
from hier.reporting.history import panel, read_history, recalls, svg, training_curves
from hier.reporting.page import Pages
from hier.reporting.site import put, write_assets
from hier.reporting.terminal.lineage import machine
from hier.reporting.terminal.run_diff import line_of
from hier.results.compare import VERDICTS, against, compare, describe, read_cells, table_at
from hier.results.expected import read_values
from hier.results.measures import HEADLINE

OUT = Path("results/compare")  # for two runs, which may be of two suites
TIMED = ("train", "embed", "evaluate")


def compare_reports(suite: Suite, other: Path, out: Path | None = None) -> tuple[Path, str]:
    """Write a page that holds a suite's table against another; its path, and the result in words.
    ConfigError where there is no other table."""
    there = table_at(other, suite.suite)
    here = table_at(Path(TABLE_CSV.format(suite=suite.suite)), suite.suite)
    rows = compare(read_cells(here), read_cells(there))
    place = out or Path(RESULTS.format(suite=suite.suite), "compare")
    values = {"rows": rows, "there": str(there), "words": describe(rows)}
    return _written(place, suite, "compare", values), describe(rows)


def compare_runs(suite: Suite, found: Comparison, out: Path | None = None) -> Path:
    """Write a page that holds two runs against each other; its path."""
    panels = _panels(found.one, found.other)
    kinds = [
        (kind, [line_of(kind, each) for each in differences])
        for kind, differences in found.differences.items() if kind != "figures"
    ]  # fmt: skip
    curves = f"figures/{found.one}-{found.other}-curves.svg" if panels else None
    values = {"rows": _values(suite, found), "found": found, "kinds": kinds}
    values |= {"panels": panels, "curves": curves}
    return _written(out or OUT, suite, "compare_runs", values)


def write_times(suite: Suite, out: Path | None = None) -> Path:
    """Write a page of all runs' times; its path."""
    place = out or Path(RESULTS.format(suite=suite.suite), "times")
    return _written(place, suite, "times", {"rows": times(suite), "stages": TIMED})


def times(suite: Suite) -> list[dict[str, Any]]:
    """A row per run that has data: `run`, `seconds` by stage, `rate` (images per second of the whole training
    stage), `memory` (bytes), `started` and `machine` of its training; None where no record says it."""
    settings = Settings.of(suite)
    rows = []
    for run in [work.key for work in jobs(settings) if work.stage.name == "train"]:
        records = {stage: _record(stage, run, settings) for stage in TIMED}
        seconds = {stage: record.get("seconds") for stage, record in records.items()}
        trained = records["train"]
        images, _ = images_of(suite.run(run), suite.dataset(suite.run(run).dataset))
        row = {"run": run, "seconds": seconds, "started": trained.get("started")}
        row["rate"] = images / seconds["train"] if images and seconds["train"] else None
        row["memory"] = max(trained.get("peak_memory", {}).values(), default=None)
        row["machine"] = machine(trained["environment"]) if trained else None
        rows.append(row)
    return rows


def _record(stage: str, run: str, settings: Settings) -> Record:
    """A record that can be believed, or nothing."""
    try:
        return read_record(job(stage, run, settings)) or {}
    except TamperedError:
        return {}


def _written(out: Path, suite: Suite, template: str, values: dict[str, Any]) -> Path:
    """A folder with a page, what it loads and the curves that `values` may have; the path of the page, by
    whose name an earlier such folder is known and replaced."""
    page = "times.html" if template == "times" else "comparison.html"
    earlier = (out / page).exists() or (out.is_dir() and not any(out.iterdir()))
    if out.exists() and not earlier:
        raise ConfigError(f"{out} exists and holds no {page}; choose another --out")
    pages = Pages(suite=suite.suite, with_galleries=[], verdicts=VERDICTS)
    with atomic_folder(out) as folder:
        write_assets(folder)
        put(folder / page, pages.render(f"{template}.html.j2", "", template, **values))
        if curves := values.get("curves"):
            put(folder / curves, svg(training_curves(values["panels"])))
    return out / page


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
    return dict(pd.DataFrame(alike).std(ddof=1).dropna())


def _panels(one: str, other: str) -> list[dict[str, Any]]:
    """Loss, and recall where it was looked at, of both runs over the epochs."""
    losses, found = dict[str, pd.Series](), dict[str, pd.Series]()
    for run in (one, other):
        path = Path(HISTORY.format(run=run))
        if path.exists() and len(history := read_history(path).set_index("epoch")):
            losses[run] = history["loss"]
            if len((of := recalls(history)).columns):
                found[run] = of.iloc[:, 0]
    parts = {"Loss": losses, "Recall while training": found}
    units = ("mean over the epoch's steps", f"{HEADLINE} in percent")
    panels = []
    for (title, lines), unit in zip(parts.items(), units, strict=True):
        words = [f"{run} ends at {of.dropna().iloc[-1]:.3g}." for run, of in lines.items()]
        if lines:
            panels.append(panel(title, unit, pd.DataFrame(lines), words))
    return panels
