"""`hier diff`: what differs between two runs, inputs first, by names that both share."""

import json
from hashlib import sha256

import pytest
import yaml

from fakes.traced import HIER, HIER1, PA, copy_of, results
from hier.ledger.record import content_key, sealed

pytestmark = pytest.mark.engines

KINDS = ["inputs", "parameters", "code", "packages", "environment", "outputs", "figures"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return results(tmp_path_factory)


@pytest.fixture
def spoiled(project, tmp_path):
    """A copy whose files the test may change."""
    return copy_of(project, tmp_path / "project")


def told(project, one, other):
    return project.run("hier", "diff", one, other).stdout


def as_json(project, one, other):
    return json.loads(project.run("hier", "diff", one, other, "--json").stdout)


def named(differences):
    return {d["name"]: (d["one"], d["other"]) for d in differences}


def digest(path):
    return sha256(path.read_bytes()).hexdigest()


def rewrite(project, name, **changes):
    """Change a record as if the stage had written that."""
    path = project.path(name)
    record = json.loads(path.read_text())
    for key, value in changes.items():
        record[key] = record[key] | value
    path.write_text(sealed(record | {"key": content_key(record)}))


def test_two_seeds_differ_in_the_seed_and_in_what_follows(project):
    data = as_json(project, HIER, HIER1)
    assert [(d["name"], d["one"], d["other"]) for d in data["parameters"]] == [("seed", 0, 1)]
    assert data["parameters"][0]["stages"] == ["train"]
    assert (data["code"], data["packages"], data["notes"]) == ([], [], [])
    assert data["identical"] is False


def test_inputs_are_told_with_their_hashes_and_the_stage_that_made_them(project):
    inputs = as_json(project, HIER, HIER1)["inputs"]
    through = {d["name"]: (d["stages"], d["through"]) for d in inputs}
    assert through == {
        "runs/{run}/model.safetensors": (["embed"], "train"),
        "runs/{run}/embeddings.safetensors": (["evaluate", "views"], "embed"),
        "runs/{run}/history.csv": (["evaluate"], "train"),
        "runs/{run}/proxies.safetensors": (["evaluate", "views"], "train"),
    }
    for difference in inputs:
        for side, run in (("one", HIER), ("other", HIER1)):
            path = project.path(difference["name"].replace("{run}", run))
            assert difference[side]["sha256"] == digest(path)


def test_figures_are_told_with_their_difference(project):
    one, other = (json.loads(project.path(f"runs/{run}/metrics.json").read_text()) for run in (PA, HIER))
    figures = named(as_json(project, PA, HIER)["figures"])
    assert figures["MAP@R"] == (100 * one["map_at_r"], 100 * other["map_at_r"])
    points = 100 * (other["map_at_r"] - one["map_at_r"])
    line = f"MAP@R: {100 * one['map_at_r']:.2f} → {100 * other['map_at_r']:.2f} ({points:+.2f})"
    assert line in told(project, PA, HIER)


def test_settings_are_held_against_each_other_key_by_key(project):
    run = yaml.safe_load(project.path(f"params/runs/{HIER}.yaml").read_text())
    found = named(as_json(project, PA, HIER)["parameters"])
    assert found["regularizer.name"] == ("none", "hier")
    assert found["regularizer.weight"] == (None, run["regularizer"]["weight"])
    assert "seed" not in found
    assert not any(name.startswith(("runs.", "datasets.")) for name in found)


def test_the_order_is_inputs_first_and_figures_last(project):
    lines = told(project, PA, HIER).splitlines()
    assert lines[0] == f"{PA} → {HIER}"
    heads = [line.partition(":")[0] for line in lines[1:] if not line.startswith(" ")]
    assert heads == KINDS


def test_a_run_is_identical_to_itself(project):
    assert told(project, HIER, HIER).splitlines()[1:] == [f"{kind}: identical" for kind in KINDS]
    assert as_json(project, HIER, HIER)["identical"] is True


def test_code_packages_and_machine_are_told(spoiled):
    record = json.loads(spoiled.path(f"runs/{HIER1}/train.record.json").read_text())
    other = {"md5": "0" * 32, "sha256": "1" * 64, "size": 1}
    rewrite(
        spoiled,
        f"runs/{HIER1}/train.record.json",
        versioned={"src/hier/losses": other},
        packages={"timm": "0.9"},
        environment={
            "processor": "abacus",
            "torch": record["environment"]["torch"] | {"threads": 9},
        },
    )
    data = as_json(spoiled, HIER, HIER1)
    [code] = data["code"]
    assert (code["name"], code["other"], code["stages"]) == ("src/hier/losses", other, ["train"])
    assert named(data["packages"]) == {"timm": (record["packages"]["timm"], "0.9")}
    assert named(data["environment"]) == {
        "processor": (record["environment"]["processor"], "abacus"),
        "torch.threads": (1, 9),
    }
    assert any(HIER1 in note and "stale" in note for note in data["notes"])


def test_a_run_without_records_is_compared_as_far_as_it_is_known(spoiled):
    for path in spoiled.path(f"runs/{HIER1}").iterdir():
        path.unlink()
    text = told(spoiled, HIER, HIER1)
    assert f"Make it with: hier train {HIER1}" in text
    assert "seed: 0 → 1 (train)" in text
    assert "packages: identical as far as is known" in text
    assert "R@1: " in text
    assert "→ not made" in text


def test_a_record_that_was_tampered_with_is_not_believed(spoiled):
    path = spoiled.path(f"runs/{HIER1}/train.record.json")
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 0'))
    [note] = as_json(spoiled, HIER, HIER1)["notes"]
    assert note.startswith(f"train@{HIER1} has no record that can be believed")
    assert "does not match its seal" in note


def test_an_unknown_run_is_one_line(project):
    done = project.run("hier", "diff", HIER, "nobody", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert HIER in done.stderr
    assert len(done.stderr.splitlines()) == 1
