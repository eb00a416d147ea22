"""From Hydra groups in conf/ to the resolved runs of a suite.

A suite (conf/suite/<name>.yaml) is a matrix: each entry crosses methods and seeds over one dataset,
backbone and recipe. Every run is composed by Hydra from conf/run.yaml and the chosen groups.

Overrides are Hydra's own grammar and come in three kinds:

    suite=grocery methods=[pa,hier] seeds=[0,1,2]       the matrix; also dataset, backbone, recipe, dim
    regularizer.weight=0.1                              every run that has this key
    runs.demo-hier-*.regularizer.weight=0.1             the runs whose names match

Those of the last two kinds hold for the runs that they fit.
"""

import logging
import multiprocessing
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError

from hier import yaml12
from hier.config.base import Strict
from hier.config.fitting import left_as_they_are, misfits
from hier.config.keys import did_you_mean, keys, knows
from hier.config.suite import Suite, one_line, parse
from hier.errors import ConfigError, HierError, UnknownNameError
from hier.git import refuse_conflicts

CONF = Path("conf")
# Hydra's settings of its own launching, logging and help, which no run has: a fifth of the time.
WITHOUT_ITS_OWN = tuple(
    f"~hydra/{group}"
    for group in (
        "output", "launcher", "sweeper", "help", "hydra_help", "hydra_logging", "job_logging", "env"
    )
)  # fmt: skip
_COMPOSED: dict[tuple[str, tuple[str, ...]], DictConfig] = {}

AXES = ("suite", "methods", "seeds", "dataset", "backbone", "recipe", "dim", "protocol")
REPLACED = ("dataset", "backbone", "recipe", "dim", "protocol")
Names = str | list[str]


class Entry(Strict):
    """One block of a suite's matrix.

    `set` holds overrides for the runs that have these keys; `label` is added to the method's name,
    so that runs which differ in a setting alone can stand side by side (`hier_p128`).
    """

    label: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] | None = None
    dataset: str
    backbone: str
    recipe: str
    protocol: str = "corrected"
    methods: Annotated[list[str], Field(min_length=1)]
    dim: int | None = None
    seeds: Annotated[list[int], Field(min_length=1)]
    set: list[str] = []


class Block(Entry):
    """An entry as written in conf/suite/: lists cross, `{dataset}` and `{backbone}` name the recipe."""

    dataset: Names  # type: ignore[assignment]
    backbone: Names  # type: ignore[assignment]
    dim: int | list[int] | None = None  # type: ignore[assignment]

    def entries(self) -> Iterator[Entry]:
        """Every (dataset, backbone, dim) as an entry of its own."""
        crossed = (_list(self.dataset), _list(self.backbone), _list(self.dim) or [None])
        for dataset, backbone, dim in product(*crossed):  # type: ignore[arg-type]
            names = {"dataset": dataset, "backbone": backbone, "dim": dim}
            recipe = self.recipe.replace("{dataset}", dataset).replace("{backbone}", backbone)
            yield Entry.model_validate({**self.model_dump(), **names, "recipe": recipe})


class Matrix(Strict):
    """A suite as conf/suite/<name>.yaml gives it."""

    suite: str
    matrix: Annotated[list[Block], Field(min_length=1)]

    def entries(self) -> list[Entry]:
        return [entry for block in self.matrix for entry in block.entries()]


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def compose(
    overrides: Iterable[str] = (), conf: Path = CONF, say: Callable[[str], None] = _to_stderr
) -> Suite:
    """Compose a suite and check it.

    A run that an override does not fit (see `misfits`) stays as it is.

    Args:
        say: is told which runs those are.

    Raises:
        UnknownNameError: a suite, dataset, backbone, recipe or method without a file in conf/.
        ConfigError: a key that no run has, a wrong type, a value out of range, an override that
            fits no run.
    """
    overrides = list(overrides)
    axes, settings = _split(overrides)
    with _hydra(conf):
        matrix = _matrix(axes, conf)
        cells = list(_cells(matrix, axes))
        _compose_side_by_side(cells)
        applied = _Applied()
        data = _data(matrix, cells, settings, applied, conf)
        if (
            nowhere := applied.left.keys() - applied.used
        ):  # what is wrong with them, the schema says
            data = _data(matrix, cells, settings, _Applied(required=nowhere), conf)
    presets = [text for block in matrix.matrix for text in block.set]
    known = applied.used | nowhere
    unused = [
        text for text in settings + ([] if "methods" in axes else presets) if text not in known
    ]
    if unused:
        runs, datasets = data["runs"].values(), data["datasets"]
        whole = [{**run, "dataset": datasets[run["dataset"]]} for run in runs]
        raise _no_such_key(unused[0], matrix.suite, whole)
    suite = parse(data, "hier compose")
    for text, left in applied.left.items():
        say(left_as_they_are(text, left))
    return suite


