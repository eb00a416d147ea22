"""dvc.lock against the records: what DVC itself wrote, and each way in which an entry can lie."""

import copy
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.toy_pipeline import git, item, write_lock
from hier import yaml12
from hier.errors import ConfigError, TamperedError
from hier.files.hashing import Hasher
from hier.ledger.dvc_lock import LOCK, Ledger, cache_file, cache_folder
from hier.ledger.record import read_record

NAME = "cook@soup"
RECORD = Path("runs/soup/cook.record.json")
DISH = "runs/soup/dish.txt"
CHOPPED = "data/veg/chopped.txt"


@pytest.fixture
def job(toy):
    """cook@soup, done, with its entry in dvc.lock."""
    for name in ("shop@veg", "chop@veg"):
        toy.make(name)
    toy.make(NAME)
    toy.write_lock({NAME: toy.entry(NAME)})
    return toy.job(NAME)


def conflict(job):
    try:
        record = read_record(job)
    except TamperedError:
        record = None
    return Ledger().conflict(job, record, Hasher())


def change(**parts):
    """Replace parts of the entry; a function gets the old part."""
    entry = yaml12.load(LOCK.read_text())["stages"][NAME]
    for name, part in parts.items():
        entry[name] = part(copy.deepcopy(entry[name])) if callable(part) else part
    write_lock({NAME: entry})


def test_an_entry_that_says_what_the_record_says(job):
    assert conflict(job) is None
    assert Ledger().names(job, Hasher())
    digest = Ledger().digest(job, DISH)
    content = Path(DISH).read_bytes()
    assert digest == {"md5": hashlib.md5(content).hexdigest(), "size": len(content)}


def test_without_an_entry_there_is_nothing_to_contradict(job, toy):
    other = toy.job("cook@stew")
    assert Ledger().conflict(other, None, Hasher()) is None
    assert Ledger().entry(other) is None
    assert Ledger().digest(other, "runs/stew/dish.txt") is None
    LOCK.unlink()
    assert conflict(job) is None
    assert not Ledger().names(job, Hasher())


