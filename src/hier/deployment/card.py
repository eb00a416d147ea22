"""The model card of a package: what it is for, how good it is, how it is used, where it is from.

Whatever lies around the run's folder is told: its metrics, the graded table of its suite, and what
conf/dataset/ says of the images. What is not there is said to be unknown.
"""

import csv
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hier import __version__
from hier.deployment.stored import Stored
from hier.results.measures import TREES, values

METRICS = "metrics.json"
TREE_NAMES = {"proxies": "tree of proxies", "clustering": "clustering of images"}


@cache
def templates() -> Environment:
    """The templates of this room; a name that one lacks is an error."""
    return Environment(
        loader=PackageLoader("hier.deployment", "templates"), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        autoescape=lambda name: bool(name and ".html" in name),
    )  # fmt: skip


def card(stored: Stored, head: dict[str, Any], proxies: int) -> str:
    """README.md of a package; `head` is what its head.json says."""
    record = stored.record
    metrics, data = _metrics(stored), dataset_of(stored)
    figures = _figures(stored, metrics)
    told = {
        "front": _front(stored, figures, data), "stored": stored, "head": head, "proxies": proxies,
        "version": __version__, "data": data, "about_data": _about_data(stored, data), "figures": figures,
        "trees": _trees(metrics), "record": record, "sha256": stored.digest.sha256,
    }  # fmt: skip
    return templates().get_template("card.md.j2").render(told)


def dataset_of(stored: Stored) -> str:
    """The dataset that a run is of, by its record or else by its name."""
    keys = (stored.record or {}).get("params", {})
    named = (key.split(".")[1] for key in keys if key.startswith("datasets."))
    return next(named, stored.run.partition("-")[0])


def _front(stored: Stored, figures: list[dict[str, str]], data: str) -> str:
    """The metadata in the card's head, as the hub reads them."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="image-retrieval", task_name="Image retrieval", dataset_type=data, dataset_name=data,
            dataset_split="test", metric_type="recall" if each["name"].startswith("R@") else "retrieval",
            metric_name=each["name"], metric_value=float(each["value"]),
        )
        for each in figures
    ]  # fmt: skip
    pretrained = f"timm/{stored.backbone.timm}" if stored.backbone.weights else None
    found = ModelCardData(
        model_name=stored.run, library_name="timm", pipeline_tag="image-feature-extraction",
        license="other", license_name="unknown", base_model=pretrained, eval_results=results or None,
        tags=["timm", "onnx", "metric-learning", "image-retrieval", "hyperbolic"],
    )  # fmt: skip
    return found.to_yaml()


def _metrics(stored: Stored) -> dict[str, Any]:
    """The metrics beside a model, nothing where there are none.

    Raises TamperedError: their record contradicts them."""
    stored.vouched(METRICS, "evaluate.record.json")
    with suppress(OSError, ValueError):
        found = json.loads((stored.folder / METRICS).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _figures(stored: Stored, metrics: dict[str, Any]) -> list[dict[str, str]]:
    """A row per measure: its name, value, the mean and tolerance of reference runs, and grade; "" where one
    is unknown."""
    graded, rows = _graded(stored), []
    with suppress(ValueError):
        for name, value in values(metrics).items():
            row = graded.get(name, {})
            told = {"reference": _reference(row), "grade": row.get("grade", "")}
            rows.append({"name": name, "value": f"{value:.2f}", **told})
    return rows


def _reference(row: dict[str, str]) -> str:
    """The mean of the reference runs' seeds, and what one further seed may differ by."""
    mean, tolerance = row.get("mean", ""), row.get("tolerance", "")
    return f"{float(mean):.2f} ± {float(tolerance):.2f}" if mean and tolerance else ""


def _graded(stored: Stored) -> dict[str, dict[str, str]]:
    """By measure, the rows of the first table of the project's suites that has the run."""
    for path in sorted(_project(stored).glob("results/*/table.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row.get("run") == stored.run]
        if rows:
            return {row["measure"]: row for row in rows}
    return {}


def _trees(metrics: dict[str, Any]) -> list[dict[str, str]]:
    """A row per tree and measure: tree, name, value, and its 95 % interval."""
    rows = []
    hierarchy = metrics.get("hierarchy", {})
    for tree, title in TREE_NAMES.items():
        for measure in TREES[:2]:
            found = hierarchy.get(tree, {}).get(measure.key, {})
            for name, each in found.items() if measure.family else [("", found)] if found else []:
                shown = {key: f"{each[key]:.{measure.digits}f}" for key in ("value", "low", "high")}
                rows.append({"tree": title, "name": measure.name(name), **shown})
    return rows


def _about_data(stored: Stored, data: str) -> list[str]:
    """What the head of conf/dataset/<name>.yaml says: source, licence, what is measured."""
    path = _project(stored) / f"conf/dataset/{data}.yaml"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [line.lstrip("# ").rstrip() for line in lines if line.startswith("#")]


def _project(stored: Stored) -> Path:
    """The folder in which `runs/` lies."""
    return stored.folder.absolute().parents[1]