@dataclass
class _Applied:
    """What became of the overrides of single settings.

    Attributes:
        required: those that a run must take, whether they fit it or not.
        used: those that some run has.
        left: of each, the runs that it does not fit, with why.
    """

    required: Collection[str] = ()
    used: set[str] = field(default_factory=set)
    left: dict[str, dict[str, str]] = field(default_factory=dict)


def _data(
    matrix: Matrix,
    cells: list[tuple[Entry, str, int]],
    settings: list[str],
    applied: _Applied,
    conf: Path,
) -> dict[str, Any]:
    """A suite as plain data."""
    datasets: dict[str, Any] = {}
    runs: dict[str, Any] = {}
    for entry, method, seed in cells:
        config = _run(entry, method, seed, settings, applied, conf)
        dataset = config.pop("dataset")
        name = _name({**config, "dataset": dataset["name"]})
        if name in runs:
            raise ConfigError(f"suite {matrix.suite} has two runs called {name}")
        if datasets.setdefault(dataset["name"], dataset) != dataset:
            raise ConfigError(
                f"run {name} has other settings of dataset {dataset['name']} than the runs "
                "before it; a suite has one setting of each dataset"
            )
        runs[name] = {"dataset": dataset["name"], "method": config.pop("method"), **config}
    return {"suite": matrix.suite, "datasets": datasets, "runs": runs}


def _no_such_key(text: str, suite: str, runs: list[dict[str, Any]]) -> ConfigError:
    key = _scope(text)[1].split("=", 1)[0]
    near = did_you_mean(key, sorted(set().union(*map(keys, runs))), 0.8)
    return ConfigError(f"override '{text}': no run of suite {suite} has such a key{near}")


def _split(overrides: list[str]) -> tuple[dict[str, Any], list[str]]:
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


