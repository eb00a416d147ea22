"""report: the page that a reader opens first."""

from pathlib import Path

import pandas as pd

from hier.config.suite import Suite
from hier.pipeline import HISTORY, METRICS, Job, no_data
from hier.provenance.atomic import write_text
from hier.reporting.page import render
from hier.stages.inputs import read_metrics


def run(job: Job, suite: Suite, identity: str) -> None:
    """Write results/report/index.html."""
    cells = pd.read_csv(Path(job.inputs[0]))
    had = [name for name, run in suite.runs.items() if not no_data(run.dataset).exists()]
    histories = {name: pd.read_csv(HISTORY.format(run=name)) for name in had}
    metrics = {name: read_metrics(Path(METRICS.format(run=name))) for name in had}
    write_text(Path(job.outputs[0]), render(suite, cells, histories, metrics))
