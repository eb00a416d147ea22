"""Runs rebuilt elsewhere: what is the same is marked, what is not is named, a forger is unmasked."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakes.project import Project
from hier.audit.rerun import proved_by_rerun, rerun_runs
from hier.config.settings import Settings
from hier.config.suite import parse
from hier.errors import ReproductionError
from hier.files.hashing import hash_file
from hier.jobs import job
from hier.ledger.record import content_key, read_record, sealed

pytestmark = pytest.mark.engines

UNTRAINED, PA = "smoke-untrained-test_resnet-16-s0", "smoke-pa-test_resnet-16-s0"
PICKS_PA = ("--rerun", "1", "--seed", "0")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with two runs and their results."""
    project = Project(tmp_path_factory.mktemp("rerun"))
    project.run("hier", "compose", "suite=smoke", "methods=[untrained,pa]")
    project.make_all()
    return project


@pytest.fixture(scope="module")
def proved(made):
    """What `hier verify` said when it rebuilt the trained run."""
    return made.run("hier", "verify", *PICKS_PA)


@pytest.fixture
def project(made, proved, tmp_path, monkeypatch):
    """A copy with results and the proof, which is the current folder."""
    copy = Project.__new__(Project)
    copy.folder = tmp_path / "project"
    shutil.copytree(made.folder, copy.folder)
    monkeypatch.chdir(copy.folder)
    return copy


def test_a_rebuilt_run_is_marked(proved, project):
    said = proved.stdout.splitlines()
    assert said[0] == f"rerun with seed 0: {PA} (1 of 2 current runs)"
    for stage in ("prepare", "train", "embed", "evaluate", "views"):
        assert f"rebuilding {PA}: {stage} …" in said
    (marked,) = (line for line in said if "proved by rerun" in line)
    assert re.fullmatch(rf"{PA}: proved by rerun on \d{{4}}-\d\d-\d\d", marked)
    cells = json.loads(project.run("hier", "verify", "--json").stdout)["cells"]
    assert {cell["run"] for cell in cells if cell["proved"]} == {PA}


def test_the_proof_is_sealed_and_names_the_machine(project):
    proof = json.loads(Path(f"runs/{PA}/rerun.json").read_text())
    assert proof["run"] == PA
    assert proof["machine"]["torch"]["deterministic"] is True
    for stage, names in ("evaluate", ("metrics.json", "classes.csv")), ("views", ("views.json",)):
        made = proof["records"][f"runs/{PA}/{stage}.record.json"]
        paths = [Path("runs", PA, name) for name in names]
        assert made["outputs"] == {str(path): hash_file(path).sha256 for path in paths}


@pytest.mark.parametrize("change", ["key", "outputs"])
def test_the_proof_holds_no_longer_than_the_records(project, change):
    assert proved_by_rerun(PA)
    work = job("embed", PA, Settings.read())
    record = read_record(work)
    if change == "key":
        record["key"] = "0" * 64
    else:
        record["outputs"][work.outputs[0]]["sha256"] = "0" * 64
    before = work.record.read_bytes()
    work.record.write_text(sealed(record))
    assert proved_by_rerun(PA) is None
    work.record.write_bytes(before)
    assert proved_by_rerun(PA)
    work.record.unlink()
    assert proved_by_rerun(PA) is None


def test_a_proof_proves_its_own_run_alone(project):
    shutil.copy(f"runs/{PA}/rerun.json", f"runs/{UNTRAINED}/rerun.json")
    assert proved_by_rerun(UNTRAINED) is None


def test_an_edited_proof_is_tampered(project):
    proof = project.path(f"runs/{PA}/rerun.json")
    proof.write_text(proof.read_text().replace('"date": "2', '"date": "3'))
    said = project.run("hier", "verify", check=False)
    assert said.returncode == 3
    assert f"runs/{PA}/rerun.json does not match its seal" in said.stdout
    assert "proved by rerun" not in said.stdout


def test_an_edited_model_is_not_marked_as_proved(project):
    model = project.path(f"runs/{PA}/model.safetensors")
    model.write_bytes(model.read_bytes()[:-1] + b"\x7f")
    said = project.run("hier", "verify", check=False)
    assert said.returncode == 3
    assert "proved by rerun" not in said.stdout


