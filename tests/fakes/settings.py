"""params.yaml and the files beside it, for tests that write or edit them."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from hier.config.params import PARAMS, raw, texts


def write_settings(params: dict[str, Any], folder: Path = Path()) -> None:
    """Write a suite's settings, as `hier compose` does."""
    for path, text in texts(params).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@contextmanager
def edited_settings(folder: Path = Path()) -> Iterator[dict[str, Any]]:
    """The settings of a folder, to be changed in the block and then written."""
    params = deepcopy(raw(folder / PARAMS))
    yield params
    write_settings(params, folder)
