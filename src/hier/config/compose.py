"""From the groups of conf/ to the resolved runs of a suite.

A suite (conf/suite/<name>.yaml) is a matrix of runs (matrix.py). Every run is laid together from the
groups that it chooses (groups.py); then come the values that are swept (sweep.py), and the overrides that it
fits (overrides.py).
"""

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from itertools import groupby, product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pydantic import ValidationError

from hier.config.groups import Groups, plain
from hier.config.keys import did_you_mean, keys
from hier.config.matrix import Cell, Matrix
from hier.config.overrides import (
    SWEEP,
    apply,
    both_set,
    has,
    is_for,
    left_as_they_are,
    misfits,
    override_of,
    scope_of,
    split,
    sweep_of,
)
from hier.config.suite import Suite, one_line, parse
from hier.config.sweep import Sweep, labelled
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
    axes, sweep, settings = split(overrides)
    with Groups(conf) as groups:
        matrix = _matrix(axes, sweep, groups)
        _refuse_both(matrix, axes, settings)
        cells = matrix.cells(axes)
        applied = _Applied()
        data = _data(matrix, cells, settings, applied, groups)
        if nowhere := applied.left.keys() - applied.used:  # what is wrong there, the schema says
            data = _data(matrix, cells, settings, _Applied(required=nowhere), groups)
    given = settings + [sweep_of(*each) for each in sweep.items()]
    given += [] if "methods" in axes else matrix.presets() + _sweeps(matrix)
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
    swept: set[str] = field(default_factory=set)  # the keys of which some run takes several values
    methods: dict[str, str] = field(default_factory=dict)  # what each that is shown is made of


def _matrix(axes: dict[str, Any], sweep: Sweep, groups: Groups) -> Matrix:
    suite = str(axes.get("suite", "demo"))
    data = plain(groups.file("suite", suite))
    try:
        return Matrix.model_validate(data).with_axes(axes, sweep)
    except ValidationError as error:
        raise ConfigError(one_line(error, f"{groups.conf}/suite/{suite}.yaml", Matrix)) from error


def _sweeps(matrix: Matrix) -> list[str]:
    """What the blocks sweep, as overrides."""
    return [sweep_of(*each) for block in matrix.matrix for each in block.sweep.items()]


def _refuse_both(matrix: Matrix, axes: dict[str, Any], settings: list[str]) -> None:
    """ConfigError where an override, or one of a variant, sets what a sweep does: which was meant is the
    user's to say."""
    dim = [override_of("dim", axes["dim"])] if "dim" in axes else []
    for block in matrix.matrix:
        own = [text for texts in block.variants.values() for text in texts]
        for key, values in block.sweep.items():
            both = [text for text in [*settings, *own] if both_set(text, key)]
            both += dim if key == "head.dim" else []
            if both:
                one, other = both[0], sweep_of(key, values)
                raise ConfigError(f"override '{one}' sets what '{other}' sweeps; leave one of them out")


def _data(
    matrix: Matrix, cells: list[Cell], settings: list[str], applied: _Applied, groups: Groups
) -> dict[str, Any]:
    """A suite as plain data."""
    suite = matrix.suite
    datasets: dict[str, Any] = {}
    runs: dict[str, Any] = {}
    for cell in _spread(matrix, cells, settings, applied, groups):
        config = _run(cell, settings, applied, groups)
        name, dataset = _name(config), config["dataset"]
        if name in runs:
            raise ConfigError(f"suite {suite} has two runs called {name}")
        if datasets.setdefault(dataset["name"], dataset) != dataset:
            other = f"other settings of dataset {dataset['name']} than the runs before it"
            raise ConfigError(f"run {name} has {other}; a suite has one setting of each dataset")
        runs[name] = config | {"dataset": dataset["name"]}
    swept = [key for key in matrix.swept() if key in applied.swept]
    return {"suite": suite, "datasets": datasets, "runs": runs, "swept": swept}


def _spread(
    matrix: Matrix, cells: list[Cell], settings: list[str], applied: _Applied, groups: Groups
) -> Iterator[Cell]:
    """Each cell once for each value of the keys that its run takes, and all seeds of these together."""
    for _, alike in groupby(cells, lambda cell: cell._replace(seed=0)):
        seeds = [*alike]
        taken = _taken(seeds, settings, applied, groups) if seeds[0].sweep else []
        for values in _crossed(seeds[0], taken):
            method = labelled(seeds[0].shown, values, matrix.swept())
            own = [override_of(*each) for each in values.items()]
            made_of = " with ".join([seeds[0].shown, *own])
            if (other := applied.methods.setdefault(method, made_of)) != made_of:
                raise ConfigError(f"suite {matrix.suite} has two methods called {method}: {other}, {made_of}")
            yield from (cell._replace(shown=method, presets=[*cell.presets, *own]) for cell in seeds)


