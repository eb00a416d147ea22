"""The settings of a suite in files, as plain data (see hier.config.suite for what they must be).

params.yaml names the suite, its datasets, and its runs with the dataset of each. What a dataset or run
is set to stands in a file of its own, params/datasets/NAME.yaml or params/runs/NAME.yaml: DVC reads a
stage's files anew for every stage, which took minutes where one file held all of Table 1.

In the program it is one mapping, and the dotted key `runs.NAME.seed` is `seed` in params/runs/NAME.yaml.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hier import yaml12
from hier.errors import ConfigError, MissingInputError
from hier.git import conflict_in, has_conflict

PARAMS = Path("params.yaml")
FOLDER = Path("params")
KINDS = ("datasets", "runs")
HEAD = (
    "# Written by `hier compose`; do not edit: change conf/ or give overrides, and compose again.\n"
)
NAME = re.compile(r"[a-z0-9_-]+")
COMPOSE = "hier compose"
AGAIN = f"write it anew with: {COMPOSE}"


def file_of(kind: str, name: str) -> Path:
    """Where the settings of a dataset or run stand."""
    return FOLDER / kind / f"{name}.yaml"


def raw(path: Path = PARAMS, only: str | None = None) -> dict[str, Any]:
    """params.yaml with the settings of its datasets and runs.

    Args:
        only: the name of one of them, where all that matters is its own settings and those of its
            dataset; the others are left out. All are read where there is none of that name.

    Raises:
        MissingInputError: no such file.
        ConfigError: one is no YAML mapping in UTF-8, or params.yaml does not name datasets and runs.
        ConflictError: one has the marks of an unfinished merge.
    """
    data = dict(_mapping(path))
    named = {kind: _names(kind, data[kind], path) for kind in KINDS if kind in data}
    datasets = {name: dataset for names in named.values() for name, dataset in names.items()}
    again = f"{COMPOSE} suite={data['suite']}" if "suite" in data else COMPOSE
    wanted = {only, datasets[only]} if only in datasets else datasets
    for kind, names in named.items():
        data[kind] = {}
        for name in filter(wanted.__contains__, names):
            own = path.parent / file_of(kind, name)
            data[kind][name] = _mapping(own, again)
            if kind == "runs" and data[kind][name].get("dataset") != names[name]:
                raise ConfigError(
                    f"{own} is not of dataset {names[name]}, as {path} says; write it anew with: {again}"
                )
    return data


def texts(params: Mapping[str, Any]) -> dict[Path, str]:
    """What `raw` reads, as the text of each file."""
    held = [index(params), *(content for kind in KINDS for content in params[kind].values())]
    return {
        path: HEAD + yaml12.dump(content) for path, content in zip(files(params), held, strict=True)
    }


def files(params: Mapping[str, Any]) -> list[Path]:
    """params.yaml, then the file of each dataset and run."""
    return [PARAMS, *(file_of(kind, name) for kind in KINDS for name in params[kind])]


def left_over(params: Mapping[str, Any]) -> list[Path]:
    """Files that were composed for another suite's datasets and runs."""
    found = (
        path
        for kind in KINDS
        for path in (FOLDER / kind).glob("*.yaml")
        if path.stem not in params[kind]
    )
    return sorted(path for path in found if path.is_file() and _begins(path, HEAD))


def _begins(path: Path, text: str) -> bool:
    with path.open("rb") as file:
        return file.read(len(text.encode())) == text.encode()


def index(params: Mapping[str, Any]) -> dict[str, Any]:
    """What params.yaml itself holds."""
    runs = {name: run["dataset"] for name, run in params["runs"].items()}
    return {**params, "datasets": list(params["datasets"]), "runs": runs}


def place(key: str) -> tuple[Path, str]:
    """The file in which the setting at a dotted key stands, and its key there."""
    kind, _, rest = key.partition(".")
    name, _, inner = rest.partition(".")
    return (file_of(kind, name), inner) if kind in KINDS and inner else (PARAMS, key)


def by_file(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Dotted keys with their values, as dvc.lock has them: by file, then by the key in it."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        path, inner = place(key)
        found.setdefault(str(path), {})[inner] = value
    return found


def select(params: dict[str, Any], key: str) -> Any:
    """The value at a dotted key, such as `runs.demo-pa-test_resnet-64-s0.seed`.

    Raises:
        ConfigError: there is no such key.
    """
    node: Any = params
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            raise ConfigError(f"{shown(key)}: is missing; {AGAIN}")
        node = node[part]
    return node


def shown(key: str) -> str:
    """`file: key`, as messages name a setting; of no key, params.yaml."""
    kind, _, rest = key.partition(".")
    name, _, inner = rest.partition(".")
    if kind in KINDS and NAME.fullmatch(name):
        return f"{file_of(kind, name)}: {inner}" if inner else str(file_of(kind, name))
    return f"{PARAMS}: {key}" if key else str(PARAMS)


def _names(kind: str, given: Any, path: Path) -> dict[str, str]:
    """The names of a kind, with the dataset of each."""
    kept, shape = (dict, "a mapping of names to datasets") if kind == "runs" else (list, "names")
    if not isinstance(given, kept):
        raise ConfigError(f"{path}: {kind}: must be {shape}; {AGAIN}")
    pairs = [*given.items()] if isinstance(given, dict) else [(name, name) for name in given]
    for name in (name for pair in pairs for name in pair):
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConfigError(f"{path}: {kind}: {str(name)[:40]!r} is no name; {AGAIN}")
    return dict(pairs)


def _mapping(path: Path, again: str = COMPOSE) -> dict[str, Any]:
    """A file as a mapping; not to be changed, since it is kept.

    Args:
        again: the command that writes it.
    """
    if not path.exists():
        raise MissingInputError(path, again)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin with a mark
        if has_conflict(text):
            raise conflict_in(path, again)
        data = _yaml(text)
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder; remove it, then: {again}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; write it anew with: {again}") from error
    except yaml12.Error as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is not YAML ({reason}); write it anew with: {again}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a mapping; write it anew with: {again}")
    return data


@lru_cache(maxsize=1024)
def _yaml(text: str) -> Any:
    """Kept, since a process that runs many jobs reads the same texts each time."""
    return yaml12.load(text)
