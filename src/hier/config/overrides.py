"""Overrides in Hydra's grammar, what they do to a composed run, and which runs they fit.

suite=grocery methods=[pa,hier] seeds=[0,1,2]       the matrix; also dataset, backbone, recipe, dim
regularizer.weight=0.1                              every run that has this key
runs.demo-hier-*.regularizer.weight=0.1             the runs whose names match
sweep.regularizer.weight=[0.1,0.5]                  every run that has this key, once for each value
"""

import re
from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from functools import cache
from itertools import combinations
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from hier.config.groups import first_line
from hier.config.keys import keys
from hier.config.matrix import AXES, check_sweep
from hier.config.run import Run
from hier.config.suite import one_line
from hier.config.sweep import Sweep, shown
from hier.errors import ConfigError

SWEEP = "sweep."


def split(overrides: Iterable[str]) -> tuple[dict[str, Any], Sweep, list[str]]:
    """Overrides of the matrix by key, what is swept, and those of single settings as given."""
    axes: dict[str, Any] = {}
    sweep: Sweep = {}
    settings = []
    for text in overrides:
        if "=" not in text:
            raise ConfigError(f"override '{text}' is not of the form key=value")
        if (key := text.split("=", 1)[0]) in AXES:
            axes[key] = _value(text)
        elif key.startswith(SWEEP):
            sweep[key.removeprefix(SWEEP)] = _swept(text)
        else:
            settings.append(text)
    return axes, sweep, settings


def _swept(text: str) -> list[Any]:
    """The values of `sweep.key=[a,b]`."""
    values: Any = _value(text)
    try:
        check_sweep(text.split("=", 1)[0].removeprefix(SWEEP), values)
    except ValueError as error:
        raise ConfigError(f"override '{text}': {error}") from error
    return list(values)


def sweep_of(key: str, values: list[Any]) -> str:
    """The override that sweeps a key over some values."""
    return f"{SWEEP}{key}={shown(values)}"


def override_of(key: str, value: Any) -> str:
    """The override that gives a key a value."""
    return f"{key}={_in_grammar(value)}"


def _in_grammar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_in_grammar, value))}]"
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    return repr(value) if isinstance(value, float) else shown(value)


def both_set(text: str, key: str) -> bool:
    """Whether an override sets a key, a setting below it, or the group that it is in."""
    own = scope_of(text)[1].split("=", 1)[0]
    return f"{own}.".startswith(f"{key}.") or f"{key}.".startswith(f"{own}.")


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
    return key in keys(OmegaConf.to_container(config))  # type: ignore[arg-type]


def apply(config: DictConfig, text: str) -> None:
    """Set what an override sets in the runs that it is for; ConfigError where it is not in Hydra's grammar,
    or gives a value for a group of settings."""
    setting = scope_of(text)[1]
    key, value = setting.split("=", 1)[0], _value(setting)
    if key == "protocol.name":
        raise ConfigError(f"override '{setting}': a name alone changes nothing; give protocol={value}")
    if isinstance(OmegaConf.select(config, key), DictConfig) and not isinstance(value, dict | None):
        mend = "datasets, backbones, recipes and methods: see hier compose --help"
        what = f"{key} is a group of settings, give one of them as {key}.<setting>=value ({mend})"
        raise ConfigError(f"override '{setting}': {what}")
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
        raise ConfigError(f"override '{text}': {first_line(error)}") from error
    if override.is_sweep_override():
        raise ConfigError(f"override '{text}' is a sweep; several values are a list: key=[a,b]")
    return override.value()


def misfits(overrides: Collection[str], with_: Callable[[Collection[str]], dict[str, Any]]) -> dict[str, str]:
    """Of some overrides those with which a run is never valid, whatever others come with them, and why:
    epochs, for one, fit no run whose loss is none.

    Overrides that only exclude each other are none: which of them was meant is the user's to say.
    `with_` gives the run, as plain data, with some of the overrides.
    """
    if why_invalid(with_(overrides)) is None or why_invalid(with_(())) is not None:
        return {}
    fit: set[str] = set()
    for number in range(1, len(overrides)):
        for chosen in combinations(overrides, number):
            if not fit.issuperset(chosen) and why_invalid(with_(chosen)) is None:
                fit.update(chosen)
    reasons = {text: why_invalid(with_((text,))) for text in overrides if text not in fit}
    return {text: reason for text, reason in reasons.items() if reason}


def why_invalid(run: dict[str, Any]) -> str | None:
    """What is wrong with a run's settings, in one line; None where nothing is."""
    try:
        Run.model_validate(run)
    except ValidationError as error:
        return one_line(error, str, Run).removeprefix(": ")
    return None


def left_as_they_are(override: str, runs: dict[str, str]) -> str:
    """What a user is told of an override that does not fit some runs, by why it does not."""
    first, *others = runs
    more = f" and {len(others)} more, which stay as they are"
    stay = more if others else ", which stays as it is"
    return f"note: '{override}' does not fit {first}{stay}: {runs[first]}"
