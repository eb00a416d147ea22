"""The status of a job: what is there, held against its record, dvc.lock and what it would use now."""

import hashlib
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fakes.settings import write_settings
from hier.audit.audit import STATUSES, LedgerAudit
from hier.files import hashing
from hier.files.hashing import KNOWN, _stat, hash_file
from hier.ledger import environment as machine
from hier.ledger.dvc_lock import AWAY, LOCK, cache_file

NAME = "cook@soup"
RECORD = Path("runs/soup/cook.record.json")
DISH, REST = Path("runs/soup/dish.txt"), Path("runs/soup/rest")


@pytest.fixture
def done(toy):
    """Every job, done and kept."""
    toy.make_all()
    return toy


@pytest.fixture
def find(toy):
    """A function that gives the finding of a job."""

    def found(name=NAME, params=toy.SETTINGS, deep=False):
        return next(f for f in LedgerAudit(params, deep).findings() if f.job.name == name)

    return found


def stale_reasons(params, deep=False):
    return {f.job.name: f.status for f in LedgerAudit(params, deep).findings()}


def test_the_standings_are_told_from_best_to_worst():
    assert STATUSES == ("current", AWAY, "not run", "stale", "tampered")


def test_what_was_just_made_is_current_in_the_order_of_the_data(done):
    found = list(LedgerAudit(done.SETTINGS).findings())
    assert [f.job.name for f in found] == done.NAMES
    assert {f.status for f in found} == {"current"}
    assert {f.reason for f in found} == {""}
    assert not any(f.adopted for f in found)


def test_what_was_adopted_is_known_to_be(done, toy):
    toy.adopt()
    assert all(f.adopted and f.status == "current" for f in LedgerAudit(done.SETTINGS).findings())
    done.make(NAME, done.other(seed=7))
    found = {f.job.name: f for f in LedgerAudit(done.other(seed=7)).findings()}
    assert found[NAME].status == "current"
    assert not found[NAME].adopted


def test_nothing_there_is_not_run(toy, find):
    assert set(stale_reasons(toy.SETTINGS).values()) == {"not run"}
    assert find().reason == "it has no result"
    assert find().describe() == "cook@soup is not run: it has no result"


# --- stale ---------------------------------------------------------------------------------------


def test_other_settings_code_or_inputs_make_it_stale(done, find):
    finding = find(params=done.other(seed=1))
    assert finding.status == "stale"
    assert finding.reason == "has parameter runs.soup.seed other than its record says"
    Path("src/hier/pot.py").write_bytes(b"other")
    assert find().reason == "has source src/hier/pot.py other than its record says"
    done.make("chop@veg", replace(done.SETTINGS, datasets={"veg": {"ks": [3]}}))
    assert find().reason == "has input data/veg/chopped.txt other than its record says"
    assert find("cook@stew").status == "stale"


def test_another_version_of_a_package_makes_it_stale(done, find, monkeypatch):
    monkeypatch.setattr(machine, "_version", lambda name: "0.0")
    assert find().status == "stale"
    assert "version of package" in find().reason


def test_code_that_is_gone_makes_it_stale(done, find):
    Path("src/hier/pot.py").unlink()
    assert find().status == "stale"
    assert find("chop@veg").status == "current"


def test_outputs_that_no_record_proves_are_stale(done, find):
    RECORD.unlink()
    assert find().status == "stale"
    assert find().reason == f"no record proves {DISH}"


def test_a_record_of_other_outputs_is_stale(done, find):
    with done.forged(NAME) as record:
        record["outputs"]["runs/soup/more"] = record["outputs"][str(DISH)]
    assert find().status == "stale"
    assert find().reason == "it has other outputs than its record"


def test_what_is_stale_is_told_of_each_job_by_itself(done):
    """A stage whose inputs are still the same bytes is current, whatever is said of those before."""
    Path("src/hier/stages/shop.py").write_bytes(b"other")
    assert stale_reasons(done.SETTINGS) == {
        "shop@veg": "stale", "chop@veg": "current", "cook@soup": "current",
        "cook@stew": "current", "serve@menu": "current",
    }  # fmt: skip


# --- tampered ------------------------------------------------------------------------------------


def in_place(path):
    """Another byte, size and time as before."""
    stat = path.stat()
    with path.open("r+b") as stream:
        byte = stream.read(1)
        stream.seek(0)
        stream.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("path", [DISH, REST / "peel"], ids=str)
def test_another_byte_in_an_output(done, find, path, deep):
    in_place(path)
    assert find(deep=deep).status == "tampered"
    top = DISH if path == DISH else REST
    assert find(deep=deep).reason == f"{top} is not the bytes that its record says"


def test_a_file_more_in_an_output_folder(done, find):
    (REST / "more").write_bytes(b"")
    assert find().status == "tampered"


def test_a_changed_record(done, find):
    RECORD.write_text(RECORD.read_text().replace('"seed": 0', '"seed": 3'))
    assert find().status == "tampered"
    assert find().reason == f"{RECORD} does not match its seal"


def test_the_record_of_another_job(done, find):
    RECORD.write_bytes(Path("runs/stew/cook.record.json").read_bytes())
    assert find().reason == f"{RECORD} is the record of cook@stew"


