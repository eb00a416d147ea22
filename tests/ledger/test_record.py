"""Records: what they hold, when they are written, what makes them stale, and what proves nothing."""

import hashlib
import json
import os
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hier.errors import MissingInputError, StaleError, TamperedError
from hier.files.hashing import Hasher
from hier.ledger import environment as machine
from hier.ledger.record import (
    content_key,
    fingerprint,
    first_change,
    of_other_settings,
    parse_record,
    read_record,
    recorded,
    same,
    sealed,
    stale_reason,
)

MODULE = "src/hier/stages/cook.py"
CHOPPED = "data/veg/chopped.txt"
LARDER = "data/veg/larder"
DISH = "runs/soup/dish.txt"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def md5(content):
    return hashlib.md5(content).hexdigest()


def of_file(content):
    return {"sha256": sha256(content), "md5": md5(content), "size": len(content)}


def of_folder(**files):
    """The digest of a folder of files, worked out by hand; / in names is spelt __."""
    named = {name.replace("__", "/"): content for name, content in files.items()}
    lines = "".join(f"{sha256(content)}  {name}\n" for name, content in sorted(named.items()))
    listing = ", ".join(
        f'{{"md5": "{md5(content)}", "relpath": "{name}"}}' for name, content in sorted(named.items())
    )
    return {
        "sha256": sha256(lines.encode()),
        "md5": md5(f"[{listing}]".encode()) + ".dir",
        "size": sum(map(len, named.values())),
        "nfiles": len(named),
    }


@pytest.fixture
def cook(job, toy):
    """A function that does the job and gives its record."""
    return lambda: toy.make("cook@soup")


def now(job, params):
    return fingerprint(replace(job, settings=params), Hasher())


def stale(job, params):
    return stale_reason(replace(job, settings=params), Hasher())


def test_a_record_holds_what_went_in_and_what_came_out(job, cook, toy):
    record = cook()
    assert record["format"] == 2
    assert record["stage"] == "cook@soup"
    assert record["command"] == "hier cook soup"
    assert record["inputs"] == record["inputs_after"]
    assert record["inputs"] == {
        CHOPPED: of_file(Path(CHOPPED).read_bytes()),
        LARDER: of_folder(b=b"beans", sub__a=b"apples"),
    }
    assert record["versioned"] == {
        MODULE: of_file(b"def run(): ..."),
        "src/hier/tools": of_folder(**{"spoon.py": b"spoon"}),
        "src/hier/pot.py": of_file(b"pot"),
        "expected": of_folder(**{"veg.csv": b"a,b"}),
    }
    assert record["params"] == {
        "runs.soup.seed": 0,
        "runs.soup.head": {"dim": 4, "eps": 1e-08},
        "datasets.veg.ks": [1, 2],
    }
    assert record["packages"].keys() == {"pyyaml", "click"}
    assert record["packages"]["click"] == version("click")
    assert record["outputs"] == {
        DISH: of_file(Path(DISH).read_bytes()),
        "runs/soup/rest": of_folder(peel=Path("runs/soup/rest/peel").read_bytes()),
    }
    assert record["seed"] == 0
    assert record["seconds"] >= 0
    assert record["started"] <= record["ended"]
    assert record["peak_memory"]["process_bytes"] > 1_000_000
    assert set(record["environment"]) == {
        "python", "system", "processor", "cpus", "kernels", "libc", "driver", "torch", "lock_sha256", "git",
    }  # fmt: skip


def test_a_stage_of_the_suite_or_of_a_dataset_has_no_seed(toy):
    toy.make_all()
    assert json.loads(Path("data/veg/shop.record.json").read_text())["seed"] is None
    assert json.loads(Path("results/menu/serve.record.json").read_text())["seed"] is None
    assert json.loads(Path("runs/stew/cook.record.json").read_text())["seed"] == 1


