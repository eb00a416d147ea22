"""dvc.yaml: the pipeline as DVC sees it, with what it draws."""

from pathlib import Path
from typing import Any

from hier import yaml12
from hier.config.params import place
from hier.pipeline import DISK, HISTORY, METRICS, STAGES, Stage, gathered

DVC_YAML = Path("dvc.yaml")


def _kept(path: str, in_git: bool = False) -> dict[str, Any]:
    """An output that DVC leaves in place when it calls the stage, which may find it current.

    Args:
        in_git: git keeps its bytes, and DVC only their hash.
    """
    return {path: {"persist": True, **({"cache": False} if in_git else {})}}


def dvc_yaml(params: dict[str, Any]) -> str:
    """dvc.yaml as text: a foreach over params.yaml's datasets and runs.

    DVC cannot take a list of dependencies from params.yaml, so the two stages that gather all runs
    list them; that is why the file is written by `hier compose` together with params.yaml. A
    stage's record is an output, so that dvc.lock holds its hash and `dvc pull` brings it along.

    Args:
        params: datasets and runs with their settings, as `hier.config.params.raw` gives them.
    """
    stages: dict[str, Any] = {}
    for stage in STAGES.values():
        # DVC's names: of a list's items, of a mapping's keys (runs) and values (their datasets).
        names = {"run": "${key}", "dataset": "${item}"}
        key = names.get(stage.each, "")
        taken = gathered(stage, params["datasets"], params["runs"])
        outs: list[Any] = [
            _kept(path.format(**names), path in stage.in_git) for path in stage.outputs
        ]
        record = _kept(stage.record.format(**names))
        body: dict[str, Any] = {
            "cmd": stage.command(key),
            "deps": [
                *(path.format(**names) for path in stage.inputs),
                *taken,
                *stage.versioned(),
            ],
        }
        if stage.params:
            body["params"] = _by_file(stage, names)
        measured = [out for out in outs if METRICS.format(**names) in out]
        if measured:
            body["metrics"] = measured
        body["outs"] = [*(out for out in outs if out not in measured), record]
        foreach = {"foreach": f"${{{stage.each}s}}", "do": body}
        stages[stage.name] = body if stage.each == "suite" else foreach
    head = "# Written by `hier compose` from src/hier/pipeline.py and the runs in params.yaml; do not edit.\n"
    return head + yaml12.dump({"stages": stages, "plots": _plots(params)})


def _by_file(stage: Stage, names: dict[str, str]) -> list[dict[str, list[str]]]:
    """The keys that a stage depends on, file by file."""
    found: dict[str, list[str]] = {}
    for path, key in (place(template.format(**names)) for template in stage.params):
        found.setdefault(str(path), []).append(key)
    return [{path: keys} for path, keys in found.items()]


def _plots(params: dict[str, Any]) -> list[dict[str, Any]]:
    """What `dvc plots show` draws: loss and, where training looked at it, recall over the epochs; and
    each run's hierarchy as a picture."""
    trained = {name: run for name, run in params["runs"].items() if run["schedule"]["epochs"]}
    looked = {name: run for name, run in trained.items() if run["protocol"]["test_every"]}
    column = {"held_out": "held-out R@1"}
    curves = {
        "loss": dict.fromkeys(trained, "loss"),
        "recall": {n: column.get(r["protocol"]["choose"], "test R@1") for n, r in looked.items()},
    }
    plots: list[dict[str, Any]] = [
        {
            title: {
                "x": "epoch",
                "y": {HISTORY.format(run=name): value for name, value in y.items()},
                "title": f"{title} while training",
            }
        }
        for title, y in curves.items()
        if y
    ]
    return plots + [{DISK.format(run=name): None} for name in params["runs"]]
