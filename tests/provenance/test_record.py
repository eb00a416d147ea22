"""Records: what they hold, when they are written, and what makes them stale."""

import hashlib
import json
from pathlib import Path

import pytest

from hier import pipeline
from hier.errors import MissingInputError, StaleError
from hier.pipeline import Job, Stage
from hier.provenance.record import identity, recorded, what_goes_in, why_stale

MODULE = "src/hier/stages/cook.py"
COOK = Stage(
    "cook",
    each="run",
    inputs=("data/{dataset}/index.parquet", "larder"),
    outputs=("runs/{run}/dish.txt", "runs/{run}/rest"),
    params=("runs.{run}.seed", "runs.{run}.head", "datasets.{dataset}.ks"),
    code=("tools", "pot.py"),
    tables=("expected",),
)
PARAMS = {
    "runs": {"soup": {"dataset": "veg", "seed": 0, "head": {"dim": 4}, "not used": 1}},
    "datasets": {"veg": {"ks": [1, 2]}},
}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job with everything that it needs, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(pipeline.STAGES, "cook", COOK)
    for path, content in {
        "data/veg/index.parquet": b"index",
        "larder/b": b"beans",
        "larder/sub/a": b"apples",
        MODULE: b"def run(): ...",
        "src/hier/tools/spoon.py": b"spoon",
        "src/hier/pot.py": b"pot",
        "expected/veg.csv": b"a,b",
    }.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)
    return pipeline.job("cook", "soup", PARAMS)


def cook(job, params=PARAMS):
    with recorded(job, params):
        Path("runs/soup/rest").mkdir(parents=True, exist_ok=True)
        Path("runs/soup/dish.txt").write_bytes(b"dish")
        Path("runs/soup/rest/peel").write_bytes(b"peel")
    return json.loads(job.record.read_text())


def other(**changes):
    """PARAMS with other values of the run."""
    return PARAMS | {"runs": {"soup": PARAMS["runs"]["soup"] | changes}}


def test_the_fake_job_is_what_it_seems(job):
    assert job.inputs == ("data/veg/index.parquet", "larder")
    assert job.record == Path("runs/soup/cook.record.json")


def test_a_record_holds_what_went_in_and_what_came_out(job):
    record = cook(job)
    larder = f"{sha256(b'beans')}  b\n{sha256(b'apples')}  sub/a\n".encode()
    assert record["stage"] == "cook@soup"
    assert record["command"] == "hier cook soup"
    assert record["inputs"] == {
        "data/veg/index.parquet": sha256(b"index"),
        "larder": sha256(larder),
    }
    assert record["versioned"] == {
        MODULE: sha256(b"def run(): ..."),
        "src/hier/tools": sha256(f"{sha256(b'spoon')}  spoon.py\n".encode()),
        "src/hier/pot.py": sha256(b"pot"),
        "expected": sha256(f"{sha256(b'a,b')}  veg.csv\n".encode()),
    }
    assert record["params"] == {
        "runs.soup.seed": 0,
        "runs.soup.head": {"dim": 4},
        "datasets.veg.ks": [1, 2],
    }
    assert record["outputs"] == {
        "runs/soup/dish.txt": sha256(b"dish"),
        "runs/soup/rest": sha256(f"{sha256(b'peel')}  peel\n".encode()),
    }
    assert record["seconds"] >= 0
    assert set(record["environment"]) == {"python", "system", "processor", "cpus", "packages"}
    assert record["environment"]["packages"]["torch"]


def test_marks_of_python_and_snakemake_are_no_content(job):
    before = what_goes_in(job, PARAMS)
    Path("src/hier/tools/__pycache__").mkdir()
    Path("src/hier/tools/__pycache__/spoon.pyc").write_bytes(b"x")
    Path("larder/.snakemake_timestamp").write_bytes(b"x")
    assert what_goes_in(job, PARAMS) == before


def test_the_record_is_removed_first_and_written_last(job):
    cook(job)
    with recorded(job, PARAMS):
        assert not job.record.exists()
    assert job.record.exists()
    assert [path.name for path in job.record.parent.glob(".*")] == []


@pytest.mark.parametrize("failure", [ValueError("bad"), KeyboardInterrupt(), SystemExit(143)])
def test_what_fails_leaves_no_record(job, failure):
    cook(job)
    with pytest.raises(type(failure)), recorded(job, PARAMS):
        raise failure
    assert not job.record.exists()


def test_a_missing_output_leaves_no_record(job):
    with pytest.raises(FileNotFoundError), recorded(job, PARAMS):
        pass
    assert not job.record.exists()


def test_two_records_of_the_same_work_differ_in_time_alone(job):
    one, two = cook(job), cook(job)
    timeless = {"started", "seconds"}
    assert {k: v for k, v in one.items() if k not in timeless} == {
        k: v for k, v in two.items() if k not in timeless
    }


