"""One run of drawn images, measured, in a folder of its own."""

from pathlib import Path

import pytest

from fakes.deployment import make_run
from fakes.training import torch_as_before


@pytest.fixture(scope="package")
def finished(tmp_path_factory):
    """The folder of a project with one run of HIER, and the run's name."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch, torch_as_before():
        patch.chdir(folder)
        yield folder, make_run("methods=[hier]", "schedule.epochs=1")


@pytest.fixture
def run(finished, monkeypatch):
    """The run's folder; the project is the current one."""
    monkeypatch.chdir(finished[0])
    return Path("runs", finished[1])
