"""Snakemake and DVC give the same bytes, and each accepts what the other made."""

import json
import os
import random
import shutil
from copy import copy
from hashlib import sha256

import pytest

pytestmark = pytest.mark.engines

SUITE = ("suite=smoke", "methods=[untrained,hier]")
HIER = "smoke-hier-test_resnet-16-s0"
WEIGHT = f"params/runs/{HIER}.yaml:regularizer.weight"


@pytest.fixture(scope="module")
def by_snakemake(new_project):
    project = new_project("snakemake")
    project.run("hier", "compose", *SUITE)
    project.run("snakemake", "--cores", "2")
    return project


@pytest.fixture(scope="module")
def by_dvc(new_project):
    project = new_project("dvc")
    project.run("hier", "compose", *SUITE, "runtime.workers=2")
    project.run("dvc", "repro")
    project.commit("results")
    return project


def artifacts(project):
    """SHA-256 of everything that the stages made, records (which hold times) left out."""
    return {
        str(path.relative_to(project.folder)): sha256(path.read_bytes()).hexdigest()
        for folder in ("data", "runs", "results")
        for path in project.path(folder).rglob("*")
        if path.is_file() and not path.name.endswith(".record.json") and path.name != ".snakemake_timestamp"
    }


def test_same_bytes_from_both_engines(by_snakemake, by_dvc):
    """Runs both engines over the smoke suite; Snakemake without
    loader workers and DVC with two."""
    made = artifacts(by_snakemake)
    pages = {path for path in made if path.startswith("results/smoke/report/")}
    assert len(made) - len(pages) == 1 + 2 + 2 * 7 + 6
    assert f"results/smoke/report/runs/{HIER}.html" in pages
    assert made == artifacts(by_dvc)


def test_the_same_bytes_without_an_engine_and_both_accept_them(new_project, by_snakemake):
    """Runs the smoke suite once more, in two processes for all stages and with one loader worker."""
    project = new_project("neither")
    project.run("hier", "compose", *SUITE, "runtime.workers=1")
    project.make_all()
    assert artifacts(project) == artifacts(by_snakemake)
    said = project.run("snakemake", "--cores", "2", "--dry-run")
    assert "Nothing to be done" in said.stdout + said.stderr
    project.run("hier", "adopt")
    assert "up to date" in project.run("dvc", "status").stdout
    before = {path: path.stat().st_mtime_ns for path in project.path("runs").rglob("*")}
    project.make_all()
    assert before == {path: path.stat().st_mtime_ns for path in project.path("runs").rglob("*")}


def test_snakemake_looks_at_contents_before_it_looks_at_times(by_snakemake):

    def would_run():
        said = by_snakemake.run("snakemake", "--cores", "2", "--dry-run")
        text = said.stdout + said.stderr
        return {line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("rule ")}

    assert would_run() == set()
    for path in by_snakemake.path("src").rglob("*.py"):
        path.touch()  # as git leaves them after a checkout
    by_snakemake.path("data/smoke/index.parquet").touch()
    assert would_run() == set()
    code = by_snakemake.path("src/hier/reporting/page.py")
    before = code.read_bytes()
    code.write_bytes(before + b"# changed\n")
    assert would_run() == {"report", "all"}
    code.write_bytes(before)
    assert would_run() == set()


def test_snakemake_gets_back_what_was_deleted_without_a_training(by_snakemake):
    model = by_snakemake.path(f"runs/{HIER}/model.safetensors")
    record = by_snakemake.path(f"runs/{HIER}/train.record.json").read_bytes()
    before = model.read_bytes()
    model.unlink()
    said = by_snakemake.run("snakemake", "--cores", "2")
    assert f"train@{HIER}: current, nothing to do" in said.stdout + said.stderr
    assert model.read_bytes() == before
    assert by_snakemake.path(f"runs/{HIER}/train.record.json").read_bytes() == record


def records(project):
    return {
        name: project.path(f"runs/{HIER}/{name}.record.json").read_bytes()
        for name in ("train", "embed", "evaluate", "views")
    }


def test_what_snakemake_is_told_to_force_is_worked_anew_and_nothing_else(by_snakemake):
    before = records(by_snakemake)
    said = by_snakemake.run("snakemake", "--cores", "2", "--forcerun", f"runs/{HIER}/embeddings.safetensors")
    for stage in ("evaluate", "views"):
        assert f"{stage}@{HIER}: current, nothing to do" in said.stdout + said.stderr
    after = records(by_snakemake)
    assert {name for name, record in after.items() if record != before[name]} == {"embed"}


def test_a_dataset_that_cannot_be_had_stops_nothing_but_its_runs(new_project):
    """Two suites' worth of smoke, one of whose datasets has no source."""
    project = new_project("no-data")
    nowhere = "dataset.sources=[{files:[{name:a.tgz,sha256:" + "0" * 64 + "}]}]"
    suite = (
        "suite: two\nmatrix:\n"
        "  - {dataset: smoke, backbone: test_resnet, recipe: smoke, methods: [untrained], seeds: [0]}\n"
        "  - {dataset: omniglot, backbone: test_resnet, recipe: smoke, methods: [untrained], seeds: [0]}\n"
    )
    project.path("conf/suite/two.yaml").write_text("# @package _global_\n" + suite)
    project.run("hier", "compose", "suite=two", f"runs.omniglot-*.{nowhere}")
    first = project.run("snakemake", "--cores", "2", check=False)
    assert first.returncode
    assert "a.tgz was looked for at" in project.path("data/omniglot/no-data.txt").read_text()
    project.run("snakemake", "--cores", "2")
    table = project.path("results/two/table.csv").read_text()
    assert "no data" in table
    assert project.path("runs/smoke-untrained-test_resnet-128-s0/metrics.json").exists()
    assert project.run("hier", "verify").returncode == 0
    assert "no source could be had" in project.run("hier", "download", "omniglot", check=False).stderr


