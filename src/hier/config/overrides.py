"""Overrides in Hydra's grammar, and what they do to a composed run.

suite=grocery methods=[pa,hier] seeds=[0,1,2]       the matrix; also dataset, backbone, recipe, dim
regularizer.weight=0.1                              every run that has this key
runs.demo-hier-*.regularizer.weight=0.1             the runs whose names match
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from hier.config.keys import knows
from hier.config.matrix import AXES
from hier.errors import ConfigError


def split(overrides: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Overrides of the matrix by key, and those of single settings as given."""
    axes: dict[str, Any] = {}
    settings = []
    for text in overrides:
        if "=" not in text:
            raise ConfigError(f"override '{text}' is not of the form key=value")
        key = text.split("=", 1)[0]
        if key in AXES:
            axes[key] = _value(text)
        else:
            settings.append(text)
    return axes, settings


def setting_of(text: str) -> str:
    """The `key=value` that an override sets, in the runs that it is for."""
    return scope_of(text)[1]


def is_for(text: str, run: str, config: DictConfig) -> bool:
    """Whether a run of that name is meant and has the key."""
    pattern, setting = scope_of(text)
    return fnmatchcase(run, pattern) and has(config, setting)


def has(config: DictConfig, setting: str) -> bool:
    """Whether `config` or its schema has the key of `key=value`, a null value included."""
    key = setting.split("=", 1)[0]
    *parents, last = key.split(".")
    node = OmegaConf.select(config, ".".join(parents)) if parents else config
    if isinstance(node, DictConfig) and last in node:
        return True
    return knows(OmegaConf.to_container(config), key)  # type: ignore[arg-type]


def apply(config: DictConfig, setting: str) -> None:
    """Set `key=value`.

    Raises:
        ConfigError: not in Hydra's grammar, or a value for a group of settings.
    """
    key, value = setting.split("=", 1)[0], _value(setting)
    if isinstance(OmegaConf.select(config, key), DictConfig) and not isinstance(value, dict | None):
        raise ConfigError(
            f"override '{setting}': {key} is a group of settings, give one of them as "
            f"{key}.<setting>=value (datasets, backbones, recipes and methods: see hier compose --help)"
        )
    OmegaConf.update(config, key, value, merge=False, force_add=True)


def scope_of(text: str) -> tuple[str, str]:
    """`runs.<pattern>.<setting>` → (pattern, setting); anything else holds for every run."""
    match = re.fullmatch(r"runs\.([^.=]+)\.(.+)", text)
    return (match[1], match[2]) if match else ("*", text)


@cache
def _value(text: str) -> Any:
    """The value of `key=value` in Hydra's grammar."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"override '{text}': {reason}") from error
    if override.is_sweep_override():
        raise ConfigError(f"override '{text}' is a sweep; several values are a list: key=[a,b]")
    return override.value()
