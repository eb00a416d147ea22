"""The stage on real results: the page tells the same way back as `hier trace`, and the same bytes twice."""

import json
from pathlib import Path

import pytest

from fakes.reader import read
from fakes.traced import HIER, copy_of, results
from hier.config.params import raw
from hier.files.hashing import Hasher
from hier.ledger.record import read_record
from hier.pipeline import STAGES, job
from hier.reporting.lineage import lineages

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return results(tmp_path_factory)


def test_made_again_it_is_the_same_bytes(project, tmp_path):
    copy = copy_of(project, tmp_path / "copy")
    before = Hasher(deep=True)(copy.path("results/report"))
    copy.run("hier", "report", "--force")
    assert Hasher(deep=True)(copy.path("results/report")) == before


def test_runs_made_again_elsewhere_give_the_same_page(project, tmp_path):
    """Nothing of times, machine or folder is in it: new records of the same work, the same bytes."""
    copy = copy_of(project, tmp_path / "copy")
    before = Hasher(deep=True)(copy.path("results/report"))
    old = json.loads(copy.path(f"runs/{HIER}/train.record.json").read_text())
    for stage in ("train", "embed", "evaluate"):
        copy.run("hier", stage, HIER, "--force")
    new = json.loads(copy.path(f"runs/{HIER}/train.record.json").read_text())
    assert old["started"] != new["started"]
    copy.run("hier", "report", "--force")
    assert Hasher(deep=True)(copy.path("results/report")) == before


def every(node):
    """All files and steps of a lineage."""
    yield node
    if node["step"]:
        yield node["step"]
        for below in node["step"]["inputs"]:
            yield from every(below)


def test_the_way_back_is_that_of_the_records(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    nodes = list(every(lineages([HIER], raw())[HIER]))
    steps = {node["name"]: node for node in nodes if "command" in node}
    assert list(steps) == [
        f"evaluate@{HIER}", f"embed@{HIER}", f"train@{HIER}", "prepare@smoke", "download@smoke",
    ]  # fmt: skip
    for name, step in steps.items():
        record = read_record(job(*name.split("@"), raw()))
        assert step["key"] == record["key"]
        assert step["current"]
        assert {f["path"]: f["sha256"] for f in step["inputs"]} == {
            path: digest["sha256"] for path, digest in record["inputs"].items()
        }
        assert step["packages"] == record["packages"]
        assert step["code"] == {
            path: digest["sha256"] for path, digest in record["versioned"].items()
        }
    assert all(node["as_recorded"] for node in nodes if "as_recorded" in node)
    (origin,) = steps["download@smoke"]["origins"]
    assert origin["lines"] == ["drawn from seed 0"]
    assert steps[f"train@{HIER}"]["settings"]["regularizer.weight"] == 0.5


def test_the_page_shows_it(project):
    page = read(project.path(f"results/report/runs/{HIER}.html"))
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
    nodes = list(every(lineages([HIER], raw())[HIER]))
    wrong = {node["path"] for node in nodes if "as_recorded" in node and not node["as_recorded"]}
    assert wrong == {f"runs/{HIER}/history.csv"}
    stale = {
        node["name"]: node["reason"] for node in nodes if "command" in node and not node["current"]
    }
    assert stale.keys() == {f"evaluate@{HIER}", f"train@{HIER}"}
    assert "history.csv" in stale[f"train@{HIER}"]


def test_tables_are_the_pipelines_own(project):
    for path in STAGES["report"].inputs:
        name = Path(path).name
        assert (
            project.path(f"results/report/tables/{name}").read_bytes()
            == project.path(path).read_bytes()
        )


def test_damaged_views_are_told_with_the_command_that_mends_them(project, tmp_path):
    copy = copy_of(project, tmp_path / "copy")
    copy.path(f"runs/{HIER}/views.json").write_text("{}")
    done = copy.run("hier", "report", check=False)
    assert done.returncode == 1
    assert f"hier evaluate {HIER}" in done.stderr
    assert copy.path("results/report/index.html").exists()
