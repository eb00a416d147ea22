"""The way of a run's figures back to the archive, as plain data for its page.

It says what does not vary from one run of the same work to the next: files and their hashes,
settings, code, packages, origins. Times and machines stand in the records (`hier trace RUN`).
"""

from typing import Any

from hier.audit.audit import ByRecords
from hier.audit.lineage import AS_RECORDED, File, Origin, Step, Trace, trace
from hier.reporting.terminal.lineage import whence

Node = dict[str, Any]


def lineages(runs: list[str], params: dict[str, Any]) -> dict[str, Node]:
    """By run, the file of its figures with the step that made it, whose inputs are such files again.

    A step that is met a second time is only named (`told`).
    """
    audit = ByRecords(params)
    return {run: lineage(trace(run, params, audit)) for run in runs}


def lineage(found: Trace) -> Node:
    """A trace of one run as nested files and steps."""
    start = found.steps[found.start]
    (file,) = (file for file in start.outputs if file.path in found.wanted)
    return _file(file, found, set())


def _file(file: File, found: Trace, told: set[str]) -> Node:
    maker = found.makers.get(file.path)
    node: Node = {
        "path": file.path,
        "sha256": file.digest.get("sha256"),
        "size": file.digest.get("size"),
        "state": file.state,
        "as_recorded": file.state == AS_RECORDED,
        "maker": maker,
        "step": None,
    }
    if maker and maker not in told:
        told.add(maker)
        node["step"] = _step(found.steps[maker], found, told)
    return node


def _step(step: Step, found: Trace, told: set[str]) -> Node:
    record = step.record or {"key": None, "versioned": {}, "packages": {}}
    # The run's own files first, so that the dataset is told of at the training.
    files = sorted(step.inputs, key=lambda file: not file.path.startswith("runs/"))
    return {
        "name": step.job.name,
        "command": step.job.command,
        "record": str(step.job.record),
        "current": step.standing == "current",
        "reason": step.reason,
        "key": record["key"],
        "settings": step.settings,
        "code": {path: digest.get("sha256") for path, digest in record["versioned"].items()},
        "packages": record["packages"],
        "origins": [_origin(origin) for origin in step.origins],
        "inputs": [_file(file, found, told) for file in files],
    }


def _origin(origin: Origin) -> Node:
    return {
        "name": origin.name,
        "sha256": origin.sha256,
        "size": origin.size,
        "kept": origin.kept,
        "lines": whence(origin),
    }
