"""The groups of conf/. Hydra composes each chosen file; a run is what they give, laid over each other."""

import logging
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hier import yaml12
from hier.errors import ConfigError, UnknownNameError
from hier.git import refuse_conflicts

ORDER = ("dataset", "backbone", "protocol", "loss", "regularizer", "recipe", "method")
"""In which a run's groups are laid over conf/run.yaml."""

# Hydra's settings of its own launching, logging and help, which no run has: a third of the time.
ITS_OWN = "output launcher sweeper help hydra_help hydra_logging job_logging env"
WITHOUT_ITS_OWN = [f"~hydra/{group}" for group in ITS_OWN.split()]

BASE_LOSS = "pa"  # of the method that is named by its regulariser alone


class Groups:
    """The files of a folder conf/, each composed once; a context, in which Hydra is at that folder.
    UnknownNameError is of a group without such a file or a method that is none, ConfigError of a wrong
    file."""

    def __init__(self, conf: Path) -> None:
        if not conf.is_dir():
            raise ConfigError(f"there is no {conf}/ here; run hier in the project's folder")
        self.conf = conf
        self._composed: dict[tuple[str, str], DictConfig] = {}
        self._runs: dict[tuple[tuple[str, str], ...], DictConfig] = {}

    def __enter__(self) -> "Groups":
        logging.getLogger("hydra").setLevel(logging.WARNING)
        GlobalHydra.instance().clear()
        initialize_config_dir(str(self.conf.resolve()), version_base="1.3")
        return self

    def __exit__(self, *_: object) -> None:
        GlobalHydra.instance().clear()

    def names(self, group: str) -> list[str]:
        """What can be chosen from a group."""
        return sorted(path.stem for path in (self.conf / group).glob("*.yaml"))

    def of_method(self, method: str) -> dict[str, str]:
        """The groups that a method chooses: a loss and a regulariser, or a file of conf/method/. `ms` is the
        loss alone, `hier_ms` with the regulariser, `hier` that on `BASE_LOSS`."""
        known = {name: {"method": name} for name in self.names("method")}
        for regularizer, loss in product(self.names("regularizer"), self.names("loss")):
            name = loss if regularizer == "none" else f"{regularizer}_{loss}"
            if loss != "none":
                chosen = {"loss": loss, "regularizer": regularizer}
                known[name.removesuffix(f"_{BASE_LOSS}")] = chosen
        if method not in known:
            raise UnknownNameError("method", method, sorted(known))
        return known[method]

    def run(self, chosen: dict[str, str]) -> DictConfig:
        """A run of these groups, to be changed."""
        named = tuple((group, chosen[group]) for group in ORDER if group in chosen)
        if named not in self._runs:
            protocol = chosen.get("protocol", "")
            merged = self._merged(self.file("", "run"), *(self._layer(*each, protocol) for each in named))
            for group in ("dataset", "backbone"):  # must call itself by its file's name
                name, found = chosen[group], merged.get(group)
                own = found.get("name") if isinstance(found, DictConfig) else None
                if own != name:
                    path = f"{self.conf}/{group}/{name}.yaml"
                    raise ConfigError(f"{path}: name: must be {name} (given: {own!r})")
            self._runs[named] = merged
        return self._runs[named].copy()

    def file(self, group: str, name: str) -> DictConfig:
        """A file of a group, composed; of group '', one of conf/ itself."""
        if group and name not in self.names(group):
            raise UnknownNameError(group, name, self.names(group))
        if (group, name) not in self._composed:
            texts = self._check(self.conf / group / f"{name}.yaml")
            try:
                self._composed[group, name] = _by_hydra(group, name, tuple(texts))
            except (HydraException, OmegaConfBaseException, ValueError) as error:
                path = f"{self.conf / group / name}.yaml"
                raise ConfigError(f"{path}: {first_line(error)}") from error
        return self._composed[group, name]

    def _layer(self, group: str, name: str, protocol: str) -> DictConfig:
        """What a file gives: below the name of a protocol, for runs of that protocol alone."""
        layer = self.file(group, name).copy()
        own = {name: layer.pop(name) for name in self.names("protocol") if name in layer}
        for below, settings in own.items():
            if not isinstance(settings, DictConfig):
                path = f"{self.conf}/{group}/{name}.yaml"
                raise ConfigError(
                    f"{path}: {below}: must be a mapping of settings, such as {{head: {{dim: 8}}}}"
                )
        return self._merged(layer, own.get(protocol, {}))

    def _merged(self, *files: DictConfig) -> DictConfig:
        try:
            return OmegaConf.merge(*files)  # type: ignore[return-value]
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            raise ConfigError(f"{self.conf}: {first_line(error)}") from error

    def _check(self, path: Path) -> list[str]:
        """A file, and those in its defaults list, must be a mapping that YAML 1.1, which Hydra reads,
        and YAML 1.2 take for the same: 010 is eight there and ten here. Their texts."""
        held, texts = _read(path), [path.read_text(encoding="utf-8")]
        if not isinstance(held, dict):
            raise ConfigError(f"{path} is not a mapping")
        by_hydra: Any = OmegaConf.to_container(OmegaConf.load(path))
        for key, value in by_hydra.items():
            if repr(value) != repr(held.get(key)):
                raise ConfigError(
                    f"{path}: {key}: holds what YAML 1.1 and 1.2 take for different values (such as "
                    "010, 1:30 or on); write it in full or in quotes"
                )
        entries = held.get("defaults")
        for entry in entries if isinstance(entries, list) else []:
            for group, name in entry.items() if isinstance(entry, dict) else [("", entry)]:
                above = self.conf if group.startswith("/") else path.parent
                if (other := above / group.strip("/") / f"{name}.yaml").is_file():
                    texts += self._check(other)
        return texts


@lru_cache(maxsize=512)
def _by_hydra(group: str, name: str, texts: tuple[str, ...]) -> DictConfig:
    """What Hydra makes of a file, which is not to be changed. It follows from `texts`, those of the file and
    of all that it names, so that suites which are composed one after the other share it."""
    chosen = [f"+{group}={name}"] if group else []
    found = compose(None if group else name, chosen + WITHOUT_ITS_OWN)
    OmegaConf.set_struct(found, False)
    return found


def plain(config: DictConfig) -> dict[str, Any]:
    """A composed mapping as plain data."""
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(f"an interpolation cannot be resolved: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read(path: Path) -> Any:
    if path.read_bytes().startswith(b"\xef\xbb\xbf# @"):  # Hydra does not see that line
        raise ConfigError(f"{path} begins with a byte order mark; save it as UTF-8 without one")
    try:
        return yaml12.read(path)
    except yaml12.Error as error:
        refuse_conflicts([path])
        raise ConfigError(f"{path} {error}; correct it, or: git checkout {path}") from error