def test_a_changed_output_with_a_record_forged_to_fit_contradicts_the_ledger(done, find, toy):
    """Whoever changes a result and seals its record anew is found out by dvc.lock, which git keeps."""
    toy.adopt()
    toy.commit("dvc.lock")
    DISH.write_bytes(b"better")
    with done.forged(NAME) as record:
        record["outputs"][str(DISH)] = hash_file(DISH).as_dict()
    shutil.rmtree(".hier/kept")
    accused = f"{DISH} is other bytes than dvc.lock has for the same inputs, settings and code"
    assert find().status == "tampered"
    assert find().reason.startswith(accused)
    assert not find().adopted
    assert find("cook@stew").status == "current"

    # Where the record that dvc.lock names is not here, another machine may have made it: a notice.
    shutil.rmtree(".dvc/cache")
    assert (find().status, find().notice) == ("current", accused)
    entries = yaml.safe_load(LOCK.read_text())
    for out in entries["stages"][NAME]["outs"]:
        if out["path"] == str(DISH):
            out["md5"] = hashlib.md5(b"better").hexdigest()
            out["size"] = 6
    LOCK.write_text(yaml.safe_dump(entries, sort_keys=False))
    assert find().status == "tampered"


def forge_dish(toy, **machine):
    DISH.write_bytes(b"better")
    with toy.forged(NAME) as record:
        record["outputs"][str(DISH)] = hash_file(DISH).as_dict()
        record["environment"] |= machine
    shutil.rmtree(".hier/kept")


def test_a_forgery_that_was_entered_contradicts_what_git_has(done, find, toy):
    toy.adopt()
    toy.commit("dvc.lock")
    forge_dish(toy)
    toy.adopt()
    assert find().status == "tampered"
    assert find().reason.startswith(f"{DISH} is other bytes than git's last commit of dvc.lock has")
    assert find().adopted


def test_another_machines_bytes_are_a_notice(done, find, toy):
    toy.adopt()
    forge_dish(toy, processor="another one")
    assert find().status == "current"
    assert find().notice.startswith(f"{DISH} is other bytes than dvc.lock has")


def test_other_bytes_of_other_work_are_nothing(done, find, toy):
    toy.adopt()
    done.make(NAME, done.other(seed=7))
    found = find(params=done.other(seed=7))
    assert (found.status, found.notice) == ("current", "")


def test_one_file_that_cannot_be_read_hides_no_other(done, find):
    RECORD.unlink()
    RECORD.mkdir()
    assert find().status == "tampered"
    assert find().reason == f"{RECORD} cannot be read: Is a directory"
    assert find("cook@stew").status == "current"


def test_a_ledger_that_is_a_folder(done):
    LOCK.mkdir()
    found = list(LedgerAudit(done.SETTINGS).findings())
    assert {f.reason for f in found} == {"dvc.lock cannot be read: Is a directory"}
    assert {f.mend for f in found} == {"git checkout dvc.lock"}


def test_an_entry_that_git_has_and_the_file_lacks(done, find, toy):
    toy.adopt()
    toy.commit("dvc.lock")
    toy.write_lock({name: toy.entry(name) for name in toy.NAMES if name != NAME})
    assert find().status == "tampered"
    assert find().reason == f"dvc.lock lacks its entry {NAME}, which git's last commit has"
    assert find().mend == "git checkout dvc.lock"
    assert find("cook@stew").status == "current"


def test_an_entry_that_contradicts_the_record(done, find, toy):
    toy.adopt()
    LOCK.write_text(LOCK.read_text().replace("hier cook soup", "hier cook pie"))
    assert find().status == "tampered"
    assert find("cook@stew").status == "current"


def test_a_ledger_that_cannot_be_read_says_so_of_every_job(done):
    LOCK.write_text("stages: [")
    assert set(stale_reasons(done.SETTINGS).values()) == {"tampered"}


def test_a_file_of_dvcs_cache_that_we_may_not_read_accuses_nobody(done, find, toy, monkeypatch):
    toy.adopt()
    cached = cache_file(hash_file(DISH).md5)
    in_place(cached)
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != cached and allowed(path, mode))
    assert find().status == "current"


def test_a_damaged_file_in_dvcs_cache(done, find, toy):
    toy.adopt()
    cached = cache_file(hash_file(DISH).md5)
    in_place(cached)
    assert find().status == "tampered"
    assert find().reason == f"{cached}, DVC's copy of {DISH}, is not what its name says"


def test_a_damaged_kept_file(done, find):
    kept = Path(".hier/kept/cook@soup/dish.txt")
    kept.unlink()
    kept.write_bytes(b"other")
    assert find().status == "tampered"
    assert find().reason == f"{kept}, the kept copy of {DISH}, is not what the record says"


