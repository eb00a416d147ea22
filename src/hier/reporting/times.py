"""How long each run took and on what, from its records: what differs from one run of the same work to
the next, and so is no part of the report."""

from pathlib import Path
from typing import Any

from hier.config.settings import Settings
from hier.config.suite import Suite
from hier.errors import TamperedError
from hier.jobs import job, jobs
from hier.ledger.record import Record, read_record
from hier.pipeline import RESULTS
from hier.planning.plan import images_of
from hier.reporting.page import Pages
from hier.reporting.standalone_page import written
from hier.reporting.terminal.lineage import machine

PAGE = "times.html"
STAGES = ("train", "embed", "evaluate")


def write_times(suite: Suite, out: Path | None = None) -> Path:
    """Write a page of all runs' times; its path.

    Raises:
        ConfigError: `out` is something else than such a page's folder.
    """
    pages, rows = Pages(suite=suite.suite, with_galleries=[]), times(suite)

    def write(_: Path) -> str:
        return pages.render("times.html.j2", "", "times", rows=rows, stages=STAGES)

    return written(out or Path(RESULTS.format(suite=suite.suite), "times"), PAGE, write)


def times(suite: Suite) -> list[dict[str, Any]]:
    """A row per run that has data: `run`, `seconds` by stage, `rate` (images per second of the whole
    training stage), `memory` (bytes), `started` and `machine` of its training; None where no record
    says it."""
    settings = Settings.of(suite)
    rows = []
    for run in [work.key for work in jobs(settings) if work.stage.name == "train"]:
        records = {stage: _record(stage, run, settings) for stage in STAGES}
        seconds = {stage: record.get("seconds") for stage, record in records.items()}
        trained = records["train"]
        images, _ = images_of(suite.run(run), suite.dataset(suite.run(run).dataset))
        rows.append(
            {
                "run": run,
                "seconds": seconds,
                "rate": images / seconds["train"] if images and seconds["train"] else None,
                "memory": max(trained.get("peak_memory", {}).values(), default=None),
                "started": trained.get("started"),
                "machine": machine(trained["environment"]) if trained else None,
            }
        )
    return rows


def _record(stage: str, run: str, settings: Settings) -> Record:
    """A record that can be believed, or nothing."""
    try:
        return read_record(job(stage, run, settings)) or {}
    except TamperedError:
        return {}
