"""What the settings of a suite are: its datasets and runs, fully resolved."""

from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from hier.config.base import Strict
from hier.config.dataset import Dataset, Subset
from hier.config.keys import did_you_mean, siblings
from hier.config.run import Run, Sampler
from hier.errors import ConfigError, UnknownNameError

Where = str | Callable[[str], str]  # the origin of settings, or that of a key


class Suite(Strict):
    """A named set of runs and the datasets that they need. Runs for each value of the keys that are `swept`
    are methods of their own."""

    suite: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
    datasets: dict[str, Dataset]
    runs: Annotated[dict[str, Run], Field(min_length=1)]
    swept: list[Annotated[str, Field(pattern=r"^\w+(\.\w+)+$")]] = []  # dotted keys of runs

    @model_validator(mode="after")
    def coherent(self) -> Self:
        for key, run in self.runs.items():
            if key != run.name:
                raise ValueError(f"run {key} has the settings of {run.name}")
            if run.dataset not in self.datasets:
                raise ValueError(f"run {key} needs dataset {run.dataset}, which is not listed")
        for key, dataset in self.datasets.items():
            if key != dataset.name:
                raise ValueError(f"dataset {key} calls itself {dataset.name}")
        for key, run in self.runs.items():
            subset = self.datasets[run.dataset].subset
            if subset and run.schedule.epochs and (reason := _too_small(subset, run.sampler)):
                raise ValueError(f"run {key}: {reason}")
        return self

    def run(self, name: str) -> Run:
        if name not in self.runs:
            raise UnknownNameError("run", name, list(self.runs))
        return self.runs[name]

    def dataset(self, name: str) -> Dataset:
        if name not in self.datasets:
            raise UnknownNameError("dataset", name, list(self.datasets))
        return self.datasets[name]


def has_setting(run: Run, key: str) -> bool:
    """Whether a run has a dotted key, a null value included."""
    *parents, last = key.split(".")
    node = setting_of(run, ".".join(parents)) if parents else run
    return isinstance(node, BaseModel) and last in type(node).model_fields


def setting_of(run: Run, key: str) -> Any:
    """A run's value at a dotted key; None where it has no such key."""
    node: Any = run
    for part in key.split("."):
        node = getattr(node, part, None)
    return node


def _too_small(subset: Subset, sampler: Sampler) -> str | None:
    """Why a batch cannot be drawn from a subset, if it cannot."""
    size, each = sampler.batch_size, sampler.images_per_class
    most = subset.classes * subset.images
    if size <= most and size // each <= subset.classes:
        return None
    fits = min(subset.classes, most // each) * each
    smaller = f", or give sampler.batch_size={fits}" if fits > 1 else ""
    return (
        f"sampler.batch_size {size} with sampler.images_per_class {each} needs {size} images of "
        f"{size // each} classes, dataset.subset has {most} of {subset.classes}; make it larger{smaller}"
    )


def filter_runs(suite: Suite, **chosen: tuple[str, ...]) -> Suite:
    """The runs of the chosen datasets, methods and backbones, which must be there; none chosen: all."""
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
    swept = [key for key in suite.swept if any(has_setting(run, key) for run in runs.values())]
    return Suite(suite=suite.suite, datasets=datasets, runs=runs, swept=swept)


def _name(run: Run, kind: str) -> str:
    return run.backbone.name if kind == "backbone" else str(getattr(run, kind))


def parse(data: dict[str, Any], where: Where) -> Suite:
    """Check plain data against the schema; `where` names its origin in messages."""
    try:
        return Suite.model_validate(data)
    except ValidationError as error:
        raise ConfigError(one_line(error, where, Suite)) from error


def one_line(error: ValidationError, where: Where, model: type[BaseModel] | None = None) -> str:
    """`where: key: what is wrong`, for the first error; says how many more there are. Of a key that the
    `model` does not know, the nearest is told."""
    first, *others = error.errors(include_url=False)
    # Pydantic names the member of a tagged union in the path; a user's key has no such part.
    location = [str(part) for part in first["loc"]]
    key = ".".join(
        part for i, part in enumerate(location)
        if not (part in ("hier", "none") and i and location[i - 1] == "regularizer")
        and not part.startswith(("constrained-", "literal["))
    )  # fmt: skip
    message = {"extra_forbidden": "no such key", "missing": "is missing"}.get(
        first["type"], first["msg"].removeprefix("Value error, ")
    )
    if first["type"] == "extra_forbidden" and model:
        message += did_you_mean(location[-1], siblings(model, first["loc"]))
    given = first.get("input")
    was = "" if isinstance(given, dict | list) else f" (given: {given!r})"
    more = f"; and {len(others)} more" if others else ""
    named = (f"{where}: {key}" if key else where) if isinstance(where, str) else where(key)
    return f"{named}: {message}{was}{more}"
