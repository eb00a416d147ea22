"""Pages that are made when asked for: against other results, of two runs, of times. From real results."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fakes.reader import read, rows_of
from fakes.traced import HIER, HIER1, PA, results
from hier.config.settings import Settings
from hier.files.hashing import Hasher
from hier.reporting.standalone_pages import times

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return results(tmp_path_factory)


def words(table):
    return [[cell.words for cell in row] for row in rows_of(table)]


def values(project, run):
    metrics = json.loads(project.path(f"runs/{run}/metrics.json").read_text())
    return {f"R@{k}": 100 * share for k, share in metrics["recall"].items()}


def test_against_itself_nothing_moved_and_the_report_stays(project, tmp_path):
    before = Hasher(deep=True)(project.path("results/smoke/report"))
    said = project.run(
        "hier", "report", "--against", "results/smoke/report", "--out", f"{tmp_path}/out"
    ).stdout
    assert said.splitlines()[-1] == f"wrote {tmp_path}/out/comparison.html"
    (table,) = read(tmp_path / "out" / "comparison.html").all("table")
    rows = words(table)
    assert len(rows) == 2 * 5  # methods × measures
    assert {row[-2] for row in rows} == {"the same"}
    assert {row[7] for row in rows} == {"+0.00"}
    assert Hasher(deep=True)(project.path("results/smoke/report")) == before


def test_a_move_of_more_than_the_spread_is_told(project, tmp_path):
    table = pd.read_csv(project.path("results/smoke/table.csv"))
    of_pa = (table["method"] == "pa") & (table["measure"] == "R@1")
    spread = table.loc[of_pa, "value"].std()
    table.loc[of_pa, "value"] -= 60.0
    table.to_csv(tmp_path / "table.csv", index=False)
    said = project.run("hier", "report", "--against", f"{tmp_path}", "--out", f"{tmp_path}/out").stdout
    assert "1 by more than the seeds' spread" in said
    (shown,) = read(tmp_path / "out" / "comparison.html").all("table")
    row = words(shown)[0]
    assert [row[0], *row[2:5]] == ["PA", "test_resnet", "16", "R@1"]
    assert row[7:10] == ["+60.00", f"{spread:.2f}", "by more than the seeds' spread"]


def test_two_runs_are_held_against_each_other_with_the_spread_of_their_seeds(project, tmp_path):
    said = project.run("hier", "diff", HIER, PA, "--page", "--out", f"{tmp_path}/out").stdout
    page = read(Path(said.split()[-1]))
    one, other, again = (values(project, run) for run in (HIER, PA, HIER1))
    row = words(next(iter(page.all("table"))))[0]
    assert row[:4] == [
        "R@1",
        *(f"{v['R@1']:.2f}" for v in (one, other)),
        f"{other['R@1'] - one['R@1']:+.2f}",
    ]
    spread = pd.Series([one["R@1"], again["R@1"]]).std()
    assert float(row[4]) >= round(spread, 2) - 0.01
    assert "regularizer.name: hier → none" in page.one("main").words
    data = json.loads(page.one("script", id="curves").text)
    losses = pd.read_csv(project.path(f"runs/{PA}/history.csv"))["loss"]
    assert data[0]["lines"][PA] == pytest.approx(losses.tolist())


def test_times_are_those_of_the_records(project, tmp_path, monkeypatch):
    said = project.run("hier", "report", "--times", "--out", f"{tmp_path}/out").stdout
    page = read(Path(said.split()[-1]))
    shown = {row[0]: row for row in words(page.one("table"))}
    monkeypatch.chdir(project.folder)
    record = json.loads(Path(f"runs/{PA}/train.record.json").read_text())
    suite = Settings.read().suite()
    run = suite.run(PA)
    images = 32 // run.sampler.batch_size * run.sampler.batch_size * run.schedule.epochs
    (found,) = (row for row in times(suite) if row["run"] == PA)
    assert found["rate"] == pytest.approx(images / record["seconds"])
    assert found["memory"] == record["peak_memory"]["process_bytes"]
    assert shown[PA][2] == f"{record['seconds']:.2f}"
    assert record["environment"]["processor"] in shown[PA][-1]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("report", "--against", "conf"), "conf holds no table to compare with"),
        (
            ("report", "--against", "results", "--out", "conf"),
            "conf exists and holds no comparison.html",
        ),
        (("report", "--times", "--out", "runs"), "runs exists and holds no times.html"),
        (("report", "--out", "x"), "--out goes with --against or --times"),
        (("report", "--times", "--against", "results"), "exclude each other"),
        (("diff", HIER, PA, "--out", "x"), "--out goes with --page"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(project, command, says):
    done = project.run("hier", *command, check=False)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]
    assert project.path("conf/suite/demo.yaml").exists()


def test_an_earlier_page_is_replaced(project, tmp_path):
    for _ in range(2):
        project.run("hier", "report", "--times", "--out", f"{tmp_path}/out")
    shutil.rmtree(tmp_path / "out" / "assets")
    project.run("hier", "report", "--times", "--out", f"{tmp_path}/out")
    assert (tmp_path / "out" / "assets" / "page.css").exists()