@cache
def _value(text: str) -> Any:
    """The value of `key=value` in Hydra's grammar."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(f"override '{text}': {_first_line(error)}") from error
    if override.is_sweep_override():
        raise ConfigError(f"override '{text}' is a sweep; several values are a list: key=[a,b]")
    return override.value()


def _matrix(axes: dict[str, Any], conf: Path) -> Matrix:
    suite = str(axes.get("suite", "demo"))
    _known("suite", suite, conf)
    data = _plain(_compose("config", (f"suite={suite}",)))
    replaced = {key: axes[key] for key in REPLACED if key in axes}
    try:
        matrix = Matrix.model_validate(data)
        entries = [{**entry.model_dump(), **replaced} for entry in matrix.matrix]
        return Matrix.model_validate({"suite": matrix.suite, "matrix": entries})
    except ValidationError as error:
        raise ConfigError(one_line(error, f"{conf}/suite/{suite}.yaml", Matrix)) from error


def _cells(matrix: Matrix, axes: dict[str, Any]) -> Iterator[tuple[Entry, str, int]]:
    """Every (entry, method, seed); `methods=` filters, `seeds=` replaces."""
    methods, seeds = (_list(axes.get(key)) for key in ("methods", "seeds"))
    for key, values in (("methods", methods), ("seeds", seeds)):
        if values == []:
            raise ConfigError(f"override '{key}=[]' leaves no runs")
    entries = matrix.entries()
    known = list(dict.fromkeys(method for entry in entries for method in entry.methods))
    for method in methods or []:
        if method not in known:
            raise UnknownNameError(f"method of suite {matrix.suite}:", method, known)
    for entry in entries:
        for method, seed in product(entry.methods, entry.seeds if seeds is None else seeds):
            if methods is None or method in methods:
                yield entry, method, seed


def _list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) or value is None else [value]


def _run(
    entry: Entry, method: str, seed: int, settings: list[str], applied: _Applied, conf: Path
) -> dict[str, Any]:
    """One run, composed, with those of `settings` that apply to it and fit it."""
    groups = _groups(entry, method)
    for group, name in groups.items():
        _known(group, name, conf)
    config = _compose("run", _overrides(groups)).copy()
    for group in ("dataset", "backbone"):
        _check_name(config, group, groups[group], conf)
    if "seed" not in config:
        raise ConfigError(f"{conf}/run.yaml: seed: is missing")
    config.seed = seed
    presets = entry.set if entry.dim is None else [f"head.dim={entry.dim}", *entry.set]
    for text in presets:
        if _has(config, text):
            _set(config, text)
            applied.used.add(text)
    shown = f"{method}_{entry.label}" if entry.label else method
    name = _name(_plain(config) | {"method": shown})
    own = [text for text in settings if _is_for(text, name, config)]

    def with_(texts: Collection[str]) -> dict[str, Any]:
        changed = config.copy()
        for text in texts:
            _set(changed, _scope(text)[1])
        return _plain(changed) | {"dataset": entry.dataset, "method": shown}

    wrong = misfits(own, with_) if own else {}
    for text in own:
        if text in wrong and text not in applied.required:
            applied.left.setdefault(text, {})[name] = wrong[text]
        else:
            _set(config, _scope(text)[1])
            applied.used.add(text)
    for group in ("dataset", "backbone"):
        chosen = config[group]
        if not (isinstance(chosen, DictConfig) and "name" in chosen):
            raise ConfigError(f"an override leaves run {name} without {group}.name")
    return _plain(config) | {"method": shown}


def _groups(entry: Entry, method: str) -> dict[str, str]:
    chosen = {key: getattr(entry, key) for key in ("dataset", "backbone", "recipe", "protocol")}
    return {**chosen, "method": method}


def _overrides(groups: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{group}={name}" for group, name in groups.items())


def _check_name(config: DictConfig, group: str, name: str, conf: Path) -> None:
    """A dataset's or backbone's file must give a mapping that calls itself by the file's name."""
    chosen = config.get(group)
    own = chosen.get("name") if isinstance(chosen, DictConfig) else None
    if own != name:
        raise ConfigError(f"{conf}/{group}/{name}.yaml: name: must be {name} (given: {own!r})")


def _scope(text: str) -> tuple[str, str]:
    """`runs.<pattern>.<setting>` → (pattern, setting); anything else holds for every run."""
    match = re.fullmatch(r"runs\.([^.=]+)\.(.+)", text)
    return (match[1], match[2]) if match else ("*", text)


def _is_for(text: str, run: str, config: DictConfig) -> bool:
    pattern, setting = _scope(text)
    return fnmatchcase(run, pattern) and _has(config, setting)


def _has(config: DictConfig, setting: str) -> bool:
    """Whether `config` or its schema has the key of `key=value`, a null value included."""
    key = setting.split("=", 1)[0]
    *parents, last = key.split(".")
    node = OmegaConf.select(config, ".".join(parents)) if parents else config
    if isinstance(node, DictConfig) and last in node:
        return True
    return knows(OmegaConf.to_container(config), key)  # type: ignore[arg-type]


def _set(config: DictConfig, setting: str) -> None:
    key, value = setting.split("=", 1)[0], _value(setting)
    if isinstance(OmegaConf.select(config, key), DictConfig) and not isinstance(value, dict | None):
        raise ConfigError(
            f"override '{setting}': {key} is a group of settings, give one of them as "
            f"{key}.<setting>=value (datasets, backbones, recipes and methods: see hier compose --help)"
        )
    OmegaConf.update(config, key, value, merge=False, force_add=True)


