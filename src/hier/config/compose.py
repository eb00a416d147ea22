"""From the groups of conf/ to the resolved runs of a suite.

A suite (conf/suite/<name>.yaml) is a matrix of runs (matrix.py). Every run is laid together from the
groups that it chooses (groups.py); then come the overrides that it fits (overrides.py).
"""

import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pydantic import ValidationError

from hier.config.groups import Groups, plain
from hier.config.keys import did_you_mean, keys
from hier.config.matrix import Cell, Matrix
from hier.config.overrides import apply, has, is_for, left_as_they_are, misfits, scope_of, split
from hier.config.suite import Suite, one_line, parse
from hier.errors import ConfigError

CONF = Path("conf")


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def compose(
    overrides: Iterable[str] = (), conf: Path = CONF, say: Callable[[str], None] = _to_stderr
) -> Suite:
    """Compose a suite and check it. UnknownNameError is of a suite, dataset, backbone, recipe or method
    without a file in conf/, ConfigError of a key that no run has, a wrong value, an override that fits none.
    A run that an override does not fit (see `misfits`) stays as it is, and `say` is told so."""
    axes, settings = split(overrides)
    with Groups(conf) as groups:
        matrix = _matrix(axes, groups)
        cells = matrix.cells(axes)
        applied = _Applied()
        data = _data(matrix.suite, cells, settings, applied, groups)
        if nowhere := applied.left.keys() - applied.used:  # what is wrong there, the schema says
            data = _data(matrix.suite, cells, settings, _Applied(required=nowhere), groups)
    given = settings + ([] if "methods" in axes else matrix.presets())
    if unused := [text for text in given if text not in applied.used | nowhere]:
        raise _no_such_key(unused[0], data)
    suite = parse(data, "hier compose")
    for text, left in applied.left.items():
        say(left_as_they_are(text, left))
    return suite


@dataclass
class _Applied:
    """What became of the overrides of single settings."""

    required: Collection[str] = ()  # those that a run must take, whether they fit it or not
    used: set[str] = field(default_factory=set)  # those that some run has
    left: dict[str, dict[str, str]] = field(default_factory=dict)  # why not, by run


def _matrix(axes: dict[str, Any], groups: Groups) -> Matrix:
    suite = str(axes.get("suite", "demo"))
    data = plain(groups.file("suite", suite))
    try:
        return Matrix.model_validate(data).with_axes(axes)
    except ValidationError as error:
        raise ConfigError(one_line(error, f"{groups.conf}/suite/{suite}.yaml", Matrix)) from error


def _data(
    suite: str, cells: list[Cell], settings: list[str], applied: _Applied, groups: Groups
) -> dict[str, Any]:
    """A suite as plain data."""
    datasets: dict[str, Any] = {}
    runs: dict[str, Any] = {}
    for cell in cells:
        config = _run(cell, settings, applied, groups)
        name, dataset = _name(config), config["dataset"]
        if name in runs:
            raise ConfigError(f"suite {suite} has two runs called {name}")
        if datasets.setdefault(dataset["name"], dataset) != dataset:
            other = f"other settings of dataset {dataset['name']} than the runs before it"
            raise ConfigError(f"run {name} has {other}; a suite has one setting of each dataset")
        runs[name] = config | {"dataset": dataset["name"]}
    return {"suite": suite, "datasets": datasets, "runs": runs}


def _run(cell: Cell, settings: list[str], applied: _Applied, groups: Groups) -> dict[str, Any]:
    """One run, composed, with those of `settings` that apply to it and fit it."""
    config = groups.run(cell.groups | groups.of_method(cell.method))
    if "seed" not in config:
        raise ConfigError(f"{groups.conf}/run.yaml: seed: is missing")
    config.seed = cell.seed
    for text in cell.presets:
        if has(config, text):
            apply(config, text)
            applied.used.add(text)
    method = {"method": cell.shown}
    name = _name(plain(config) | method)
    own = [text for text in settings if is_for(text, name, config)]

    def with_(texts: Collection[str]) -> dict[str, Any]:
        changed = config.copy()
        for text in texts:
            apply(changed, text)
        return plain(changed) | method | {"dataset": cell.groups["dataset"]}

    wrong = misfits(own, with_) if own else {}
    for text in own:
        if text in wrong and text not in applied.required:
            applied.left.setdefault(text, {})[name] = wrong[text]
        else:
            apply(config, text)
            applied.used.add(text)
    for group in ("dataset", "backbone"):
        chosen = config[group]
        if not (isinstance(chosen, DictConfig) and "name" in chosen):
            raise ConfigError(f"an override leaves run {name} without {group}.name")
    return plain(config) | method


def _no_such_key(text: str, suite: dict[str, Any]) -> ConfigError:
    pattern, setting = scope_of(text)
    names, datasets = [*suite["runs"]], suite["datasets"]
    none = f"override '{text}': no run of suite {suite['suite']} has"
    if not any(fnmatchcase(name, pattern) for name in names):
        there = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        return ConfigError(f"{none} a name like '{pattern}' (it has {there})")
    runs = [{**run, "dataset": datasets[run["dataset"]]} for run in suite["runs"].values()]
    near = did_you_mean(setting.split("=", 1)[0], sorted(set().union(*map(keys, runs))), 0.8)
    return ConfigError(f"{none} such a key{near}")


def _name(run: dict[str, Any]) -> str:
    """A run's name from plain data, before it is checked (see Run.name)."""
    dataset, backbone, method = run["dataset"]["name"], run["backbone"], run["method"]
    dim = run["head"].get("dim") if run.get("head") else backbone["features"]
    return f"{dataset}-{method}-{backbone['name']}-{dim}-s{run['seed']}"
