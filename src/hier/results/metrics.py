"""A run's metrics.json: whether it is of the run as it is set, and what it holds."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from hier.config.settings import Settings
from hier.jobs import Job, jobs_of
from hier.ledger.artifacts import reading
from hier.ledger.dvc_lock import other_setting, readable_ledger
from hier.ledger.record import of_other_settings
from hier.pipeline import METRICS
from hier.results.measures import values


def read_metrics(path: Path) -> dict[str, Any]:
    """A run's metrics.json.

    Raises:
        DamagedInputError: it cannot be read, lacks a measure, or has a value that is none.
    """
    with reading(path):
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(metrics, dict):
            raise ValueError("it holds no measures")
        values(metrics)
        return metrics


def read_values(run: str) -> dict[str, float]:
    """The values of a run by the names of columns; none where metrics.json is missing or damaged."""
    path = Path(METRICS.format(run=run))
    try:
        return values(json.loads(path.read_bytes())) if path.is_file() else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def runs_done(settings: Settings) -> set[str]:
    """The runs that have metrics of the present settings, as records say, or without one dvc.lock; but for
    the views, from which no number follows."""
    ledger = cache(lambda: readable_ledger()[0])

    def of_other(step: Job) -> bool:
        if step.record.exists():
            return of_other_settings(step)
        entry = ledger().entry(step)
        return bool(entry and other_setting(entry, step.params))

    return {
        run
        for run in settings.runs
        if Path(METRICS.format(run=run)).exists()
        and not any(of_other(s) for s in jobs_of(run, settings) if s.stage.name != "views")
    }
