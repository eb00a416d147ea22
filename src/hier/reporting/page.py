"""The page: the graded table, how each run was trained, and its settings. Opens from disk."""

from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from hier.config.suite import Suite
from hier.provenance.verify import GRADES
from hier.reporting.curves import training_curves
from hier.reporting.table import best_in_words, counts_in_words, wide

# Of a run's settings, what changes no figure: two machines give the same page.
CHANGE_NOTHING = {"runtime": {"workers"}}


def render(
    suite: Suite,
    cells: pd.DataFrame,
    histories: dict[str, pd.DataFrame],
    metrics: dict[str, dict[str, Any]],
) -> str:
    """results/report/index.html as text: one file, no script, no request, names escaped."""
    environment = Environment(
        loader=PackageLoader("hier.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    measures = list(dict.fromkeys(cells["measure"]))
    runs = [
        {
            "name": name,
            "metrics": metrics[name],
            "curves": training_curves(histories[name]) if len(histories[name]) else "",
            "settings": yaml.safe_dump(run.model_dump(exclude=CHANGE_NOTHING), sort_keys=False),
        }
        for name, run in suite.runs.items()
        if name in metrics
    ]
    return environment.get_template("page.html.j2").render(
        suite=suite.suite,
        datasets={name: d.model_dump() for name, d in suite.datasets.items()},
        measures=measures,
        rows=wide(cells).to_dict("records"),
        best=wide(cells).groupby("dataset")[measures].max().to_dict("index"),
        sentences=[*best_in_words(cells), counts_in_words(cells)],
        published=cells[cells["paper"].notna()].to_dict("records"),
        grades=GRADES,
        runs=runs,
    )
