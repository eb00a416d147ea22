"""The settings of this workspace: the composed suites with their datasets and runs.

    params.yaml                   the names of the suites, datasets and runs, and of each what its code
                                  follows from (the loss of a run, say), as DVC fills it into paths
    params/suites/SUITE.yaml      the runs of a suite, and the keys that it sweeps
    params/datasets/DATASET.yaml  what a dataset is set to
    params/runs/RUN.yaml          what a run is set to

Each has a file of its own, since DVC reads a stage's files anew for every stage.
In the program it is one object, and the dotted key `runs.NAME.seed` is `seed` in params/runs/NAME.yaml.
The plain data are read at once, and held against the schema where that is asked for (`suite`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hier import yaml12
from hier.errors import ConfigError, MissingInputError, UnknownNameError
from hier.git import refuse_conflicts
from hier.registry import LAYOUTS, stem

if TYPE_CHECKING:
    from hier.config.suite import Suite

PARAMS = Path("params.yaml")
FOLDER = Path("params")
KINDS = ("suites", "datasets", "runs")
HEAD = "# Written by `hier compose`; do not edit: change conf/ or give overrides, and compose again.\n"
NAME = re.compile(r"[a-z0-9_-]+")
COMPOSE = "hier compose"
AGAIN = f"write it anew with: {COMPOSE}"

Plain = dict[str, Any]
_load = lru_cache(maxsize=1024)(yaml12.load)  # a process that runs many jobs reads the same texts each time


@dataclass(frozen=True)
class Settings:
    """Plain data of suites, datasets and runs, by their names."""

    suites: Mapping[str, list[str]]  # of each, the names of its runs
    datasets: Mapping[str, Plain]  # of each, its settings
    runs: Mapping[str, Plain]
    swept: Mapping[str, list[str]] = field(default_factory=dict)  # of a suite that sweeps keys, these

    @classmethod
    def read(cls, path: Path = PARAMS, only: str | None = None) -> Self:
        """Read params.yaml and what it names; of a suite, dataset or run `only` what goes with it, but all
        where there is none of that name.

        MissingInputError is of a missing file, ConflictError of one with the marks of an unfinished merge,
        ConfigError of what is no YAML mapping in UTF-8 or does not name what it should.
        """
        content = _mapping(path)
        names = {kind: _names(kind, content, path) for kind in KINDS}
        again = compose_again(names["suites"])

        def file(kind: str, name: str) -> Plain:
            return _mapping(path.parent / file_of(kind, name), again)

        def check(right: bool, wrong: str) -> None:
            if not right:
                raise ConfigError(f"{wrong}; write it anew with: {again}")

        suites: dict[str, list[str]] = {}
        swept: dict[str, list[str]] = {}
        for name in names["suites"]:
            for key, kept in (("runs", suites), ("swept", swept)):
                own = file("suites", name).get(key, [] if key == "swept" else None)
                listed = isinstance(own, list) and all(isinstance(each, str) for each in own)
                check(listed, f"{file_of('suites', name)}: {key}: must be names")
                kept[name] = list(own or ())
            for run in suites[name]:
                check(run in names["runs"], f"{path}: runs: {run} is missing")
        wanted_runs, wanted_datasets = _wanted(only, suites, names)
        runs = {name: file("runs", name) for name in names["runs"] if name in wanted_runs}
        for name, settings in runs.items():
            said, where = names["runs"][name].get("dataset"), path.parent / file_of("runs", name)
            check(settings.get("dataset") == said, f"{where} is not of dataset {said}, as {path} says")
        datasets = {n: file("datasets", n) for n in names["datasets"] if n in wanted_datasets}
        left = _filtered(suites, runs)
        return cls(left, datasets, runs, _some(swept, left))

    @classmethod
    def of(cls, *suites: "Suite") -> Self:
        """The settings of suites that were composed; ConfigError where two set one name differently."""
        plain = [suite.model_dump() for suite in suites]
        kinds: dict[str, Plain] = {"datasets": {}, "runs": {}}
        for kind, known in kinds.items():
            for suite in plain:
                for name, content in suite[kind].items():
                    if known.setdefault(name, content) != content:
                        raise ConfigError(
                            f"suite {suite['suite']} has other settings of {name} than the suites "
                            "before it; a workspace has one setting of each: compose them one by one"
                        )
        names = {suite["suite"]: [*suite["runs"]] for suite in plain}
        swept = {suite["suite"]: suite["swept"] for suite in plain}
        return cls(names, **kinds, swept=_some(swept, names))

    def suite(self, name: str | None = None) -> "Suite":
        """A suite (all that was read, without a name), held against the schema, which may raise ConfigError;
        UnknownNameError where it is not composed."""
        from hier.config.suite import parse

        if name is not None and name not in self.suites:
            raise UnknownNameError("suite", name, [*self.suites])
        chosen = self if name is None else self.of_suite(name)
        swept = dict.fromkeys(key for own in chosen.swept.values() for key in own)
        title = {"suite": name or "-".join(self.suites) or "none", "swept": [*swept]}
        return parse(title | {kind: dict(getattr(chosen, kind)) for kind in KINDS[1:]}, format_key)

    def of_suite(self, name: str) -> "Settings":
        """Those of one suite alone."""
        return self.of_runs(self.suites[name], {name: self.suites[name]})

    def of_runs(self, names: Iterable[str], suites: Mapping[str, list[str]] | None = None) -> "Settings":
        """Those of some runs and of the datasets that they need."""
        runs = {name: self.runs[name] for name in names if name in self.runs}
        needed = {run["dataset"] for run in runs.values()}
        datasets = {name: content for name, content in self.datasets.items() if name in needed}
        kept = suites if suites is not None else _filtered(self.suites, runs)
        return Settings(kept, datasets, runs, _some(self.swept, kept))

    @property
    def compose_again(self) -> str:
        """The command that writes the files anew."""
        return compose_again(self.suites)

    def suite_of(self, run: str) -> str:
        """The first suite that has a run."""
        return next(name for name, runs in self.suites.items() if run in runs)

    def select(self, key: str) -> Any:
        """The value at a dotted key, such as `runs.demo-pa-test_resnet-64-s0.seed`; ConfigError of none."""
        node: Any = {"suites": self.suites, "datasets": self.datasets, "runs": self.runs}
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                raise ConfigError(f"{format_key(key)}: is missing; {AGAIN}")
            node = node[part]
        return node

    def files(self) -> dict[Path, Plain]:
        """The files that `read` reads, params.yaml first, with what each holds."""
        index: Plain = {
            "suites": [*self.suites],
            "datasets": {name: choices_of_dataset(own) for name, own in self.datasets.items()},
            "runs": {name: choices_of_run(own) for name, own in self.runs.items()},
        }
        suites = {name: {"runs": runs} for name, runs in self.suites.items()}
        for name, keys in self.swept.items():
            suites[name] = suites[name] | {"swept": keys}
        kinds = zip(KINDS, (suites, self.datasets, self.runs), strict=True)
        return {PARAMS: index} | {file_of(kind, name): own for kind, of in kinds for name, own in of.items()}

    def texts(self) -> dict[Path, str]:
        """The same as text."""
        return {path: HEAD + yaml12.dump(content) for path, content in self.files().items()}

    def left_over(self) -> list[Path]:
        """Files that were composed for other suites, datasets and runs."""
        mine, head = self.files(), HEAD.encode()
        found = (path for kind in KINDS for path in (FOLDER / kind).glob("*.yaml"))
        return sorted(p for p in found if p not in mine and p.is_file() and p.read_bytes().startswith(head))


def choices_of_dataset(settings: Plain) -> dict[str, str]:
    """What the code of a dataset's stages follows from, by the name that paths of code have for it. `shared`
    is what its layout shares with some others: what reads MATLAB files, or else files that say a split."""
    layout = settings.get("layout", "")
    return {"layout": layout, "shared": "matlab" if _needs(str(layout), "matlab") else "split_file"}


def choices_of_run(settings: Plain) -> dict[str, str]:
    """What the files of a run's stages follow from: its dataset, and its parts of the code. `search` is the
    code that finds neighbours, where training looks at recall, else an empty module."""
    looks = settings.get("protocol", {}).get("test_every", 0)
    return {
        "dataset": settings["dataset"],
        "loss": settings.get("loss", {}).get("name", "none"),
        "pooling": stem(settings.get("backbone", {}).get("pooling", "timm")),
        "search": "evaluation/retrieval" if looks else "evaluation/__init__.py",
    }


def compose_again(suites: Iterable[str]) -> str:
    """The command that composes some suites."""
    names = list(suites)
    chosen = names[0] if len(names) == 1 else f"[{','.join(names)}]"
    return f"{COMPOSE} suite={chosen}" if names else COMPOSE


def file_of(kind: str, name: str) -> Path:
    """Where the settings of a suite, dataset or run stand."""
    return FOLDER / kind / f"{name}.yaml"


def locate_key(key: str) -> tuple[Path, str]:
    """The file in which the setting at a dotted key stands, and its key there, "" for all of it."""
    kind, name, inner = [*key.split(".", 2), "", ""][:3]
    of_its_own = kind in KINDS and name
    return (file_of(kind, name), inner) if of_its_own else (PARAMS, key)


def by_file(values: Mapping[str, Any]) -> dict[str, Plain]:
    """Dotted keys with their values, as dvc.lock has them: by file, then by the key in it."""
    found: dict[str, Plain] = {}
    for key, value in values.items():
        path, inner = locate_key(key)
        found.setdefault(str(path), {})[inner] = value
    return found


def format_key(key: str) -> str:
    """`file: key`, as messages name a setting; of no key, params.yaml."""
    return ": ".join(filter(None, map(str, locate_key(key))))


@lru_cache
def _needs(layout: str, file: str) -> bool:
    """Whether a layout imports a file of its folder, at some remove."""
    return LAYOUTS.has(layout) and any(path.stem == file for path in LAYOUTS.files(layout))


def _wanted(
    only: str | None, suites: dict[str, list[str]], names: dict[str, dict[str, Plain]]
) -> tuple[set[str], set[str]]:
    """The runs and datasets that are read: of a run its dataset, of a dataset its runs."""
    of = {run: choices.get("dataset") for run, choices in names["runs"].items()}
    named = {only, *suites.get(only or "", ())}
    runs = {run for run in of if run in named or (only and of[run] == only)}
    if not runs:
        return set(of), set(names["datasets"])
    return runs, {str(of[run]) for run in runs}


def _filtered(suites: Mapping[str, list[str]], runs: Plain) -> dict[str, list[str]]:
    kept = {name: [run for run in own if run in runs] for name, own in suites.items()}
    return {name: own for name, own in kept.items() if own}


def _some(swept: Mapping[str, list[str]], suites: Iterable[str]) -> dict[str, list[str]]:
    """What these suites sweep, of those that do."""
    return {name: swept[name] for name in suites if swept.get(name)}


def _names(kind: str, index: Plain, path: Path) -> dict[str, Plain]:
    """The names of a kind; of datasets and runs, with what their code follows from."""
    given = index.get(kind)
    kept, shape = (list, "names") if kind == "suites" else (dict, "a mapping of names to choices")
    if not isinstance(given, kept):
        raise ConfigError(f"{path}: {kind}: must be {shape}; {AGAIN}")
    found = given if isinstance(given, dict) else {name: {} for name in given}
    for name, choices in found.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConfigError(f"{path}: {kind}: {str(name)[:40]!r} is no name; {AGAIN}")
        if not isinstance(choices, dict):
            raise ConfigError(f"{path}: {kind}.{name}: must be a mapping; {AGAIN}")
    return found


def _mapping(path: Path, again: str = COMPOSE) -> Plain:
    """A file, which the command `again` writes, as a mapping; not to be changed, since it is kept."""
    if not path.exists():
        raise MissingInputError(path, again)
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no regular file"
        raise ConfigError(f"{path} is {kind}; remove it, then: {again}")
    refuse_conflicts([path], again)
    try:
        data = yaml12.read(path, _load)
    except yaml12.Error as error:
        raise ConfigError(f"{path} {error}; write it anew with: {again}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a mapping; write it anew with: {again}")
    return data
