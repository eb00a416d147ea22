"""What holds for every test."""

import os
import signal
from pathlib import Path

import pytest

from hier.kernels import choose_kernels

SOURCE = Path(__file__).parents[1] / "src"
choose_kernels("portable")  # as stages do, which tests call when other tests have loaded torch


def pytest_configure() -> None:
    """Let processes run the code of this checkout, as pytest itself does (see pyproject.toml), and let
    Ctrl-C be Ctrl-C: a shell that starts the tests in the background has it ignored, and
    every process that a test starts would inherit that. One thread each: two workers with two threads
    spend most of their time waiting for each other, and no figure that a test looks at depends on it."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The small pipeline of fakes/toy_pipeline.py in the current folder; nothing of it was run yet."""
    from fakes import toy_pipeline

    toy_pipeline.install(tmp_path, monkeypatch)
    return toy_pipeline


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that run engines first, then those that train: each takes long, and one that begins last is
    waited for."""
    engines = {item.path for item in items if item.get_closest_marker("engines")}
    items.sort(key=lambda item: (item.path not in engines, "training" not in item.path.parts))
