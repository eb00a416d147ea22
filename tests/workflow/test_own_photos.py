"""Photos of one's own, from `hier dataset add` to graded cells, in a project that truly runs."""

import json
import shutil

import pandas as pd
import pytest
from PIL import Image

from fakes.project import Project

pytestmark = pytest.mark.engines

SMALL = ("schedule.epochs=1", "methods=[pa,hier]", "backbone=test_resnet")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose suite `shoes` is made of six classes of photos in it."""
    project = Project(tmp_path_factory.mktemp("photos"))
    for i in range(48):
        path = project.path(f"photos/kind{i % 2}/class{i % 6}/{i}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + i % 3, 20), (40 * (i % 6), 5 * i, 90)).save(path)
    project.run("hier", "dataset", "add", "photos", "--name", "shoes")
    project.run("hier", "compose", "suite=shoes", *SMALL)
    project.make_all()
    return project


def status(project):
    return project.run("hier", "status", check=False).stdout


def test_there_are_graded_cells_galleries_and_a_page_and_no_photo_was_copied(made):
    table = pd.read_csv(made.path("results/shoes/table.csv"))
    assert set(table["method"]) == {"pa", "hier"}
    assert set(table["grade"]) == {"no reference"}
    for run in table["run"].unique():
        views = json.loads(made.path(f"runs/{run}/views.json").read_text())
        assert views["galleries"]["shared"]
        assert made.path(f"results/shoes/report/runs/{run}.html").is_file()
    assert [path.name for path in made.path("data/shoes/archive").iterdir()] == ["shoes-photos.sha256"]


def test_a_run_of_photos_in_the_project_is_rebuilt_elsewhere(made):
    said = made.run("hier", "verify", "--rerun", "1", check=False)
    assert "every artifact came out as the same bytes" in said.stderr + said.stdout


def test_the_ledger_leads_back_to_the_folder(made):
    (run,) = (path.name for path in made.path("runs").glob("shoes-hier-*"))
    traced = made.run("hier", "trace", run).stdout
    assert "from photos" in traced
    assert "promised sha256" in traced


def test_photos_that_moved_train_nothing_anew(made, tmp_path):
    assert "0 are stale" in status(made)
    copy = Project.__new__(Project)
    copy.folder = tmp_path / "copy"
    shutil.copytree(made.folder, copy.folder, symlinks=True)
    copy.path("photos").rename(copy.path("shoe-photos"))
    copy.run("hier", "dataset", "add", "shoe-photos", "--name", "shoes", "--replace")
    copy.run("hier", "compose", "suite=shoes", *SMALL)
    for stage in ("download", "prepare"):
        copy.run("hier", stage, "shoes")
    for run in copy.path("runs").glob("shoes-*"):
        assert "current, nothing to do" in copy.run("hier", "train", run.name).stdout


def test_what_changed_is_named_and_put_back_it_is_current_again(made):
    path = made.path("photos/kind0/class0/0.png")
    before = path.read_bytes()
    path.write_bytes(before + b"\0")
    said = status(made)
    assert (
        "the photos in photos are not those that were added as shoes: 1 changed (such as kind0/class0/0.png)"
        in said
    )
    assert "hier dataset add photos --name shoes --replace" in said
    refused = made.run("hier", "prepare", "shoes", "--force", check=False)
    assert refused.returncode == 1
    assert "1 changed (such as kind0/class0/0.png)" in refused.stderr
    path.write_bytes(before)
    made.run("hier", "prepare", "shoes")
    assert "0 are stale" in status(made)
