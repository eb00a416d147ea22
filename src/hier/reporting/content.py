"""What the report is made of: results that earlier stages wrote, by run and by dataset."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from hier.audit.audit import RecordAudit
from hier.audit.lineage import Input, trace
from hier.config.settings import Settings
from hier.config.suite import Suite
from hier.reporting.thumbs import Images


@dataclass(frozen=True)
class Content:
    """Everything that the pages show.

    `histories`, `metrics` and `views` lack the runs whose data could not be had.

    Attributes:
        cells: the graded table, a row per run and measure (results/SUITE/table.csv).
        tables: files of tables to take along, by name.
        histories: by run, history.csv.
        metrics: by run, metrics.json.
        views: by run, views.json.
        lineages: by run, the way of its figures back to the archive.
        images: by dataset.
    """

    suite: Suite
    cells: pd.DataFrame
    histories: dict[str, pd.DataFrame]
    metrics: dict[str, dict[str, Any]]
    tables: dict[str, bytes] = field(default_factory=dict)
    lineages: dict[str, Input] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, Images] = field(default_factory=dict)

    def runs_of(self, dataset: str) -> dict[str, dict[str, Any]]:
        """The views of a dataset's runs, in the order of the suite."""
        return {
            name: self.views[name]
            for name, run in self.suite.runs.items()
            if run.dataset == dataset and name in self.views
        }


def lineages(runs: list[str], settings: Settings) -> dict[str, Input]:
    """By run, the file of its figures with the step that made it, whose inputs are such files again.

    A page shows what does not vary from one run of the same work to the next (`_trace.html.j2`): no
    times and machines.
    """
    audit, found = RecordAudit(settings), dict[str, Input]()
    for run in runs:
        way = trace(run, settings, audit)
        (file,) = way.made()
        found[run] = Input(file, way.start, way.steps[way.start], way.inputs())
    return found
