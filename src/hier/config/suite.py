"""What params.yaml is: the datasets and runs of one suite, fully resolved."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from hier.config.base import Strict
from hier.config.dataset import Dataset
from hier.config.run import Run
from hier.errors import ConfigError, MissingInputError, UnknownNameError

PARAMS = Path("params.yaml")


class Suite(Strict):
    """A named set of runs and the datasets that they need."""

    suite: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
    datasets: dict[str, Dataset]
    runs: Annotated[dict[str, Run], Field(min_length=1)]

    @model_validator(mode="after")
    def names_agree(self) -> Self:
        for key, run in self.runs.items():
            if key != run.name:
                raise ValueError(f"run {key} has the settings of {run.name}")
            if run.dataset not in self.datasets:
                raise ValueError(f"run {key} needs dataset {run.dataset}, which is not listed")
        for key, dataset in self.datasets.items():
            if key != dataset.name:
                raise ValueError(f"dataset {key} calls itself {dataset.name}")
        return self

    def run(self, name: str) -> Run:
        if name not in self.runs:
            raise UnknownNameError("run", name, list(self.runs))
        return self.runs[name]

    def dataset(self, name: str) -> Dataset:
        if name not in self.datasets:
            raise UnknownNameError("dataset", name, list(self.datasets))
        return self.datasets[name]


def only(suite: Suite, **chosen: tuple[str, ...]) -> Suite:
    """The runs of the chosen datasets, methods and backbones; an empty choice means all.

    Raises:
        UnknownNameError: the suite has no such dataset, method or backbone.
    """
    runs = suite.runs
    for kind, names in chosen.items():
        known = list(dict.fromkeys(_name(run, kind) for run in suite.runs.values()))
        for name in names:
            if name not in known:
                raise UnknownNameError(f"{kind} of suite {suite.suite}:", name, known)
        runs = {key: run for key, run in runs.items() if not names or _name(run, kind) in names}
    if not runs:
        raise ConfigError(f"suite {suite.suite} has no run of that dataset, method and backbone")
    needed = {run.dataset for run in runs.values()}
    datasets = {name: dataset for name, dataset in suite.datasets.items() if name in needed}
    return Suite(suite=suite.suite, datasets=datasets, runs=runs)


def _name(run: Run, kind: str) -> str:
    return run.backbone.name if kind == "backbone" else str(getattr(run, kind))


def load(path: Path = PARAMS) -> Suite:
    """Read and check params.yaml.

    Raises:
        MissingInputError: no such file.
        ConfigError: not YAML, an unknown key, a wrong type or a value out of range.
    """
    return parse(raw(path), str(path))


def raw(path: Path = PARAMS) -> dict[str, Any]:
    """params.yaml as plain data, unchecked."""
    if not path.exists():
        raise MissingInputError(path, "hier compose")
    try:
        data = _yaml(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a mapping; write it anew with: hier compose")
    return data


@lru_cache(maxsize=1)
def _yaml(text: str) -> Any:
    """Kept, since a process that runs many jobs reads the same text each time; not to be changed."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def parse(data: dict[str, Any], where: str) -> Suite:
    """Check plain data against the schema; `where` names its origin in error messages."""
    try:
        return Suite.model_validate(data)
    except ValidationError as error:
        raise ConfigError(one_line(error, where)) from error


def one_line(error: ValidationError, where: str) -> str:
    """`where: key: what is wrong`, for the first error; says how many more there are."""
    first, *others = error.errors(include_url=False)
    # Pydantic names the member of a tagged union in the path; a user's key has no such part.
    location = [str(part) for part in first["loc"]]
    tags = {"pa", "ms", "hyp", "hier", "none", "pnca", "softtriple", "nsoftmax", "xbm"}
    key = ".".join(
        part for i, part in enumerate(location)
        if not (part in tags and i and location[i - 1] in ("loss", "regularizer"))
    )  # fmt: skip
    message = {
        "extra_forbidden": "no such key",
        "missing": "is missing",
    }.get(first["type"], first["msg"].removeprefix("Value error, "))
    given = first.get("input")
    shown = "" if isinstance(given, dict | list) else f" (given: {given!r})"
    more = f"; and {len(others)} more" if others else ""
    return f"{where}: {key + ': ' if key else ''}{message}{shown}{more}"
