"""dvc.yaml: the pipeline as DVC sees it, with what it draws."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hier import yaml12
from hier.config.settings import Settings, by_file
from hier.files.atomic import write_text
from hier.git import has_conflict
from hier.jobs import job
from hier.pipeline import DISK, HISTORY, METRICS, STAGES, Stage
from hier.results.measures import HEADLINE

DVC_YAML = Path("dvc.yaml")


def _kept(path: str, in_git: bool = False) -> dict[str, Any]:
    """An output that DVC leaves in place when it calls the stage, which may find it current; of one
    that git keeps, DVC has only the hash."""
    return {path: {"persist": True, **({"cache": False} if in_git else {})}}


def dvc_yaml(settings: Settings) -> str:
    """dvc.yaml as text: a foreach over params.yaml's datasets and runs, and the stages of each suite. DVC
    cannot take a list of dependencies from params.yaml, so the stages of a suite list them, each under a name
    of its own. A stage's record is an output, so that `dvc pull` brings it along."""
    head = "# Written by `hier compose` from src/hier/pipeline.py and the runs in params.yaml; do not edit.\n"
    return head + yaml12.dump({"stages": _stages(settings), "plots": _plots(settings)})


def why_unusable(settings: Settings) -> str | None:
    """Why DVC can enter no result of a suite by the dvc.yaml that is here, with the line; else None. Nothing
    is said of one that is missing, nor of stages and plots that a user has added."""
    if not DVC_YAML.exists():
        return None
    if not DVC_YAML.is_file():
        return f"{DVC_YAML} is no regular file"
    text = DVC_YAML.read_text(encoding="utf-8", errors="replace")
    if has_conflict(text):
        return f"{DVC_YAML} has git's conflict markers"
    try:
        found = yaml12.read(DVC_YAML)
    except yaml12.Error as error:
        return f"{DVC_YAML} {error}"
    there = found.get("stages") if isinstance(found, dict) else None
    if not isinstance(there, dict):
        return f"{DVC_YAML} has no stages"
    for name, stage in _stages(settings).items():
        if name not in there:
            return f"{DVC_YAML} has no stage {name}"
        if there[name] != stage:
            line = text[: text.index(f"{name}:")].count("\n") + 1 if f"{name}:" in text else 1
            return f"{DVC_YAML}: stage {name} (line {line}) is not as `hier compose` writes it"
    return None


def bring_up_to_date(settings: Settings) -> None:
    """Write dvc.yaml anew where a stage of a suite is not as it should be, which it no longer is once the
    suite has a reference; else leave it as it is."""
    if why_unusable(settings):
        write_text(DVC_YAML, dvc_yaml(settings))


def _stages(settings: Settings) -> dict[str, Any]:
    stages: dict[str, Any] = {
        stage.name: {"foreach": f"${{{stage.scope}s}}", "do": _template(stage)}
        for stage in STAGES.values()
        if stage.scope != "suite"
    }
    for suite in settings.suites:
        for stage in STAGES.values():
            if stage.scope == "suite":
                made = job(stage.name, suite, settings)
                deps = (*made.inputs, *made.code_paths)
                stages[made.dvc_name] = _body(stage, suite, deps, {"suite": suite})
    return stages


def _template(stage: Stage) -> dict[str, Any]:
    """A stage of each dataset or run: DVC fills in its name (`key`) and what params.yaml says of it."""
    names = _Choices({stage.scope: "${key}"})
    deps = [path.format_map(names) for path in (*stage.inputs, *stage.read_from_git())]
    return _body(stage, "${key}", deps, names)


class _Choices(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f"${{item.{name}}}"


def _body(stage: Stage, key: str, deps: Iterable[str], names: Mapping[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {"cmd": stage.command(key), "deps": [*deps]}
    if stage.params:
        files = by_file(dict.fromkeys(stage.params))
        body["params"] = [{path.format_map(names): [*keys]} for path, keys in files.items()]
    outs = {path: _kept(path.format_map(names), path in stage.in_git) for path in stage.outputs}
    if METRICS in outs:
        body["metrics"] = [outs.pop(METRICS)]
    body["outs"] = [*outs.values(), _kept(stage.record.format_map(names))]
    return body


def _plots(settings: Settings) -> list[dict[str, Any]]:
    """What `dvc plots show` draws: loss and, where training looked at it, recall over the epochs; and
    each run's hierarchy as a picture."""
    trained = {name: run for name, run in settings.runs.items() if run["schedule"]["epochs"]}
    recall = {}
    for name, run in trained.items():
        side = "held-out" if run["protocol"]["choose"] == "held_out" else "test"
        if run["protocol"]["test_every"]:
            recall[name] = f"{side} {HEADLINE}"
    curves = {"loss": dict.fromkeys(trained, "loss"), "recall": recall}
    plots: list[dict[str, Any]] = []
    for title, columns in curves.items():
        y = {HISTORY.format(run=name): column for name, column in columns.items()}
        if y:
            plots.append({title: {"x": "epoch", "y": y, "title": f"{title} while training"}})
    suites = settings.suites.items()
    return plots + [{DISK.format(suite=s, run=name): None} for s, runs in suites for name in runs]