def test_what_dvc_itself_writes_contradicts_no_record(toy):
    """Has DVC enter a whole pipeline, as `hier adopt` does: some 4 s."""
    from hier.dvc_view import dvc_yaml
    from hier.jobs import jobs

    toy.make_all()
    Path("dvc.yaml").write_text(dvc_yaml(toy.SETTINGS))
    for command in (["init", "--no-scm", "--quiet"], ["commit", "--force", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "1e-08" in LOCK.read_text()
    ledger = Ledger()
    assert set(ledger.entries) == {toy.job(name).dvc_name for name in toy.NAMES}
    for job in jobs(toy.SETTINGS):
        record = read_record(job)
        assert ledger.conflict(job, record, Hasher()) is None, job.name
        assert ledger.names(job, Hasher())
        for path in (*job.outputs, str(job.record)):
            assert cache_file(ledger.digest(job, path)["md5"]).exists()
        # The record that was adopted lies in the cache; without the one in the workspace it decides.
        text = job.record.read_bytes()
        job.record.unlink()
        assert ledger.conflict(job, None, Hasher()) is None
        assert not ledger.names(job, Hasher())
        job.record.write_bytes(text)


# --- contradictions ------------------------------------------------------------------------------


def with_md5(listed, path, md5="0" * 32):
    return [one | {"md5": md5} if one["path"] == path else one for one in listed]


def without(listed, path):
    return [one for one in listed if one["path"] != path]


def reset(params, name, value):
    return params | {SOUP: params[SOUP] | {name: value}}


def resized(listed, path):
    return [one | {"size": one["size"] + 1} if one["path"] == path else one for one in listed]


SOUP, VEG = "params/runs/soup.yaml", "params/datasets/veg.yaml"
LIES = {
    "another command": ("cmd", "hier cook stew", None),
    "another input": ("deps", lambda d: with_md5(d, CHOPPED), CHOPPED),
    "another input folder": ("deps", lambda d: with_md5(d, "data/veg/larder"), "data/veg/larder"),
    "an input of another size": ("deps", lambda d: resized(d, CHOPPED), CHOPPED),
    "another source": ("deps", lambda d: with_md5(d, "src/hier/pot.py"), "src/hier/pot.py"),
    "no input": ("deps", lambda d: without(d, "data/veg/larder"), "data/veg/larder"),
    "one input more": ("deps", lambda d: [*d, item("more", {"md5": "0" * 32})], "more"),
    "another setting": ("params", lambda p: reset(p, "seed", 1), f"{SOUP}:seed"),
    "a setting within": (
        "params", lambda p: reset(p, "head", {"dim": 4, "eps": 2e-08}), f"{SOUP}:head",
    ),
    "no setting": ("params", lambda p: p | {VEG: {}}, f"{VEG}:ks"),
    "one setting more": ("params", lambda p: reset(p, "z", 1), f"{SOUP}:z"),
    "another output": ("outs", lambda o: with_md5(o, DISH), DISH),
    "another output folder": ("outs", lambda o: with_md5(o, "runs/soup/rest"), "runs/soup/rest"),
    "an output of another size": ("outs", lambda o: resized(o, DISH), DISH),
    "no output": ("outs", lambda o: without(o, DISH), DISH),
    "one output more": ("outs", lambda o: [*o, item("more", {"md5": "0" * 32})], "more"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_each_way_in_which_an_entry_contradicts_its_record(job, lie):
    part, told, name = LIES[lie]
    change(**{part: told})
    expected = (
        f"dvc.lock says otherwise of {name} in cook@soup than its record"
        if name
        else "dvc.lock has another command for cook@soup than its record"
    )
    assert conflict(job) == expected


@pytest.mark.parametrize(
    "parts",
    [
        {"outs": []}, {"outs": None}, {"outs": "x"}, {"outs": [1]}, {"outs": [{"md5": "x"}]},
        {"outs": [{"path": str(RECORD)}]}, {"deps": None}, {"deps": [{}]}, {"params": None},
        {"params": {"params.yaml": None}}, {"params": []},
    ],
    ids=str,
)  # fmt: skip
def test_an_entry_that_is_none_is_a_conflict_and_no_trace(job, parts, toy):
    toy.commit()
    change(**parts)
    assert "dvc.lock" in conflict(job)


@pytest.mark.parametrize("entry", [3, "x", [], {}])
def test_an_entry_of_another_kind_is_a_conflict_and_no_trace(job, entry):
    write_lock({NAME: entry})
    assert "dvc.lock has an entry cook@soup" in conflict(job)


@pytest.mark.parametrize(
    "text",
    [
        *("a: [", "stages: 3", "- a\n- b\n", "\ta: b", "stages: [a]", "3"),
        *("", "# nothing\n", "{}", "cook@soup:\n  cmd: hier cook soup\n"),
        *("schema: '3.0'\nstages: {}\n", "schema: '2.0'\nstages:\n"),
    ],
)
def test_a_ledger_that_cannot_be_read(job, text):
    LOCK.write_text(text)
    with pytest.raises(TamperedError) as caught:
        Ledger()
    assert str(caught.value).startswith("dvc.lock cannot be read: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["schema: '2.0'\n", "schema: '2.0'\nstages: {}\n"])
def test_a_ledger_without_entries(job, text):
    LOCK.write_text(text)
    assert Ledger().entries == {}
    assert conflict(job) is None


@pytest.mark.parametrize("content", [b"[core\nremote = x\n", b"remote = x\n", bytes(range(256))])
def test_a_broken_configuration_of_dvc_is_one_line(job, content):
    Path(".dvc").mkdir(exist_ok=True)
    Path(".dvc/config").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        cache_file("0" * 32)
    assert str(caught.value).startswith(".dvc/config cannot be read (")
    assert str(caught.value).endswith("; correct it, or: git checkout .dvc/config")
    assert "\n" not in str(caught.value)


# --- an entry of an earlier result ---------------------------------------------------------------


def store_in_cache(content, md5=None):
    path = cache_file(md5 or hashlib.md5(content).hexdigest())
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def earlier(job, toy):
    """The entry is of an earlier result; the workspace has one of another seed. Gives the old record."""
    text = RECORD.read_bytes()
    toy.make(NAME, toy.other(seed=7))
    return text


def test_an_earlier_entry_is_proved_by_its_record_in_the_cache(job, earlier, toy):
    store_in_cache(earlier)
    toy.commit()
    assert conflict(job) is None
    assert not Ledger().names(job, Hasher())


@pytest.mark.parametrize("lie", LIES)
def test_an_earlier_entry_is_held_against_its_record_in_the_cache(job, earlier, lie):
    store_in_cache(earlier)
    part, told, name = LIES[lie]
    change(**{part: told})
    assert (name or "another command") in conflict(job)


def test_a_record_in_the_cache_that_is_not_what_its_name_says(job, earlier):
    path = store_in_cache(earlier[:-1] + b" ", hashlib.md5(earlier).hexdigest())
    assert conflict(job) == f"{path} in DVC's cache is not what its name says"


def test_something_in_the_cache_that_is_no_record(job, earlier):
    content = b"no record"
    path = store_in_cache(content)
    own = {"md5": hashlib.md5(content).hexdigest(), "size": len(content)}
    change(outs=lambda outs: [*without(outs, str(RECORD)), item(str(RECORD), own)])
    assert conflict(job) == f"{path} is no record"


def test_an_uncommitted_entry_that_no_record_proves(job, earlier, toy):
    toy.commit("dvc.lock")
    assert conflict(job) is None  # what git has committed stands
    change(outs=lambda outs: with_md5(outs, DISH))
    expected = "dvc.lock has an entry cook@soup that no record proves and git does not have"
    assert conflict(job) == expected
    toy.commit("dvc.lock")
    assert conflict(job) is None


def test_where_git_has_no_ledger_an_entry_that_no_record_proves_is_none(job, earlier, toy):
    toy.commit()
    assert "no record proves" in conflict(job)


def test_without_git_there_is_nothing_to_hold_it_against(job, earlier):
    assert conflict(job) is None


def test_in_a_folder_of_a_repository_its_own_ledger_counts(job, earlier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    git("init", "--quiet", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("dvc.lock", "runs"):
        (tmp_path / name).rename(tmp_path / "sub" / name)
    git("add", "--force", "sub/dvc.lock")
    git("commit", "--quiet", "--message", "of before")
    monkeypatch.chdir(tmp_path / "sub")
    assert [*Ledger().commits["HEAD"]] == [NAME]
    assert conflict(job) is None


def test_a_record_that_was_removed_leaves_its_entry_unproved(job, toy):
    toy.commit()
    RECORD.unlink()
    assert "no record proves" in conflict(job)


def test_an_entry_names_the_record_only_where_it_has_its_very_bytes(job, toy):
    assert Ledger().names(job, Hasher())
    toy.make(NAME, toy.other(seed=7))
    toy.make(NAME)  # the same work at another time
    with toy.forged(NAME) as record:
        record["seconds"] += 1
    assert not Ledger().names(job, Hasher())


# --- DVC's cache ---------------------------------------------------------------------------------


def test_the_cache_is_where_dvcs_settings_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cache_folder() == Path(".dvc/cache")
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = True\n")
    assert cache_folder() == Path(".dvc/cache")
    Path(".dvc/config").write_text("[cache]\n    dir = ../shared\n['remote \"a\"']\n    url = %x\n")
    assert cache_folder() == Path(".dvc/../shared")
    Path(".dvc/config.local").write_text(f"[cache]\n    dir = '{tmp_path}/own'\n")
    assert cache_folder() == tmp_path / "own"
    assert cache_file("abcdef") == tmp_path / "own/files/md5/ab/cdef"


@pytest.mark.parametrize("levels", [["--system"], ["--global", "--project"]], ids=" ".join)
def test_the_cache_is_where_dvc_itself_looks(tmp_path, monkeypatch, levels):
    monkeypatch.chdir(tmp_path)
    for level in ("GLOBAL", "SYSTEM"):
        (tmp_path / level).mkdir()
        monkeypatch.setenv(f"DVC_{level}_CONFIG_DIR", str(tmp_path / level))

    def dvc(*command):
        command = [sys.executable, "-m", "dvc", *command]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    dvc("init", "--no-scm", "-q")
    for level in levels:
        dvc("cache", "dir", "-q", level, f"elsewhere{level}")
    assert cache_folder().resolve() == Path(dvc("cache", "dir")).resolve()
    assert cache_folder().name == f"elsewhere{levels[-1]}"
