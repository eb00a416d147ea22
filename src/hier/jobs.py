"""Stages applied to the datasets, runs and suites that were composed."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hier.config.settings import Settings, choices_of_dataset, choices_of_run
from hier.pipeline import STAGES, Scope, Stage


@dataclass(frozen=True)
class Job:
    """A stage applied to one dataset, run or suite: concrete paths, and the settings that it uses."""

    stage: Stage
    key: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    code_paths: tuple[str, ...]
    settings: Settings = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The name of its record and lock, such as `train@demo-hier-test_resnet-64-s0`."""
        return f"{self.stage.name}@{self.key}"

    @property
    def dvc_name(self) -> str:
        """Its name in dvc.yaml, where only what a foreach makes can have an @."""
        return self.name.replace("@", "-") if self.stage.scope == "suite" else self.name

    @property
    def command(self) -> str:
        return self.stage.command(self.key)

    @property
    def record(self) -> Path:
        return Path(self.stage.record.format(**{self.stage.scope: self.key}))

    @property
    def params(self) -> dict[str, Any]:
        """The settings that its outputs follow from, by dotted keys."""
        names = _names(self.stage.scope, self.key, self.settings)
        return {key: self.settings.select(key) for key in _filled(self.stage.params, [names])}

    @property
    def suites(self) -> list[str]:
        """The suites that it is a part of."""
        if self.stage.scope == "suite":
            return [self.key]
        runs = self.settings.runs
        own = {name for name in runs if self.key in (name, runs[name]["dataset"])}
        return [suite for suite, names in self.settings.suites.items() if own & {*names}]

    @property
    def in_git(self) -> tuple[str, ...]:
        """The outputs that git keeps."""
        named = zip(self.outputs, self.stage.outputs, strict=True)
        return tuple(path for path, template in named if template in self.stage.in_git)


def no_data(dataset: str) -> Path:
    """The note that `hier download` leaves where a dataset could not be had: one line, why. While it is
    there, the dataset's runs are left out of the suite."""
    return Path(f"data/{dataset}/no-data.txt")


def jobs(settings: Settings) -> Iterator[Job]:
    """Every job whose data can be had, in an order in which they can run."""
    keys = {"dataset": settings.datasets, "run": settings.runs, "suite": settings.suites}
    for stage in STAGES.values():
        for key in keys[stage.scope]:
            dataset = settings.runs[key]["dataset"] if stage.scope == "run" else key
            if stage.scope == "suite" or not no_data(dataset).exists():
                yield job(stage.name, key, settings)


def job(name: str, key: str, settings: Settings) -> Job:
    """The job of stage `name` for the dataset, run or suite `key`."""
    stage = STAGES[name]
    names = [_names(stage.scope, key, settings)]
    members = _members(key, settings) if stage.scope == "suite" else names
    inputs = (*_filled(stage.inputs, names), *_filled(stage.fan_in, members))
    outputs, code = _filled(stage.outputs, names), _filled(stage.read_from_git(), members)
    there = filter(os.path.exists, _filled(stage.references, names))
    return Job(stage, key, inputs, outputs, (*code, *there), settings)


def jobs_of(run: str, settings: Settings) -> list[Job]:
    """The jobs of a run, in order, those of its dataset first."""
    keys = {"dataset": settings.runs[run]["dataset"], "run": run}
    return [job(s.name, keys[s.scope], settings) for s in STAGES.values() if s.scope in keys]


def _names(scope: Scope, key: str, settings: Settings) -> dict[str, str]:
    """What stands for the names in the paths of a job."""
    if scope == "suite":
        return {"suite": key}
    if scope == "run":
        return {"run": key, **choices_of_run(settings.runs[key])}
    return {"dataset": key, **choices_of_dataset(settings.datasets[key])}


def _members(suite: str, settings: Settings) -> list[dict[str, str]]:
    """The same of each run of a suite whose data can be had, with its dataset."""
    found = []
    for run in settings.suites[suite]:
        own = {"suite": suite} | _names("run", run, settings)
        if not no_data(own["dataset"]).exists():
            found.append(_names("dataset", own["dataset"], settings) | own)
    return found or [{"suite": suite}]


def _filled(templates: Iterable[str], names: list[dict[str, str]]) -> tuple[str, ...]:
    """Paths or keys with each set of names in them; those that need a name that there is not, left out."""
    found = []
    for template in templates:
        for own in names:
            with suppress(KeyError):
                found.append(template.format(**own))
    return tuple(dict.fromkeys(found))


def maker(path: str) -> str:
    """The command that makes `path`, in words."""
    for stage in STAGES.values():
        for output in stage.outputs:
            before, _, after = output.partition("{" + stage.scope + "}")
            if path.startswith(before) and path.endswith(after):
                return stage.command(path.removeprefix(before).removesuffix(after))
    return f"git checkout {path}"