def forge():
    """Put the untrained model in place of the trained one, and write records that vouch for it."""
    params = Settings.read()
    train, embed = job("train", PA, params), job("embed", PA, params)
    model = Path(train.outputs[0])
    shutil.copy(f"runs/{UNTRAINED}/model.safetensors", model)
    digest = hash_file(model).as_dict()
    record = read_record(train)
    record["outputs"][str(model)] = digest
    train.record.write_text(sealed(record))
    for reader in (embed, job("report", "smoke", params)):
        record = read_record(reader)
        record["inputs"][str(model)] = record["inputs_after"][str(model)] = digest
        record["key"] = content_key(record)
        reader.record.write_text(sealed(record))
    shutil.rmtree(f".hier/kept/{train.name}")


def test_a_forged_chain_of_records_is_unmasked(project):
    forge()
    believed = json.loads(project.run("hier", "verify", "--deep", "--json").stdout)
    assert believed["jobs"] == []
    said = project.run("hier", "verify", *PICKS_PA, check=False)
    assert said.returncode == 5
    error = said.stderr.splitlines()[-1]
    model = f"runs/{PA}/model.safetensors"
    assert error.startswith(
        f"error: 1 of 1 rebuilt runs are not what was recorded: {PA}: {model} differs: tensor "
    )
    assert re.search(r"tensor [\w.]+ differs by up to [\d.e+-]+ in \d+ of \d+ numbers", error)

    # It is remembered as long as the records are those.
    said = project.run("hier", "verify", check=False)
    assert said.returncode == 5
    assert f"{PA} is refuted: a rerun gave other bytes on " in said.stdout
    known = json.loads(project.run("hier", "verify", "--json", check=False).stdout)
    assert {c["run"] for c in known["cells"] if c["grade"] == "refuted"} == {PA}
    refused = project.run("hier", "crate", "--out", "crate", check=False)
    assert refused.returncode == 1
    assert f"a rerun gave other bytes for {PA}" in refused.stderr
    project.run("hier", "train", PA, "--force")
    project.make_all()
    assert project.run("hier", "verify").returncode == 0


def test_a_stage_that_fails_is_named_with_its_last_line(project, monkeypatch):
    monkeypatch.setenv("HIER_CHECKPOINT_MINUTES", "soon")
    said = project.run("hier", "verify", *PICKS_PA, check=False)
    assert said.returncode == 5
    assert f"{PA}: train failed: HIER_CHECKPOINT_MINUTES must be" in said.stderr.splitlines()[-1]
    assert proved_by_rerun(PA)  # nothing speaks against it


def test_the_seed_says_which_runs_are_picked(project, monkeypatch):
    monkeypatch.setattr("hier.audit.rerun.Elsewhere.__init__", lambda *_: None)
    monkeypatch.setattr("hier.audit.rerun.Elsewhere.prove", lambda *_: None)

    def picked(number, seed):
        return tuple(rerun_runs(Settings.read().suite(), number, seed))

    assert {picked(1, seed) for seed in range(9)} == {(UNTRAINED,), (PA,)}
    assert all(picked(1, seed) == picked(1, seed) for seed in range(9))
    assert sorted(picked(5, 0)) == sorted([UNTRAINED, PA])


def test_runs_that_are_not_current_are_left_out(project, monkeypatch):
    monkeypatch.setattr("hier.audit.rerun.Elsewhere.__init__", lambda *_: None)
    monkeypatch.setattr("hier.audit.rerun.Elsewhere.prove", lambda *_: None)
    settings = Settings.read().suite().model_dump()
    settings["runs"][PA]["optimizer"]["lr"] = 1.0
    lines = []
    assert rerun_runs(parse(settings, "here"), 2, 0, lines.append) == [UNTRAINED]
    assert lines[0].startswith(f"left out: {PA}, since train@{PA} is stale: ")
    settings["runs"][UNTRAINED]["seed"] = settings["datasets"]["smoke"]["generate"]["seed"] = 1
    settings["runs"] = {PA: settings["runs"][PA]}
    with pytest.raises(ReproductionError, match="no run is current"):
        rerun_runs(parse(settings, "here"), 2, 0, lines.append)


def test_ctrl_c_leaves_nothing_behind(project, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "hier", "verify", *PICKS_PA],
        cwd=project.folder,
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process.stdout as lines:
        next(line for line in lines if line.endswith(": train …\n"))
        assert len(list(temporary.iterdir())) == 1
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert list(temporary.iterdir()) == []
