"""A small suite with real results, made once for all tests that only look at results."""

import shutil
from hashlib import sha256
from pathlib import Path

from fakes.ledger import make_ledger
from fakes.project import Project
from fakes.settings import edited_settings

SUITE = ("suite=smoke", "methods=[pa,hier]", "seeds=[0,1]")
HIER = "smoke-hier-test_resnet-16-s0"
HIER1 = "smoke-hier-test_resnet-16-s1"
PA = "smoke-pa-test_resnet-16-s0"
WEIGHTS = "c0ffee" + 58 * "0"
FETCHED = sha256(b"data/smoke/archive/images.tgz\n").hexdigest()  # see fakes.ledger


class Copy(Project):
    """A project in a folder that is there already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


_MADE: list[Project] = []


def results(factory) -> Project:
    """Every job of the suite, run without an engine. To be looked at, not to be changed.

    Args:
        factory: pytest's tmp_path_factory.
    """
    if not _MADE:
        project = Project(factory.mktemp("traced"))
        project.run("hier", "compose", *SUITE)
        project.commit("suite")
        project.make_all()
        _MADE.append(project)
    return _MADE[0]


def copy_of(project: Project, folder: Path) -> Copy:
    """The same with results, free to be spoiled."""
    shutil.copytree(project.folder, folder, symlinks=True)
    return Copy(folder)


def made_up(folder: Path, monkeypatch) -> Project:
    """One run with a made-up ledger, as the current folder: an archive that was fetched, and weights."""
    project = Project(folder)
    project.run("hier", "compose", "suite=smoke", "methods=[hier]")
    monkeypatch.chdir(folder)
    with edited_settings() as params:
        addresses = {"url": "https://a.test/i.tgz", "alternates": ["https://b.test/i"]}
        file = {"name": "images.tgz", "sha256": FETCHED, **addresses}
        params.datasets["smoke"] |= {"generate": None, "sources": [{"files": [file]}]}
        weights = {"file": "w.safetensors", "sha256": WEIGHTS[:8], "url": "https://w.test/w"}
        params.runs[HIER]["backbone"]["weights"] = weights
    make_ledger()
    return project
