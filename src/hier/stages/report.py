"""report: the pages that a reader opens first."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from hier.config.run import Run
from hier.config.settings import Settings
from hier.config.suite import Suite
from hier.errors import ConfigError, DamagedInputError
from hier.files.atomic import atomic_folder
from hier.jobs import Job, maker, no_data
from hier.jobs import job as job_of
from hier.ledger.artifacts import read_images, reading
from hier.ledger.record import believed
from hier.pipeline import COMPARISONS, HISTORY, INDEX, METRICS, STORE, TABLE_CSV, VIEWS
from hier.reporting.content import Content, lineages
from hier.reporting.history import read_history
from hier.reporting.site import write_report
from hier.reporting.thumbs import Images, select_thumbnails
from hier.results.compare import read_cells
from hier.results.comparisons import read_comparisons
from hier.results.expected import kernels_of, read_metrics


def run(job: Job, suite: Suite, content_key: str) -> None:
    """Write results/<suite>/report/."""
    with atomic_folder(Path(job.outputs[0])) as folder:
        write_report(folder, gather(job, suite))


def gather(job: Job, suite: Suite) -> Content:
    """What earlier stages wrote, of every run whose data could be had."""
    had = {name: run for name, run in suite.runs.items() if not no_data(run.dataset).exists()}
    views = {name: _views(Path(VIEWS.format(run=name))) for name in had}
    datasets = list(dict.fromkeys(run.dataset for run in had.values()))
    images = {}
    for dataset in datasets:
        paths = [Path(path.format(dataset=dataset)) for path in (INDEX, STORE)]
        rows = select_thumbnails([views[n] for n in had if had[n].dataset == dataset], len(datasets))
        images[dataset] = Images(dataset, *read_images(*paths), rows)
    return Content(
        suite,
        cells=_cells(Path(TABLE_CSV.format(suite=suite.suite))),
        comparisons=read_comparisons(Path(COMPARISONS.format(suite=suite.suite))),
        histories={name: read_history(Path(HISTORY.format(run=name))) for name in had},
        metrics={name: read_metrics(Path(METRICS.format(run=name))) for name in had},
        tables={path.name: path.read_bytes() for path in map(Path, job.inputs[: len(job.stage.inputs)])},
        kernels={name: _kernels(run, job.settings) for name, run in had.items()},
        lineages=lineages(list(had), job.settings),
        views=views,
        images=images,
    )


def _kernels(run: Run, settings: Settings) -> str:
    record = believed(job_of("train", run.name, settings))
    return kernels_of(record, run) if record else ""


def _cells(path: Path) -> pd.DataFrame:
    try:
        return read_cells(path)
    except ConfigError as error:
        raise DamagedInputError(path, maker(str(path)), error) from error


def _views(path: Path) -> dict[str, Any]:
    with reading(path):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(found[name], dict) for name in ("samples", "tree", "galleries")):
            raise ValueError("it holds no samples, no tree or no galleries")
        return found
