"""Throw-away projects, see fakes.project."""

import pytest

from fakes.project import Project


@pytest.fixture(scope="session")
def new_project(tmp_path_factory):
    """A function that makes a project."""
    return lambda name: Project(tmp_path_factory.mktemp(name))
