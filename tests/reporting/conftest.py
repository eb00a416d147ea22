"""A report of made-up results, written once."""

from pathlib import Path

import pytest

from fakes.content import content_of
from hier.config.compose import compose
from hier.reporting.site import write_report

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="session")
def suite():
    return compose(["suite=smoke", "methods=[untrained,pa,hier]"], CONF)


@pytest.fixture(scope="session")
def report(suite, tmp_path_factory):
    """The folder of a report."""
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, content_of(suite, tmp_path_factory.mktemp("stores")))
    return folder
