"""The stage on real results: the page tells the same way back as `hier trace`, and the same bytes twice."""

import json
from pathlib import Path

import pytest

from fakes.reader import read
from fakes.traced import HIER, copy_of, results
from hier.audit.origins import describe_origin
from hier.config.settings import Settings
from hier.files.hashing import Hasher
from hier.jobs import job
from hier.ledger.record import read_record
from hier.pipeline import STAGES
from hier.reporting.content import lineages

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return results(tmp_path_factory)


def test_made_again_it_is_the_same_bytes(project, tmp_path):
    copy = copy_of(project, tmp_path / "copy")
    before = Hasher(deep=True)(copy.path("results/smoke/report"))
    copy.run("hier", "report", "--force")
    assert Hasher(deep=True)(copy.path("results/smoke/report")) == before


def test_runs_made_again_elsewhere_give_the_same_page(project, tmp_path):
    """Nothing of times, machine or folder is in it: new records of the same work, the same bytes."""
    copy = copy_of(project, tmp_path / "copy")
    before = Hasher(deep=True)(copy.path("results/smoke/report"))
    old = json.loads(copy.path(f"runs/{HIER}/train.record.json").read_text())
    for stage in ("train", "embed", "evaluate", "views"):
        copy.run("hier", stage, HIER, "--force")
    new = json.loads(copy.path(f"runs/{HIER}/train.record.json").read_text())
    assert old["started"] != new["started"]
    copy.run("hier", "report", "--force")
    assert Hasher(deep=True)(copy.path("results/smoke/report")) == before


def every(read):
    """A file of a lineage and all files before it, with the steps that made them."""
    yield read
    for before in read.inputs:
        yield from every(before)


def test_the_way_back_is_that_of_the_records(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    found = list(every(lineages([HIER], Settings.read())[HIER]))
    steps = {read.step.job.name: read.step for read in found if read.step}
    assert list(steps) == [
        f"evaluate@{HIER}", f"embed@{HIER}", f"train@{HIER}", "prepare@smoke", "download@smoke",
    ]  # fmt: skip
    for name, step in steps.items():
        record = read_record(job(*name.split("@"), Settings.read()))
        assert step.record == record
        assert step.status == "current"
        assert {file.path: file.digest for file in step.inputs} == record["inputs"]
    assert {read.file.state for read in found} == {"as recorded"}
    (origin,) = steps["download@smoke"].origins
    assert describe_origin(origin) == ["drawn from seed 0"]
    assert steps[f"train@{HIER}"].settings["regularizer.weight"] == 0.5


def test_the_page_shows_it(project):
    page = read(project.path(f"results/smoke/report/runs/{HIER}.html"))
    tree = page.one("ul", class_="tree")
    shown = {button.attributes["title"] for button in tree.all("button", class_="hash")}
    record = json.loads(project.path(f"runs/{HIER}/train.record.json").read_text())
    digests = [d["sha256"] for kind in ("inputs", "versioned") for d in record[kind].values()]
    assert {
        record["key"],
        record["outputs"][f"runs/{HIER}/model.safetensors"]["sha256"],
        *digests,
    } <= shown
    assert "smoke.tgz" in tree.words
    assert "✗" not in tree.words
    assert record["started"][:10] not in page.words


def test_what_is_not_as_recorded_is_marked(project, tmp_path, monkeypatch):
    copy = copy_of(project, tmp_path / "copy")
    monkeypatch.chdir(copy.folder)
    Path(f"runs/{HIER}/history.csv").write_text("epoch,loss,rate\n")
    found = list(every(lineages([HIER], Settings.read())[HIER]))
    wrong = {read.file.path for read in found if read.file.state != "as recorded"}
    assert wrong == {f"runs/{HIER}/history.csv"}
    steps = [read.step for read in found if read.step]
    stale = {step.job.name: step.reason for step in steps if step.status != "current"}
    assert stale.keys() == {f"evaluate@{HIER}", f"train@{HIER}"}
    assert "history.csv" in stale[f"train@{HIER}"]


def test_tables_are_the_pipelines_own(project):
    for template in STAGES["report"].inputs:
        path = template.format(suite="smoke")
        name = Path(path).name
        assert (
            project.path(f"results/smoke/report/tables/{name}").read_bytes()
            == project.path(path).read_bytes()
        )


def test_damaged_views_are_told_with_the_command_that_mends_them(project, tmp_path):
    copy = copy_of(project, tmp_path / "copy")
    copy.path(f"runs/{HIER}/views.json").write_text("{}")
    done = copy.run("hier", "report", check=False)
    assert done.returncode == 1
    assert f"hier views {HIER}" in done.stderr
    assert copy.path("results/smoke/report/index.html").exists()