def _name(run: dict[str, Any]) -> str:
    """A run's name from plain data, before it is checked (see Run.name)."""
    dataset = run["dataset"]
    dataset = dataset["name"] if isinstance(dataset, dict) else dataset
    dim = run["head"].get("dim") if run.get("head") else run["backbone"]["features"]
    return f"{dataset}-{run['method']}-{run['backbone']['name']}-{dim}-s{run['seed']}"


def _known(group: str, name: str, conf: Path) -> None:
    valid = sorted(path.stem for path in (conf / group).glob("*.yaml"))
    if name not in valid:
        raise UnknownNameError(group, name, valid)


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(f"an interpolation cannot be resolved: {_first_line(error)}") from error


def _compose(name: str, overrides: tuple[str, ...]) -> DictConfig:
    """What Hydra composes from conf/<name>.yaml, kept until Hydra's state is cleared."""
    if (name, overrides) not in _COMPOSED:
        _COMPOSED[name, overrides] = _composed(name, overrides)
    return _COMPOSED[name, overrides]


def _compose_side_by_side(cells: list[tuple[Entry, str, int]]) -> None:
    """Compose a large suite's groups in processes beside each other: each takes a tenth of a second.

    What fails is left to `_compose`, which says why.
    """
    wanted = list(dict.fromkeys(_overrides(_groups(entry, method)) for entry, method, _ in cells))
    if len(wanted) < 20 or "fork" not in multiprocessing.get_all_start_methods():
        return
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("fork")) as pool:
        for overrides, config in zip(
            wanted, pool.map(_composed_or_none, wanted, chunksize=4), strict=True
        ):
            if config is not None:
                _COMPOSED["run", overrides] = config


def _composed_or_none(overrides: tuple[str, ...]) -> DictConfig | None:
    try:
        return _composed("run", overrides)
    except HierError:
        return None


def _composed(name: str, overrides: tuple[str, ...]) -> DictConfig:
    try:
        return hydra_compose(config_name=name, overrides=[*overrides, *WITHOUT_ITS_OWN])
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{' '.join(overrides)}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.read_bytes().startswith(b"\xef\xbb\xbf# @"):  # Hydra does not see that line
            raise ConfigError(f"{path} begins with a byte order mark; save it as UTF-8 without one")
        return yaml12.load(text)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text; correct it, or: git checkout {path}"
        ) from error
    except yaml12.Error as error:
        refuse_conflicts([path])
        raise ConfigError(f"{path} is not YAML ({' '.join(str(error).split())})") from error


class _ReadOnce:
    """Hydra's repository of configuration files, which parses each of them once for all runs of a suite.

    Hydra itself does so within one composition; what it is given it may change, hence the copies. What
    the files hold is read as YAML 1.2, where Hydra would take 010 for eight and 1:30 for ninety.
    """

    def __init__(self, repository: Any, conf: Path) -> None:
        self.repository, self.conf = repository, conf
        self.read: dict[str, Any] = {}

    def load_config(self, config_path: str) -> Any:
        if config_path not in self.read:
            self.read[config_path] = self._load(config_path)
        return deepcopy(self.read[config_path])

    def _load(self, config_path: str) -> Any:
        path = self.conf / f"{config_path.removesuffix('.yaml')}.yaml"
        held = _read(path) if path.is_file() else None
        found = self.repository.load_config(config_path)
        if isinstance(held, dict):
            found.config = OmegaConf.create({k: held[k] for k in held if k != "defaults"})
        return found

    def __deepcopy__(self, memo: Any) -> "_ReadOnce":
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repository, name)


class _hydra:  # noqa: N801
    """Hydra's global state, initialised at `conf` and cleared afterwards."""

    def __init__(self, conf: Path) -> None:
        if not conf.is_dir():
            raise ConfigError(f"there is no {conf}/ here; run hier in the project's folder")
        self.conf = conf

    def __enter__(self) -> None:
        logging.getLogger("hydra").setLevel(logging.WARNING)
        GlobalHydra.instance().clear()
        initialize_config_dir(str(self.conf.resolve()), version_base="1.3")
        loader: Any = GlobalHydra.instance().config_loader()
        loader.repository = _ReadOnce(loader.repository, self.conf)

    def __exit__(self, *_: object) -> None:
        _COMPOSED.clear()
        GlobalHydra.instance().clear()
