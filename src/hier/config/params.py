"""params.yaml as plain data, read without checking it (see hier.config.suite for that)."""

import gc
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from hier.errors import ConfigError, MissingInputError

PARAMS = Path("params.yaml")


def raw(path: Path = PARAMS) -> dict[str, Any]:
    """params.yaml as plain data.

    Raises:
        MissingInputError: no such file.
        ConfigError: it is no YAML mapping in UTF-8.
    """
    if not path.exists():
        raise MissingInputError(path, "hier compose")
    try:
        data = _yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; write it anew with: hier compose") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a mapping; write it anew with: hier compose")
    return data


@lru_cache(maxsize=1)
def _yaml(text: str) -> Any:
    """Kept, since a process that runs many jobs reads the same text each time; not to be changed."""
    return load_yaml(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def load_yaml(text: str, loader: type) -> Any:
    """What a YAML text holds, without Python's search for reference cycles among the objects that are
    made: in files of megabytes it takes half of the time.

    Raises:
        yaml.YAMLError: it is none.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        return yaml.load(text, Loader=loader)
    finally:
        if searching:
            gc.enable()


def select(params: dict[str, Any], key: str) -> Any:
    """The value at a dotted key, such as `runs.demo-pa-test_resnet-64-s0.seed`.

    Raises:
        ConfigError: there is no such key.
    """
    node: Any = params
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            raise ConfigError(f"{PARAMS} has no {key}; write it anew with: hier compose")
        node = node[part]
    return node