def test_the_lock_file_is_known_by_its_hash(job, cook):
    assert cook()["environment"]["lock_sha256"] is None
    Path("requirements.lock").write_bytes(b"torch==1\n")
    assert cook()["environment"]["lock_sha256"] == sha256(b"torch==1\n")


def test_marks_of_python_and_snakemake_are_no_content(job, toy):
    before = now(job, toy.SETTINGS)
    toy.write("src/hier/tools/__pycache__/spoon.pyc", b"x")
    toy.write(f"{LARDER}/.snakemake_timestamp", b"x")
    assert now(job, toy.SETTINGS) == before


def test_the_record_is_removed_first_and_written_last(job, cook, toy):
    cook()
    with recorded(job):
        assert not job.record.exists()
    assert job.record.exists()
    assert [path.name for path in job.record.parent.glob(".*")] == []


@pytest.mark.parametrize("failure", [ValueError("bad"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("touched", [True, False])
def test_what_fails_after_it_touched_an_output_leaves_no_record(job, cook, toy, failure, touched):
    cook()
    before = job.record.read_bytes()

    def fail():
        if touched:
            Path(DISH).write_bytes(b"half of it")
        raise failure

    with pytest.raises(type(failure)), recorded(job):
        fail()
    assert job.record.exists() is not touched
    assert touched or job.record.read_bytes() == before


def test_a_missing_output_leaves_no_record(job, toy):
    with pytest.raises(FileNotFoundError), recorded(job):
        pass
    assert not job.record.exists()


def test_two_records_of_the_same_work_differ_in_time_and_memory_alone(job, cook):
    one, two = cook(), cook()
    for name in ("started", "ended", "seconds", "peak_memory", "seal"):
        del one[name], two[name]
    assert one == two


def test_an_input_that_changes_meanwhile(job, cook, toy):
    cook()
    with pytest.raises(StaleError) as caught, recorded(job):
        Path(f"{LARDER}/sub/a").write_bytes(b"pears")
    assert str(caught.value) == f"input {LARDER} of cook@soup changed while it ran; run it again"
    assert not job.record.exists()


def test_an_input_that_changes_meanwhile_and_keeps_its_size_and_its_time(job, toy):
    path = Path(CHOPPED)
    before = path.stat()

    def swap():
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(StaleError), recorded(job):
        swap()


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("expected/nothing.csv", "git checkout expected/nothing.csv"),
        ("data/fish/larder", "hier shop fish"),
        ("data/fish/chopped.txt", "hier chop fish"),
        ("runs/pie/dish.txt", "hier cook pie"),
        ("runs/pie/rest", "hier cook pie"),
        ("results/menu/menu.txt", "hier serve menu"),
    ],
)
def test_a_missing_input_names_the_command_that_makes_it(job, toy, path, command):
    this = replace(job, inputs=(path,))
    with pytest.raises(MissingInputError) as caught, recorded(this):
        raise AssertionError("it must not start")
    assert str(caught.value) == f"{path} is missing; make it with: {command}"


def test_a_missing_input_leaves_the_old_record(job, cook, toy):
    cook()
    Path(CHOPPED).unlink()
    with pytest.raises(MissingInputError), recorded(job):
        raise AssertionError("it must not start")
    assert job.record.exists()


@pytest.mark.parametrize("path", ["expected/veg.csv", "src/hier/pot.py"])
def test_missing_code_or_tables_are_one_line_too(job, toy, path):
    Path(path).unlink()
    if path.startswith("expected"):
        Path("expected").rmdir()
        path = "expected"
    with pytest.raises(MissingInputError) as caught, recorded(job):
        raise AssertionError("it must not start")
    assert str(caught.value) == f"{path} is missing; make it with: git checkout {path}"


# --- the key -------------------------------------------------------------------------------------


def test_the_key_is_the_hash_of_all_that_goes_in(job, toy):
    going_in = now(job, toy.SETTINGS)
    assert set(going_in) == {"inputs", "versioned", "params", "packages"}
    text = json.dumps(going_in, sort_keys=True, separators=(",", ":"))
    by_hand = sha256(text.encode())
    with recorded(job) as given_key:
        toy.work(job)
    assert given_key == content_key(going_in) == by_hand
    assert json.loads(job.record.read_text())["key"] == by_hand


CHANGES = {
    "an input file": lambda: Path(CHOPPED).write_bytes(b"other"),
    "a file of an input folder": lambda: Path(LARDER, "b").write_bytes(b"other"),
    "a new file in an input folder": lambda: Path(LARDER, "c").write_bytes(b""),
    "a renamed file": lambda: Path(LARDER, "b").rename(f"{LARDER}/d"),
    "a file moved to another folder": lambda: Path(LARDER, "b").rename(f"{LARDER}/sub/b"),
    "its own module": lambda: Path(MODULE).write_bytes(b"other"),
    "a module in a folder": lambda: Path("src/hier/tools/spoon.py").write_bytes(b"other"),
    "a module": lambda: Path("src/hier/pot.py").write_bytes(b"other"),
    "a table": lambda: Path("expected/veg.csv").write_bytes(b"other"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_key_changes_with_each_file(job, toy, change):
    before = content_key(now(job, toy.SETTINGS))
    CHANGES[change]()
    assert content_key(now(job, toy.SETTINGS)) != before


def test_the_key_changes_with_the_parameters_that_the_stage_reads_and_with_no_other(job, toy):
    before = content_key(now(job, toy.SETTINGS))
    for params in (
        toy.other(seed=1),
        toy.other(head={"dim": 5, "eps": 1e-08}),
        toy.other(head=None),
        replace(toy.SETTINGS, datasets={"veg": {"ks": [2, 1]}}),
    ):
        assert content_key(now(job, params)) != before
    assert content_key(now(job, toy.other(**{"not used": 2}))) == before


def other_version(monkeypatch, package, version):
    real = machine.version
    forgetful = getattr(machine._version, "__wrapped__", machine._version)
    monkeypatch.setattr(machine, "_version", forgetful)
    monkeypatch.setattr(machine, "version", lambda name: version if name == package else real(name))


def test_the_key_changes_with_the_version_of_a_package_and_not_with_what_it_was_built_for(
    job, toy, monkeypatch
):
    other_version(monkeypatch, "click", "1.0")
    one = content_key(now(job, toy.SETTINGS))
    other_version(monkeypatch, "click", "1.0+cu126")
    assert content_key(now(job, toy.SETTINGS)) == one
    other_version(monkeypatch, "click", "1.1")
    assert content_key(now(job, toy.SETTINGS)) != one


def test_a_package_that_is_not_installed_has_no_version():
    assert machine.versions(("no-such-package-at-all",)) == {"no-such-package-at-all": None}


words = st.text(max_size=3)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words
values = plain | st.lists(plain, max_size=2) | st.dictionaries(words, plain, max_size=2)
KINDS = ("params", "inputs", "versioned", "packages")
going_ins = st.fixed_dictionaries(dict.fromkeys(KINDS, st.dictionaries(words, values, max_size=2)))
few = settings(max_examples=40, deadline=None)


@few
@given(going_ins, going_ins)
def test_two_keys_are_equal_where_all_that_goes_in_is(one, two):
    as_json = [json.dumps(going_in, sort_keys=True) for going_in in (one, two)]
    assert (content_key(one) == content_key(two)) == (as_json[0] == as_json[1])
    shuffled = {kind: dict(reversed(one[kind].items())) for kind in reversed(one)}
    assert content_key(shuffled) == content_key(one)


# --- seals ---------------------------------------------------------------------------------------


@few
@given(going_ins, words, st.dictionaries(words, values, max_size=2))
def test_what_was_sealed_is_read_back(going_in, name, outputs):
    record = {"stage": name, "command": name, "outputs": outputs, **going_in}
    record["key"] = content_key(going_in)
    read = parse_record(sealed(record).encode(), Path("x"))
    seal = read.pop("seal")
    assert read == record
    text = sealed(record).replace(seal, "0" * 64)  # so anyone can check it with sed and sha256sum
    assert seal == sha256(text.encode())
    assert parse_record(sealed(read).encode(), Path("x"))["seal"] == seal


def test_a_change_of_any_one_byte_is_noticed(job, cook):
    cook()
    text = job.record.read_bytes()
    for place in range(0, len(text), 29):
        changed = bytearray(text)
        changed[place] ^= 1
        with pytest.raises(TamperedError):
            parse_record(bytes(changed), job.record)
    for shorter in (text[:-1], text[:100], b"", text + b"\n", text.replace(b"\n", b"\r\n")):
        with pytest.raises(TamperedError):
            parse_record(shorter, job.record)


@pytest.mark.parametrize("text", [b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"{}", b"{", b"[" * 100_000])
def test_what_is_no_record(text):
    with pytest.raises(TamperedError) as caught:
        parse_record(text, Path("runs/x.json"))
    assert str(caught.value) == "runs/x.json is no record"


NEEDED = ["stage", "command", "key", "params", "inputs", "versioned", "packages", "outputs"]


@pytest.mark.parametrize("name", NEEDED)
def test_a_record_without_what_it_must_say_is_none_even_if_it_is_sealed(job, cook, toy, name):
    cook()
    with toy.forged("cook@soup") as record:
        del record[name]
    with pytest.raises(TamperedError):
        read_record(job)


WRONG = {
    "key": 5,
    "command": None,
    "inputs": [CHOPPED],
    "outputs": {"runs/soup/dish.txt": "dish"},
    "versioned": {"src/hier/pot.py": {}},
    "params": "none",
    "packages": None,
    "environment": "a machine",
    "started": 3,
    "seconds": "long",
    "peak_memory": "much",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_record_that_says_something_of_another_kind_is_none_even_if_it_is_sealed(job, cook, toy, name):
    cook()
    with toy.forged("cook@soup") as record:
        record[name] = WRONG[name]
        record["key"] = 5 if name == "key" else content_key(record)
    with pytest.raises(TamperedError) as caught:
        read_record(job)
    assert str(caught.value) == f"{job.record} does not say what its key is made of"


def test_a_record_whose_key_is_not_that_of_what_it_says_went_in(job, cook, toy):
    cook()
    with toy.forged("cook@soup") as record:
        record["inputs"][CHOPPED] = of_file(b"other")
    with pytest.raises(TamperedError):
        read_record(job)


def test_a_record_of_another_job_is_not_taken_for_this_ones(job, cook, toy):
    cook()
    toy.make("cook@stew")
    Path("runs/soup/cook.record.json").write_bytes(Path("runs/stew/cook.record.json").read_bytes())
    with pytest.raises(TamperedError) as caught:
        read_record(job)
    assert str(caught.value) == "runs/soup/cook.record.json is the record of cook@stew"
    assert of_other_settings(job)
    assert stale(job, toy.SETTINGS).startswith("has a record that proves nothing: ")


def test_a_job_without_a_record_has_none(job, toy):
    assert read_record(job) is None
    assert not of_other_settings(job)


def test_a_record_of_other_settings(job, cook, toy):
    cook()
    assert not of_other_settings(job)
    assert not of_other_settings(toy.job(job.name, toy.other(**{"not used": 2})))
    assert of_other_settings(toy.job(job.name, toy.other(seed=5)))


# --- staleness -----------------------------------------------------------------------------------


def test_a_fresh_record_is_current(job, cook, toy):
    cook()
    assert stale(job, toy.SETTINGS) is None


def test_no_record(job, toy):
    assert stale(job, toy.SETTINGS) == "has no record"


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [
        ("an input file", "input", CHOPPED),
        ("a file of an input folder", "input", LARDER),
        ("a new file in an input folder", "input", LARDER),
        ("its own module", "source", MODULE),
        ("a module in a folder", "source", "src/hier/tools"),
        ("a module", "source", "src/hier/pot.py"),
        ("a table", "source", "expected"),
    ],
)
def test_each_kind_of_change_is_named(job, cook, toy, change, kind, name):
    cook()
    CHANGES[change]()
    assert stale(job, toy.SETTINGS) == f"has {kind} {name} other than its record says"


def test_a_reference_counts_from_when_it_is_there_and_for_its_own_suite_alone(cook, toy):
    cook()
    toy.work(toy.job("cook@stew"))
    with recorded(toy.job("serve@menu")):
        toy.work(toy.job("serve@menu"))
    toy.write("expected/other.csv", b"of another suite")
    assert stale(toy.job("serve@menu"), toy.SETTINGS) is None
    other_than_recorded = "has source expected/menu.csv other than its record says"
    toy.write("expected/menu.csv", b"a,b")
    assert stale(toy.job("serve@menu"), toy.SETTINGS) == other_than_recorded
    with recorded(toy.job("serve@menu")):
        toy.work(toy.job("serve@menu"))
    assert stale(toy.job("serve@menu"), toy.SETTINGS) is None
    Path("expected/menu.csv").unlink()
    assert stale(toy.job("serve@menu"), toy.SETTINGS) == other_than_recorded


def test_a_changed_parameter_is_named(job, cook, toy):
    cook()
    reason = stale(job, toy.other(seed=1))
    assert reason == "has parameter runs.soup.seed other than its record says"


def test_another_version_of_a_package_is_named(job, cook, toy, monkeypatch):
    cook()
    other_version(monkeypatch, "click", "1.0")
    reason = stale(job, toy.SETTINGS)
    assert reason == "has version of package click other than its record says"


def test_a_changed_output_is_named(job, cook, toy):
    cook()
    Path("runs/soup/rest/peel").write_bytes(b"other")
    assert stale(job, toy.SETTINGS) == "has output runs/soup/rest other than its record says"


def test_a_missing_output_is_named(job, cook, toy):
    cook()
    Path(DISH).unlink()
    assert stale(job, toy.SETTINGS) == f"output {DISH} is missing"


def test_a_changed_record_is_named(job, cook, toy):
    cook()
    job.record.write_text(job.record.read_text().replace('"seed": 0', '"seed": 1'))
    reason = "has a record that proves nothing: runs/soup/cook.record.json does not match its seal"
    assert stale(job, toy.SETTINGS) == reason


def test_code_that_was_listed_once_is_named(job, cook, toy):
    cook()
    with toy.forged("cook@soup") as record:
        record["versioned"]["src/hier/gone.py"] = of_file(b"gone")
        record["key"] = content_key(record)
    reason = stale(job, toy.SETTINGS)
    assert reason == "has source src/hier/gone.py other than its record says"


def test_parameters_come_before_inputs_before_sources_before_outputs(job, cook, toy):
    cook()
    Path(DISH).write_bytes(b"other")
    reasons = [stale(job, toy.SETTINGS)]
    CHANGES["a module"]()
    reasons.append(stale(job, toy.SETTINGS))
    CHANGES["an input file"]()
    reasons.append(stale(job, toy.SETTINGS))
    reasons.append(stale(job, toy.other(seed=1)))
    kinds = [re.split(r"\W+", reason)[1] for reason in reasons]
    assert kinds == ["output", "source", "input", "parameter"]


def test_digests_are_compared_in_the_hashes_that_both_have():
    full = of_file(b"x")
    assert same(full, {"md5": md5(b"x")})
    assert same({"md5": md5(b"x"), "size": 1}, full)
    assert not same(full, {"md5": md5(b"y")})
    assert not same(full, full | {"sha256": sha256(b"y")})
    assert not same(full, {})
    assert not same(full, None)
    assert same({"a": 1}, {"a": 1})
    assert not same({"a": 1}, {"a": 1, "b": 2})  # settings are no digests
    assert same({}, {})


@few
@given(going_ins)
def test_nothing_has_moved_on_from_itself(going_in):
    assert first_change(going_in, going_in) is None
