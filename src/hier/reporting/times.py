"""How long each run took and on what, from its records: what differs from one run of the same work to
the next, and so is no part of the report."""

from pathlib import Path
from typing import Any

from hier.config.suite import Suite
from hier.errors import TamperedError
from hier.ledger.record import Record, read_record
from hier.pipeline import job, jobs
from hier.planning.plan import images_of
from hier.reporting.page import Pages
from hier.reporting.standalone_page import written
from hier.reporting.terminal.lineage import machine

OUT = Path("results/times")
PAGE = "times.html"
STAGES = ("train", "embed", "evaluate")


def write_times(suite: Suite, out: Path = OUT) -> Path:
    """Write a page of all runs' times; its path.

    Raises:
        ConfigError: `out` is something else than such a page's folder.
    """
    pages = Pages(suite=suite.suite, with_galleries=[])
    rows = times(suite)
    return written(
        out, PAGE, lambda _: pages.render("times.html.j2", "", "times", rows=rows, stages=STAGES)
    )


def times(suite: Suite) -> list[dict[str, Any]]:
    """A row per run that has data: `run`, `seconds` by stage, `rate` (images per second of the whole
    training stage), `memory` (bytes), `started` and `machine` of its training; None where no record
    says it."""
    params = suite.model_dump()
    rows = []
    for run in [work.key for work in jobs(params) if work.stage.name == "train"]:
        records = {stage: _record(stage, run, params) for stage in STAGES}
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


def _record(stage: str, run: str, params: dict[str, Any]) -> Record:
    """A record that can be believed, or nothing."""
    try:
        return read_record(job(stage, run, params)) or {}
    except TamperedError:
        return {}
