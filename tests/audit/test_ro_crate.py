"""`hier crate`: a crate that the validator accepts, that is true, and that needs nothing of hier."""

import json
import os
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from fakes.traced import FETCHED, HIER, HIER1, PA, WEIGHTS, copy_of, made_up, results
from fakes.validator import Validator, find_validator
from hier.audit.ro_crate import METADATA, PROFILES, write_crate
from hier.config.settings import Settings
from hier.errors import StaleError
from hier.jobs import jobs

pytestmark = pytest.mark.engines

KINDS = ("model", "proxies", "embeddings")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return results(tmp_path_factory)


@pytest.fixture(scope="module")
def crate(project, tmp_path_factory):
    """All runs as a folder."""
    folder = tmp_path_factory.mktemp("crate") / "crate"
    project.run("hier", "crate", "--out", str(folder))
    return folder


@pytest.fixture
def spoiled(project, tmp_path, monkeypatch):
    """A copy whose files the test may change, as the current folder."""
    copy = copy_of(project, tmp_path / "project")
    monkeypatch.chdir(copy.folder)
    return copy


@pytest.fixture(scope="module")
def validator(tmp_path_factory):
    program = find_validator()
    if program is None:
        pytest.skip("roc-validator is not installed; tests/fakes/validator.py says how")
    return Validator(program, tmp_path_factory.mktemp("validator") / "cache")


def digest(path):
    return sha256(path.read_bytes()).hexdigest()


def graph(folder):
    """The entities of a crate by their identifiers."""
    listed = json.loads((folder / METADATA).read_text())["@graph"]
    found = {entity["@id"]: entity for entity in listed}
    assert len(found) == len(listed)
    return found


def is_a(entity, kind):
    return kind in ([entity["@type"]] if isinstance(entity["@type"], str) else entity["@type"])


def refs(value):
    """The identifiers that a property points to."""
    values = value if isinstance(value, list) else [value]
    return [v["@id"] for v in values if isinstance(v, dict)]


def records(project):
    """Every record of the project by the name of its job."""
    found = project.folder.glob("*/*/*.record.json")
    return {r["stage"]: r for r in (json.loads(path.read_text()) for path in found)}


def spoil(folder, target, change):
    """A crate like another but for one change of its entities."""
    subprocess.run(["cp", "-r", folder, target], check=True)
    path = target / METADATA
    data = json.loads(path.read_text())
    change({entity["@id"]: entity for entity in data["@graph"]})
    path.write_text(json.dumps(data))
    return target


# The validator's word


def test_the_validator_accepts_it(validator, crate):
    assert validator.problems(crate) == []


def no_step(entities):
    del entities[f"#control/train@{HIER}"]["instrument"]


def no_profile(entities):
    root = entities["./"]
    root["conformsTo"] = [p for p in root["conformsTo"] if "provenance" not in p["@id"]]


def no_license(entities):
    del entities["./"]["license"]


def no_tools(entities):
    del entities["Snakefile"]["hasPart"]


def no_workflow_run(entities):
    entities["#action/workflow"]["instrument"] = {"@id": "#hier"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (no_step, "HowToStep"),
        (no_profile, "Provenance Run Crate profile"),
        (no_license, "license"),
        (no_tools, "orchestrated tools"),
        (no_workflow_run, "mainEntity"),
    ],
)
def test_the_validator_refuses_what_lacks_something(validator, crate, tmp_path, change, words):
    problems = validator.problems(spoil(crate, tmp_path / "crate", change))
    assert any(words in problem for problem in problems), problems


def test_the_validator_refuses_a_missing_file(validator, crate, tmp_path):
    broken = spoil(crate, tmp_path / "crate", lambda entities: None)
    (broken / f"runs/{HIER}/metrics.json").unlink()
    assert any(f"runs/{HIER}/metrics.json" in problem for problem in validator.problems(broken))


def test_the_validator_accepts_some_runs_as_a_zip_file(validator, project, tmp_path):
    path = tmp_path / "crate.zip"
    project.run("hier", "crate", HIER, PA, "--out", str(path))
    assert validator.accepts(path)


# What it says is true


def test_every_file_in_it_is_what_the_metadata_say(crate):
    here = {e["@id"]: e for e in graph(crate).values() if is_a(e, "File") and "#" not in e["@id"]}
    assert len(here) > 50
    for name, entity in here.items():
        path = crate / name
        assert entity["sha256"] == digest(path), name
        assert int(entity["contentSize"]) == path.stat().st_size
    there = {str(p.relative_to(crate)) for p in crate.rglob("*") if p.is_file()}
    assert there - here.keys() == {METADATA, "ro-crate-preview.html"}


