"""Inputs that bear a time to come, as where another machine's clock, or a disk's server's, is ahead."""

import os
import time

import pytest

from fakes.toy_pipeline import NAMES
from fakes.toy_project import ToyProject

pytestmark = pytest.mark.engines

ENGINES = {
    "snakemake": (("snakemake", "--cores", "2"), "Nothing to be done"),
    "dvc": (("dvc", "repro"), "up to date"),
}
AHEAD = ["src/hier/pot.py", "src/hier/tools", "expected", "data/veg/larder", "data/veg/chopped.txt", "params"]
READS = {
    "runs/soup/dish.txt": AHEAD[:-1], "runs/stew/dish.txt": AHEAD[:-1],
    "results/menu/menu.txt": ["runs/soup/dish.txt", "runs/stew/dish.txt", "params"],
}  # fmt: skip
HOUR = 3600 * 10**9


def time_of(path):
    """Of a file, or of the youngest one in a folder, nanoseconds."""
    return max(file.stat().st_mtime_ns for file in (path, *path.rglob("*")) if file.is_file())


def made(project):
    """Time and hash of each file that goes in or comes out."""
    kinds = ("data/", "runs/", "results/", "src/", "expected/", "params/")
    return {name: of for name, of in project.files().items() if name.startswith(kinds)}


def hashes(project):
    return {name: digest for name, (_, digest) in made(project).items()}


def set_ahead(path):
    """Let a file, or a folder with all in it, be an hour younger than now."""
    for each in (path, *path.rglob("*")):
        os.utime(each, ns=(time.time_ns() + HOUR,) * 2)


@pytest.mark.parametrize("first", ENGINES)
def test_what_is_made_from_inputs_of_a_time_to_come_is_kept_and_is_current(tmp_path, first):
    """Code, tables, settings and what other stages made; both engines, the one after the other."""
    project = ToyProject(tmp_path)
    project.write_dvc_yaml()
    for stage in ("shop", "chop"):
        assert project.run("hier", stage, "veg").returncode == 0
    for path in AHEAD:
        set_ahead(project.path(path))
    other = next(engine for engine in ENGINES if engine != first)
    for turn, engine in enumerate((first, other, first)):
        command, nothing_to_do = ENGINES[engine]
        before, bytes_before = made(project), hashes(project)
        done = project.run(*command)
        assert done.returncode == 0, done.stderr
        assert len(project.worked()) == len(NAMES)  # all in the first turn
        assert bytes_before.items() <= hashes(project).items()  # no file lost; DVC links them to its cache
        if turn > 1 or (turn, engine) == (1, "snakemake"):  # DVC asks each stage once
            assert nothing_to_do in done.stdout + done.stderr
            assert before == made(project)
        if (turn, engine) == (0, "snakemake"):
            assert_young(project)


def assert_young(project):
    for path, inputs in READS.items():
        youngest = max(time_of(project.path(name)) for name in inputs)
        assert youngest > time.time_ns() + HOUR // 2
        assert time_of(project.path(path)) >= youngest