def test_snakemake_accepts_what_dvc_made(by_dvc):
    said = by_dvc.run("snakemake", "--cores", "2", "--dry-run")
    assert "Nothing to be done" in said.stdout + said.stderr


def test_dvc_accepts_what_snakemake_made_once_adopted(by_snakemake):
    said = by_snakemake.run("hier", "adopt").stdout
    assert "adopted 12 stages" in said
    assert "up to date" in by_snakemake.run("dvc", "status").stdout
    lock = by_snakemake.path("dvc.lock").read_bytes()
    said = by_snakemake.run("dvc", "repro").stdout
    assert "Running stage" not in said
    assert said.count("didn't change, skipping") == 12
    assert by_snakemake.path("dvc.lock").read_bytes() == lock


def has_nothing_to_do(project):
    said = project.run("snakemake", "--cores", "2", "--dry-run")
    assert "Nothing to be done" in said.stdout + said.stderr
    assert "up to date" in project.run("dvc", "status").stdout


def test_a_fresh_clone_with_a_restored_cache_has_nothing_to_do(by_dvc, tmp_path):
    """Push, clone, pull and eight looks of the engines."""
    by_dvc.run("dvc", "remote", "add", "--local", "--default", "shelf", str(tmp_path / "shelf"))
    by_dvc.run("dvc", "push", "--quiet")
    clone = copy(by_dvc)
    clone.folder = tmp_path / "clone"
    by_dvc.run("git", "clone", "--quiet", ".", str(clone.folder))

    # From hashes alone: git brought the figures, and every job is vouched for by dvc.lock.
    known = json.loads(clone.run("hier", "verify", "--json", check=False).stdout)
    assert known["jobs"] == []
    assert {cell["grade"] for cell in known["cells"]} == {"committed, not here"}

    shutil.copy(by_dvc.path(".dvc/config.local"), clone.path(".dvc"))
    clone.run("dvc", "pull", "--quiet")
    assert "12 stages are current, 0 are stale" in clone.run("hier", "status").stdout
    has_nothing_to_do(clone)
    assert artifacts(clone) == artifacts(by_dvc)

    rng = random.Random(0)
    for path in (p for p in clone.folder.rglob("*") if ".git" not in p.parts):
        os.utime(path, (rng.randrange(10**9),) * 2)
    has_nothing_to_do(clone)
    said = clone.run("dvc", "repro").stdout
    assert said.count("didn't change, skipping") == 12
    assert json.loads(clone.run("hier", "verify", "--json").stdout)["jobs"] == []


def test_a_sweep_with_dvc_exp_run(by_dvc):
    """Two experiments with the commands of docs/sweeps.md, each a training. DVC writes the
    small weight without a point, which YAML 1.1 takes for text."""
    for weight in ("2.0", "1e-06"):
        by_dvc.run("dvc", "exp", "run", "--name", f"weight-{weight}", "-S", f"{WEIGHT}={weight}")
        verified = json.loads(by_dvc.run("hier", "verify", "--json").stdout)
        assert verified["jobs"] == []
    assert "weight: 1e-06" in by_dvc.path(f"params/runs/{HIER}.yaml").read_text()
    said = by_dvc.run("snakemake", "--cores", "2", "--dry-run")
    assert "Nothing to be done" in said.stdout + said.stderr
    (shown,) = json.loads(by_dvc.run("dvc", "exp", "show", "--json").stdout)[1:]
    swept = {}
    for experiment in shown["experiments"]:
        (revision,) = experiment["revs"]
        run = revision["data"]["params"][f"params/runs/{HIER}.yaml"]["data"]
        metrics = revision["data"]["metrics"][f"runs/{HIER}/metrics.json"]["data"]
        swept[run["regularizer"]["weight"]] = metrics["recall"]["1"]
    assert set(swept) == {2.0, 1e-06}
    assert all(0 <= recall <= 1 for recall in swept.values())


def test_what_dvc_is_told_to_force_is_worked_anew_and_nothing_else(by_dvc):
    """`hier` looks at the command line of the DVC that called it, so both are genuine."""
    before = records(by_dvc)
    command = ("dvc", "repro", "--single-item", "--force", f"evaluate@{HIER}")
    by_dvc.run(*command, genuine=True)
    after = records(by_dvc)
    assert {name for name, record in after.items() if record != before[name]} == {"evaluate"}


def test_adopt_refuses_what_is_stale(by_snakemake):
    """`dvc commit -f` alone would enter the old model under the new weight."""
    by_snakemake.run("hier", "compose", *SUITE, "regularizer.weight=9.0")
    lock = by_snakemake.path("dvc.lock").read_bytes()
    refused = by_snakemake.run("hier", "adopt", check=False)
    assert refused.returncode == 1
    expected = f"train@{HIER} is stale: has parameter runs.{HIER}.regularizer other than its record"
    assert expected in refused.stderr
    assert "nothing was adopted" in refused.stderr
    assert by_snakemake.path("dvc.lock").read_bytes() == lock
    by_snakemake.run("hier", "compose", *SUITE)
    by_snakemake.run("hier", "adopt")

    model = by_snakemake.path(f"runs/{HIER}/model.safetensors")
    model.write_bytes(model.read_bytes()[:-1] + b"\x7f")
    refused = by_snakemake.run("hier", "adopt", check=False)
    assert refused.returncode == 3
    assert f"train@{HIER} is tampered: runs/{HIER}/model.safetensors" in refused.stderr