def test_what_was_left_out_is_named_by_its_hash(project, crate):
    away = {e["name"]: e for e in graph(crate).values() if is_a(e, "File") and e["@id"][0] == "#"}
    runs = [path.name for path in project.path("runs").iterdir()]
    assert away.keys() == {
        "data/smoke/archive/smoke.tgz",
        "data/smoke/images.npy",
        *(f"runs/{run}/{kind}.safetensors" for run in runs for kind in KINDS),
    }
    for name, entity in away.items():
        assert entity["sha256"] == digest(project.path(name))
        assert int(entity["contentSize"]) == project.path(name).stat().st_size
    assert "seed 0" in away["data/smoke/archive/smoke.tgz"]["disambiguatingDescription"]


def test_each_job_says_what_its_record_says(project, crate):
    entities = graph(crate)
    found = records(project)
    assert len(found) == 2 + 4 * 4 + 2
    for name, record in found.items():
        action = entities[f"#action/{name}"]
        stage = name.partition("@")[0]
        assert refs(action["instrument"]) == [f"src/hier/stages/{stage}.py"]
        assert (action["startTime"], action["endTime"]) == (record["started"], record["ended"])
        read = {i.lstrip("#").rstrip("/") for i in refs(action["object"])}
        assert record["inputs"].keys() <= read
        made = {i.lstrip("#").rstrip("/") for i in refs(action["result"])}
        assert made == record["outputs"].keys()
        [control] = refs(entities[f"#control/{name}"]["object"])
        assert control == action["@id"]
        assert refs(entities[f"#control/{name}"]["instrument"]) == [f"Snakefile#{stage}"]


def test_settings_stand_with_their_values(project, crate):
    entities = graph(crate)
    record = records(project)[f"train@{HIER}"]
    values = {i: entities[i] for i in refs(entities[f"#action/train@{HIER}"]["object"])}
    for key, value in record["params"].items():
        written = values[f"#setting/{key}"]["value"]
        assert (written if isinstance(value, str) else json.loads(written)) == value


def test_packages_and_machine_stand_there(project, crate):
    entities = graph(crate)
    record = records(project)[f"train@{HIER}"]
    tool = entities["src/hier/stages/train.py"]
    named = {
        (entities[i]["name"], entities[i]["softwareVersion"]) for i in refs(tool["softwareRequirements"])
    }
    assert named == set(record["packages"].items())
    action = entities[f"#action/train@{HIER}"]
    machine = {entities[i]["name"]: entities[i]["value"] for i in refs(action["environment"])}
    assert machine["git.commit"] == project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert machine["torch.threads"] == "1"


def test_every_name_that_is_pointed_to_is_there(crate):
    entities = graph(crate)
    for entity in entities.values():
        for value in entity.values():
            for name in refs(value):
                assert name in entities or name.startswith("https://"), (entity["@id"], name)


def test_it_says_which_profiles_it_follows(crate):
    assert set(refs(graph(crate)["./"]["conformsTo"])) == set(PROFILES)
    assert "https://w3id.org/ro/wfrun/provenance/0.5" in PROFILES


def test_steps_are_the_stages_in_their_order(crate):
    entities = graph(crate)
    steps = [entities[i] for i in refs(entities["Snakefile"]["step"])]
    names = ["download", "prepare", "train", "embed", "evaluate", "views", "tabulate", "report"]
    assert [step["name"] for step in steps] == names
    assert [step["position"] for step in steps] == [str(i) for i in range(8)]


def test_opening_it_needs_nothing_of_this_project(crate):
    script = (
        "import sys; from rocrate.rocrate import ROCrate\n"
        f"crate = ROCrate({str(crate)!r})\n"
        f"print(crate.name, crate.mainEntity.id, crate.get('#action/train@{HIER}')['endTime'])\n"
        "assert not any(name.partition('.')[0] == 'hier' for name in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", script],
        cwd=os.sep, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("HIER: suite smoke, 4 runs Snakefile 2")
    assert "the profile Provenance Run Crate 0.5" in (crate / "README.md").read_text()


def test_addresses_and_weights_stand_there(tmp_path, monkeypatch, validator):
    made_up(tmp_path / "project", monkeypatch)
    path, number = write_crate(Settings.read())
    assert (path, number) == (Path("results/crate"), 8)
    entities = graph(path)
    archive = entities["#data/smoke/archive/images.tgz"]
    assert archive["url"] == ["https://a.test/i.tgz", "https://b.test/i"]
    assert archive["sha256"] == FETCHED
    weights = entities["#weights/w.safetensors"]
    assert weights["url"] == "https://w.test/w"
    assert WEIGHTS[:8] in weights["disambiguatingDescription"]
    assert weights["@id"] in refs(entities[f"#action/train@{HIER}"]["object"])
    assert validator.problems(path.resolve()) == []


# What is written, and when it is not


