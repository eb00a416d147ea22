"""Settings for tests: params.yaml and the files beside it, and those of datasets in conf/."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from hier import yaml12
from hier.config.dataset import Counts, Dataset
from hier.config.settings import PARAMS, Settings

CONF = Path(__file__).parents[2] / "conf/dataset"


def write_settings(settings: Settings, folder: Path = Path()) -> None:
    """Write settings, as `hier compose` does."""
    for path, text in settings.texts().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@contextmanager
def edited_settings(folder: Path = Path()) -> Iterator[Settings]:
    """The settings of a folder, to be changed in the block and then written."""
    settings = deepcopy(Settings.read(folder / PARAMS))
    yield settings
    write_settings(settings, folder)


def dataset(name: str, **changes: Any) -> Dataset:
    """A dataset as conf/ has it, with changes; what follows a blank in its name tells tests apart."""
    text = (CONF / f"{name.split()[0]}.yaml").read_text(encoding="utf-8")
    configured = Dataset.model_validate(yaml12.load(text))
    if "counts" in changes:
        changes["counts"] = Counts.model_validate(changes["counts"])
    return configured.model_copy(update=changes)