def test_what_was_kept_of_other_work_is_no_damage_unless_it_is_damaged(done, find):
    """As after `dvc exp run` and `dvc checkout`: results of before, copies of the experiment's."""
    shutil.copytree("runs/soup", "before")
    done.make(NAME, done.other(seed=1))
    shutil.rmtree("runs/soup")
    shutil.copytree("before", "runs/soup")
    assert find().status == "current"
    kept = Path(".hier/kept/cook@soup/dish.txt")
    kept.unlink()
    kept.write_bytes(b"other")
    assert find().reason == f"{kept}, the kept copy of {DISH}, is not what the record says"
    kept.unlink()
    of_kept = kept.with_name("cook.record.json")
    of_kept.write_text(of_kept.read_text().replace('"seconds"', '"second"'))
    assert (find().status, find().reason) == ("tampered", f"{of_kept} does not match its seal")


def test_what_is_tampered_is_called_so_even_where_it_is_stale_too(done, find):
    in_place(DISH)
    shutil.rmtree(".hier/kept")
    Path("src/hier/pot.py").write_bytes(b"other")
    finding = find(params=done.other(seed=1))
    assert finding.status == "tampered"
    assert finding.reason == f"{DISH} is not the bytes that its record says"


def test_a_damaged_file_of_a_folder_in_dvcs_cache(done, find, toy):
    """Of a folder DVC keeps a list, and each of its files under its own name."""
    toy.adopt()
    content = (REST / "peel").read_bytes()
    md5 = hashlib.md5(content).hexdigest()
    listing = f'[{{"md5": "{md5}", "relpath": "peel"}}]'.encode()
    listed = cache_file(hashlib.md5(listing).hexdigest() + ".dir")
    toy.write(listed, listing)
    toy.write(cache_file(md5), content)
    assert find().status == "current"
    in_place(cache_file(md5))
    assert find().status == "tampered"
    toy.write(cache_file(md5), content)
    assert find().status == "current"
    in_place(listed)
    assert find().status == "tampered"


def test_a_damaged_record_in_dvcs_cache(done, find, toy):
    toy.adopt()
    in_place(cache_file(hash_file(RECORD).md5))
    assert find().status == "tampered"


def test_a_forged_memory_of_hashes_is_seen_through_by_deep(done, find):
    assert find().status == "current"
    in_place(DISH)
    connection = sqlite3.connect(KNOWN)
    for path in (DISH, Path(".hier/kept/cook@soup/dish.txt")):
        connection.execute("UPDATE files SET stat = ? WHERE path = ?", [_stat(path), str(path)])
    connection.commit()
    connection.close()
    assert find(deep=True).status == "tampered"


# --- not here ------------------------------------------------------------------------------------


def test_outputs_that_are_not_here_are_known_by_their_record(done, toy, find):
    DISH.unlink()
    assert find().status == "not run"
    assert find().reason == f"{DISH} is neither here nor in dvc.lock"
    toy.adopt()
    assert find().status == AWAY
    assert find().reason == f"{DISH} is not here"
    assert find("serve@menu").status == "current"  # what it read is known by the record
    assert find(params=done.other(seed=1)).status == "stale"


def test_results_of_which_only_the_ledger_is_here(done, toy):
    """A fresh clone before `dvc pull`: dvc.lock alone says that all is current."""
    toy.adopt()
    for folder in ("data", "runs", "results", ".hier", ".dvc"):
        shutil.rmtree(folder)
    toy.commit("dvc.lock")
    found = list(LedgerAudit(done.SETTINGS).findings())
    assert {f.status for f in found} == {AWAY}
    assert all(f.adopted for f in found)
    write_settings(done.other(seed=1))
    changed = {f.job.name: f for f in LedgerAudit(done.other(seed=1)).findings()}
    assert {name for name, f in changed.items() if f.status == "stale"} == {NAME, "serve@menu"}
    assert changed[NAME].reason == "params/runs/soup.yaml: seed is not what dvc.lock says"
    assert changed["serve@menu"].reason == "params/runs/soup.yaml is not what dvc.lock says"
    write_settings(done.SETTINGS)
    Path("src/hier/tools/spoon.py").write_bytes(b"other")
    changed = {f.job.name: f for f in LedgerAudit(done.SETTINGS).findings()}
    assert changed["chop@veg"].reason == "src/hier/tools is not what dvc.lock says"
    assert changed["shop@veg"].status == AWAY


def test_some_results_pulled_and_others_not(done, toy):
    toy.adopt()
    shutil.rmtree("data/veg/larder")
    shutil.rmtree("runs/soup")
    assert stale_reasons(done.SETTINGS) == {
        "shop@veg": AWAY, "chop@veg": "current", "cook@soup": AWAY,
        "cook@stew": "current", "serve@menu": "current",
    }  # fmt: skip


# --- how it looks --------------------------------------------------------------------------------


def test_every_file_is_read_at_most_once_and_only_the_first_time(done, monkeypatch):
    list(LedgerAudit(done.SETTINGS).findings())
    monkeypatch.setattr(hashing, "hash_file", lambda path: pytest.fail(f"{path} is read again"))
    assert set(stale_reasons(done.SETTINGS).values()) == {"current"}


def test_looking_changes_nothing(done):
    def state():
        found = (path for folder in ("data", "runs", "results") for path in Path(folder).rglob("*"))
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in found}

    before = state()
    list(LedgerAudit(done.SETTINGS, deep=True).findings())
    assert state() == before