def test_the_same_results_give_the_same_bytes(project, crate, tmp_path):
    for name in ("one.zip", "other.zip"):
        project.run("hier", "crate", "--out", str(tmp_path / name))
    assert digest(tmp_path / "one.zip") == digest(tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        inside = {n: sha256(archive.read(n)).hexdigest() for n in archive.namelist()}
    assert inside == {p.relative_to(crate).as_posix(): digest(p) for p in crate.rglob("*") if p.is_file()}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.zip", "other.zip"]


def test_some_runs_come_without_the_others_and_without_tables(project, tmp_path):
    project.run("hier", "crate", HIER, "--out", str(tmp_path / "crate"))
    assert [p.name for p in (tmp_path / "crate/runs").iterdir()] == [HIER]
    assert not (tmp_path / "crate/results").exists()
    named = [i for i in graph(tmp_path / "crate") if i.startswith("#action/")]
    assert len(named) == 6 + 1
    assert not any(PA in i or HIER1 in i for i in graph(tmp_path / "crate"))


def test_models_come_along_when_asked(project, tmp_path):
    project.run("hier", "crate", HIER, "--with-models", "--out", str(tmp_path / "crate"))
    for kind in KINDS:
        path = f"runs/{HIER}/{kind}.safetensors"
        assert digest(tmp_path / "crate" / path) == digest(project.path(path))
        assert graph(tmp_path / "crate")[path]["sha256"] == digest(project.path(path))


def refused(project, *options):
    """The one line with which a crate is refused."""
    done = project.run("hier", "crate", *options, check=False)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return done.returncode, line


def test_what_was_tampered_with_is_refused_and_the_older_crate_stays(spoiled):
    spoiled.run("hier", "crate")
    before = digest(spoiled.path("results/crate") / METADATA)
    path = spoiled.path(f"runs/{HIER}/metrics.json")
    path.write_text(path.read_text().replace("0.", "1.", 1))
    code, line = refused(spoiled)
    assert code == 1
    assert f"evaluate@{HIER} is tampered" in line
    assert digest(spoiled.path("results/crate") / METADATA) == before
    spoiled.run("hier", "crate", PA)  # which has no part in it


def test_what_is_stale_is_refused(spoiled):
    module = spoiled.path("src/hier/losses/hier.py")
    module.write_text(module.read_text() + "\n")
    code, line = refused(spoiled, HIER)
    assert (code, f"train@{HIER} is stale" in line) == (1, True)
    assert not spoiled.path("results/crate").exists()


def test_what_was_not_run_is_refused(spoiled):
    for path in spoiled.path(f"runs/{HIER}").iterdir():
        path.unlink()
    code, line = refused(spoiled)
    assert (code, f"train@{HIER} is not run" in line) == (1, True)


def test_large_files_that_were_not_pulled_are_not_missed(spoiled):
    spoiled.path(f"runs/{HIER}/model.safetensors").unlink()
    spoiled.run("hier", "crate", HIER)
    assert f"#runs/{HIER}/model.safetensors" in graph(spoiled.path("results/crate"))
    code, line = refused(spoiled, HIER, "--with-models")
    assert (code, f"train@{HIER} is not run" in line) == (1, True)
    spoiled.path(f"runs/{HIER}/history.csv").unlink()
    code, line = refused(spoiled, HIER)
    assert (code, f"train@{HIER} is not run" in line) == (1, True)


def test_a_failure_leaves_nothing_behind(spoiled, monkeypatch):
    def fail(self, folder):
        (Path(folder) / "half").write_text("")
        raise OSError("no")

    monkeypatch.setattr(ROCrate, "write", fail)
    before = sorted(Path("results").iterdir())
    for out in (Path("results/crate"), Path("results/crate.zip")):
        with pytest.raises(OSError, match="no"):
            write_crate(Settings.read(), out=out)
    assert sorted(Path("results").iterdir()) == before


@pytest.mark.parametrize("out", [".", "results", "runs", "params.yaml"])
def test_nothing_but_a_crate_is_replaced(spoiled, out):
    before = {p: digest(p) for p in Path().glob("r*/**/*") if p.is_file()}
    code, line = refused(spoiled, "--out", out)
    assert (code, "is no crate" in line) == (2, True)
    assert {p: digest(p) for p in Path().glob("r*/**/*") if p.is_file()} == before


def test_an_older_crate_is_replaced(spoiled):
    spoiled.run("hier", "crate")
    old = spoiled.path("results/crate/old")
    old.write_text("")
    spoiled.run("hier", "crate", HIER)
    assert not old.exists()


def test_an_unknown_run_is_one_line(spoiled):
    code, line = refused(spoiled, "nobody")
    assert (code, HIER in line) == (2, True)


def test_the_library_refuses_as_the_command_does(spoiled):
    spoiled.path(f"runs/{HIER}/train.record.json").unlink()
    with pytest.raises(StaleError, match=f"train@{HIER}"):
        write_crate(Settings.read())
    assert len(list(jobs(Settings.read()))) == 20