def test_an_input_that_changes_meanwhile(job):
    cook(job)
    with pytest.raises(StaleError) as caught, recorded(job, PARAMS):
        Path("larder/sub/a").write_bytes(b"pears")
    assert str(caught.value) == "an input of cook@soup changed while it ran; run it again"
    assert not job.record.exists()


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("data/veg/archive", "hier download veg"),
        ("data/veg/images.npy", "hier prepare veg"),
        ("runs/soup/model.safetensors", "hier train soup"),
        ("runs/soup/embeddings.safetensors", "hier embed soup"),
        ("runs/soup/metrics.json", "hier evaluate soup"),
        ("results/table.csv", "hier tabulate"),
    ],
)
def test_a_missing_input_names_the_command_that_makes_it(job, path, command):
    work = Job(COOK, "soup", (path,), job.outputs, job.params)
    with pytest.raises(MissingInputError) as caught, recorded(work, PARAMS):
        raise AssertionError("it must not start")
    assert str(caught.value) == f"{path} is missing; make it with: {command}"


def test_a_missing_input_leaves_the_old_record(job):
    cook(job)
    Path("data/veg/index.parquet").unlink()
    with pytest.raises(MissingInputError), recorded(job, PARAMS):
        raise AssertionError("it must not start")
    assert job.record.exists()


def test_missing_code_or_tables_are_one_line_too(job):
    Path("expected/veg.csv").unlink()
    Path("expected").rmdir()
    with pytest.raises(MissingInputError) as caught, recorded(job, PARAMS):
        raise AssertionError("it must not start")
    assert str(caught.value) == "expected is missing; make it with: git checkout expected"


# --- identity ------------------------------------------------------------------------------------


def test_the_identity_is_the_hash_of_all_that_goes_in(job):
    going_in = what_goes_in(job, PARAMS)
    assert set(going_in) == {"inputs", "versioned", "params"}
    by_hand = sha256(json.dumps(going_in, sort_keys=True).encode())
    with recorded(job, PARAMS) as given:
        Path("runs/soup/rest").mkdir(parents=True)
        Path("runs/soup/dish.txt").write_bytes(b"dish")
    assert given == identity(going_in) == by_hand


CHANGES = {
    "an input file": lambda: Path("data/veg/index.parquet").write_bytes(b"other"),
    "a file of an input folder": lambda: Path("larder/b").write_bytes(b"other"),
    "a new file in an input folder": lambda: Path("larder/c").write_bytes(b""),
    "a renamed file": lambda: Path("larder/b").rename("larder/d"),
    "its own module": lambda: Path(MODULE).write_bytes(b"other"),
    "a module in a folder": lambda: Path("src/hier/tools/spoon.py").write_bytes(b"other"),
    "a module": lambda: Path("src/hier/pot.py").write_bytes(b"other"),
    "a table": lambda: Path("expected/veg.csv").write_bytes(b"other"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_identity_changes_with_each_file(job, change):
    before = identity(what_goes_in(job, PARAMS))
    CHANGES[change]()
    assert identity(what_goes_in(job, PARAMS)) != before


def test_the_identity_changes_with_the_parameters_that_the_stage_reads_and_with_no_other(job):
    before = identity(what_goes_in(job, PARAMS))
    for params in (
        other(seed=1),
        other(head={"dim": 5}),
        other(head=None),
        PARAMS | {"datasets": {"veg": {"ks": [2, 1]}}},
    ):
        assert identity(what_goes_in(job, params)) != before
    assert identity(what_goes_in(job, other(**{"not used": 2}))) == before


# --- staleness -----------------------------------------------------------------------------------


def test_a_fresh_record_is_current(job):
    cook(job)
    assert why_stale(job, PARAMS) is None


def test_no_record(job):
    assert why_stale(job, PARAMS) == "has no record"


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [
        ("an input file", "input", "data/veg/index.parquet"),
        ("a file of an input folder", "input", "larder"),
        ("a new file in an input folder", "input", "larder"),
        ("its own module", "source", MODULE),
        ("a module in a folder", "source", "src/hier/tools"),
        ("a module", "source", "src/hier/pot.py"),
        ("a table", "source", "expected"),
    ],
)
def test_each_kind_of_change_is_named(job, change, kind, name):
    cook(job)
    CHANGES[change]()
    assert why_stale(job, PARAMS) == f"has {kind} {name} other than its record says"


def test_a_changed_parameter_is_named(job):
    cook(job)
    reason = why_stale(job, other(seed=1))
    assert reason == "has parameter runs.soup.seed other than its record says"


def test_a_changed_output_is_named(job):
    cook(job)
    Path("runs/soup/rest/peel").write_bytes(b"other")
    assert why_stale(job, PARAMS) == "has output runs/soup/rest other than its record says"


def test_a_missing_output_is_named(job):
    cook(job)
    Path("runs/soup/dish.txt").unlink()
    assert why_stale(job, PARAMS) == "output runs/soup/dish.txt is missing"


def test_code_that_was_listed_once_is_named(job):
    cook(job)
    record = json.loads(job.record.read_text())
    record["versioned"]["src/hier/gone.py"] = sha256(b"gone")
    job.record.write_text(json.dumps(record))
    reason = why_stale(job, PARAMS)
    assert reason == "has source src/hier/gone.py other than its record says"


def test_parameters_come_before_inputs_before_sources_before_outputs(job):
    cook(job)
    Path("runs/soup/dish.txt").write_bytes(b"other")
    reasons = [why_stale(job, PARAMS)]
    CHANGES["a module"]()
    reasons.append(why_stale(job, PARAMS))
    CHANGES["an input file"]()
    reasons.append(why_stale(job, PARAMS))
    reasons.append(why_stale(job, other(seed=1)))
    kinds = [reason.split()[1] for reason in reasons]
    assert kinds == ["output", "source", "input", "parameter"]