def _crossed(cell: Cell, keys: list[str]) -> Iterator[dict[str, Any]]:
    """The values of keys that a cell's block sweeps, one with another."""
    for values in product(*(cell.sweep[key] for key in keys)):
        yield dict(zip(keys, values, strict=True))


def _taken(seeds: list[Cell], settings: list[str], applied: _Applied, groups: Groups) -> list[str]:
    """The keys that their block sweeps and their runs, which differ in the seed alone, take: those that they
    have, unless no value fits them (see `misfits`)."""
    cell = seeds[0]
    config = _base(cell, set(), groups)
    had = [key for key in cell.sweep if has(config, key)]
    reasons = []
    for values in _crossed(cell, had):
        texts = {key: override_of(key, value) for key, value in values.items()}
        name = _name_of(config, cell)
        own = [text for text in settings if is_for(text, name, config)]
        wrong = misfits([*texts.values(), *own], partial(_with, config, cell))
        reasons.append({key: wrong[text] for key, text in texts.items() if text in wrong})
    left = {key for key in had if all(key in each for each in reasons)}
    left = {key for key in left if sweep_of(key, cell.sweep[key]) not in applied.required}
    for key in had:
        text = sweep_of(key, cell.sweep[key])
        if key in left:
            for one in seeds:
                applied.left.setdefault(text, {})[_name_of(config, one)] = reasons[0][key]
        else:
            applied.used.add(text)
            applied.swept.add(key)
    return [key for key in had if key not in left]


def _run(cell: Cell, settings: list[str], applied: _Applied, groups: Groups) -> dict[str, Any]:
    """One run, composed, with those of `settings` that apply to it and fit it."""
    config = _base(cell, applied.used, groups)
    name = _name_of(config, cell)
    own = [text for text in settings if is_for(text, name, config)]
    wrong = misfits(own, partial(_with, config, cell)) if own else {}
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
    return plain(config) | {"method": cell.shown}


def _base(cell: Cell, used: set[str], groups: Groups) -> DictConfig:
    """A run's groups with the overrides of its block that it has, which are added to `used`."""
    config = groups.run(cell.groups | groups.of_method(cell.method))
    if "seed" not in config:
        raise ConfigError(f"{groups.conf}/run.yaml: seed: is missing")
    config.seed = cell.seed
    for text in cell.presets:
        if has(config, text):
            apply(config, text)
            used.add(text)
    return config


def _with(config: DictConfig, cell: Cell, texts: Collection[str]) -> dict[str, Any]:
    """A run as plain data, with some overrides."""
    changed = config.copy()
    for text in texts:
        apply(changed, text)
    return plain(changed) | {"method": cell.shown, "dataset": cell.groups["dataset"]}


def _no_such_key(text: str, suite: dict[str, Any]) -> ConfigError:
    pattern, setting = scope_of(text)
    names, datasets = [*suite["runs"]], suite["datasets"]
    none = f"override '{text}': no run of suite {suite['suite']} has"
    if not any(fnmatchcase(name, pattern) for name in names):
        there = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        return ConfigError(f"{none} a name like '{pattern}' (it has {there})")
    runs = [{**run, "dataset": datasets[run["dataset"]]} for run in suite["runs"].values()]
    key = setting.split("=", 1)[0].removeprefix(SWEEP)
    near = did_you_mean(key, sorted(set().union(*map(keys, runs))), 0.8)
    return ConfigError(f"{none} such a key{near}")


def _name_of(config: DictConfig, cell: Cell) -> str:
    return _name(plain(config) | {"method": cell.shown, "seed": cell.seed})


def _name(run: dict[str, Any]) -> str:
    """A run's name from plain data, before it is checked (see Run.name)."""
    dataset, backbone, method = run["dataset"]["name"], run["backbone"], run["method"]
    dim = run["head"].get("dim") if run.get("head") else backbone["features"]
    return f"{dataset}-{method}-{backbone['name']}-{dim}-s{run['seed']}"
