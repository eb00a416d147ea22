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
    """Everything that the pages show. Of the runs whose data could not be had, there are cells alone."""

    suite: Suite
    cells: pd.DataFrame  # the graded table, a row per run and measure (results/SUITE/table.csv)
    comparisons: pd.DataFrame  # of pairs of methods (results/SUITE/comparisons.csv)
    histories: dict[str, pd.DataFrame]  # by run, history.csv
    metrics: dict[str, dict[str, Any]]  # by run, metrics.json
    tables: dict[str, bytes] = field(default_factory=dict)  # files to take along, by name
    lineages: dict[str, Input] = field(default_factory=dict)  # by run, see `lineages`
    views: dict[str, dict[str, Any]] = field(default_factory=dict)  # by run, views.json
    images: dict[str, Images] = field(default_factory=dict)  # by dataset
    kernels: dict[str, str] = field(default_factory=dict)  # by run, with whose kernels it was trained

    def runs_of(self, dataset: str) -> dict[str, dict[str, Any]]:
        """The views of a dataset's runs, in the order of the suite."""
        runs = (name for name, run in self.suite.runs.items() if run.dataset == dataset)
        return {name: self.views[name] for name in runs if name in self.views}


def lineages(runs: list[str], settings: Settings) -> dict[str, Input]:
    """By run, the file of its figures with the step that made it, whose inputs are such files again. A page
    shows what does not vary from one run of the same work to the next (`_trace.html.j2`): no times and
    machines."""
    audit, found = RecordAudit(settings), dict[str, Input]()
    for run in runs:
        way = trace(run, settings, audit)
        (file,) = way.made()
        found[run] = Input(file, way.start, way.steps[way.start], way.inputs())
    return found
