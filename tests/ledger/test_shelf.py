"""Suites on the shelf: dvc.lock has the entries of those that are composed, git is asked for both, and
nothing is lost on the way there and back."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fakes.settings import write_settings
from fakes.toy_pipeline import SETTINGS, commit, entry, forged, git, job, make, write_lock
from hier.audit.audit import LedgerAudit
from hier.errors import ConflictError, TamperedError
from hier.files.hashing import Hasher
from hier.jobs import jobs
from hier.ledger.dvc_lock import LOCK, Ledger
from hier.ledger.record import read_record
from hier.ledger.shelf import shelve, take_down
from hier.ledger.torn import torn

MENU = replace(SETTINGS, suites={"menu": ["soup"]}, runs={"soup": SETTINGS.runs["soup"]})
BUFFET = replace(SETTINGS, suites={"buffet": ["soup", "stew"]})
SHELF = Path("results/buffet/ledger.yaml")
SHARED = {"shop@veg", "chop@veg", "cook@soup"}
OF_BUFFET = {"cook@stew", "serve-buffet"}


@pytest.fixture
def shelved(toy):
    """Both suites were made; dvc.lock has the menu, the buffet is on its shelf, and git has both."""
    entries = {}
    for settings in (BUFFET, MENU):
        write_settings(settings)
        for this in jobs(settings):
            make(this.name, settings)
            entries[this.dvc_name] = entry(this.name, settings)
    of_menu = ("shop@veg", "chop@veg", "cook@soup", "serve-menu")
    write_lock({name: entries[name] for name in of_menu} | {name: entries[name] for name in OF_BUFFET})
    assert shelve(BUFFET) == [SHELF]
    take_down(MENU)
    commit("dvc.lock", str(SHELF))
    return entries


def entered(path=LOCK):
    return yaml.safe_load(path.read_text())["stages"]


def test_there_and_back(shelved):
    committed = LOCK.read_bytes()
    assert entered() == {name: own for name, own in shelved.items() if name not in OF_BUFFET}
    assert entered(SHELF) == {name: own for name, own in shelved.items() if name != "serve-menu"}
    take_down(BUFFET)
    assert entered() == shelved  # the menu has no shelf, so its entries stay
    shelf = SHELF.read_bytes()
    shelve(BUFFET)
    assert SHELF.read_bytes() == shelf
    take_down(MENU)
    assert LOCK.read_bytes() == committed


def test_a_part_of_a_suite_replaces_its_own_entries_alone(shelved):
    """As after `hier compose suite=buffet methods=[stew]`, `hier adopt --shelve`."""
    take_down(BUFFET)
    part = replace(BUFFET, suites={"buffet": ["stew"]}, runs={"stew": BUFFET.runs["stew"]})
    newer = shelved["cook@stew"] | {"cmd": "hier cook anew"}
    write_lock({name: own for name, own in entered().items() if name != "cook@soup"} | {"cook@stew": newer})
    shelve(part)
    left = {name: shelved[name] for name in (SHARED | OF_BUFFET) - {"cook@stew"}}
    assert entered(SHELF) == left | {"cook@stew": newer}


def test_an_entry_that_is_newer_than_that_on_the_shelf_counts_and_stays(shelved):
    newer = shelved["cook@stew"] | {"cmd": "hier cook anew"}
    write_lock({**entered(), "cook@stew": newer})
    take_down(BUFFET)
    assert entered()["cook@stew"] == newer
    take_down(MENU)
    assert entered()["cook@stew"] == newer
    assert "serve-buffet" not in entered()


def test_without_a_dvc_lock_the_shelf_gives_all_that_it_has(shelved):
    LOCK.unlink()
    take_down(BUFFET)
    assert entered().keys() == SHARED | OF_BUFFET


def test_where_nothing_is_on_a_shelf_dvc_lock_is_not_even_read(toy):
    LOCK.write_text("<<<<<<< no ledger\n")
    take_down(MENU)
    assert LOCK.read_text() == "<<<<<<< no ledger\n"


def test_nothing_is_entered(toy):
    LOCK.write_text("schema: '2.0'\n")
    shelve(BUFFET)
    take_down(BUFFET)
    assert SHELF.read_text() == LOCK.read_text() == "schema: '2.0'\n"


def test_what_suites_share_comes_from_any_shelf(shelved):
    """Of a suite that nobody made, and whose data and run stand on the shelf of another."""
    LOCK.unlink()
    other = replace(MENU, suites={"picnic": ["soup"]})
    take_down(other)
    assert entered() == {name: shelved[name] for name in SHARED}
    write_settings(other)
    job("cook@soup", other).record.unlink()
    assert {name: found.status for name, found in findings(other).items()} == {
        "shop@veg": "current", "chop@veg": "current", "cook@soup": "committed, not here",
        "serve@picnic": "not run",
    }  # fmt: skip


def test_a_newer_result_takes_the_place_of_the_older_on_every_shelf(shelved):
    newer = shelved["cook@soup"] | {"cmd": "hier cook anew"}
    write_lock({**entered(), "cook@soup": newer})
    menus = Path("results/menu/ledger.yaml")
    assert {*shelve(MENU)} == {menus, SHELF}
    assert entered(menus)["cook@soup"] == entered(SHELF)["cook@soup"] == newer
    assert entered(SHELF)["cook@stew"] == shelved["cook@stew"]


def test_entries_that_are_on_a_shelf_are_not_missed_in_dvc_lock(shelved):
    """`hier recover` holds dvc.lock against git's index, which has it as it was before `hier compose`."""
    take_down(BUFFET)
    git("add", "dvc.lock")
    take_down(MENU)
    assert torn() == ""
    text = LOCK.read_text()
    LOCK.write_text(text[: text.index("  serve-menu:")])  # which is on no shelf
    assert torn() == "dvc.lock ends before its entry serve-menu"


@pytest.mark.parametrize("text", ["{nonsense: [", "<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n"])
def test_a_shelf_that_is_damaged_in_git_is_named_by_its_own_suite_alone(shelved, text):
    take_down(BUFFET)
    SHELF.write_text(text)
    git("commit", "--all", "--quiet", "--message", "bad")
    write_settings(BUFFET)
    wrong = findings(BUFFET)["cook@stew"]
    assert wrong.status == "tampered"
    assert wrong.reason == f"{SHELF} is not as DVC writes it in git's last commit"
    assert wrong.mend == f"git checkout COMMIT -- {SHELF} && hier compose suite=buffet"
    write_settings(MENU)
    take_down(MENU)
    assert {finding.status for finding in findings(MENU).values()} == {"current"}


def test_where_the_shelf_is_wrong_in_git_an_earlier_commit_is_asked_for(shelved):
    """`git checkout dvc.lock` would bring nothing of the suite back."""
    text = SHELF.read_text()
    at = text.index("md5: ", text.index("  serve-buffet:")) + len("md5: ")
    SHELF.write_text(f"{text[:at]}{'a' * 32}{text[at + 32 :]}")
    git("commit", "--all", "--quiet", "--message", "mixed")
    write_settings(BUFFET)
    take_down(BUFFET)
    wrong = findings(BUFFET)["serve@buffet"]
    assert wrong.status == "tampered"
    assert wrong.mend.startswith("git checkout --no-overlay COMMIT -- dvc.lock ")


def test_a_shelf_that_is_not_committed_is_told(shelved):
    write_settings(BUFFET)
    take_down(BUFFET)
    SHELF.write_text(SHELF.read_text().replace("hier cook stew", "hier cook it"))
    assert LedgerAudit(BUFFET).uncommitted() == [str(SHELF)]


@pytest.mark.parametrize("file", [LOCK, SHELF])
def test_a_file_that_dvc_did_not_write_is_left_as_it_is(shelved, file):
    for text in (
        file.read_text()[:-30].rstrip(),
        file.read_text().replace("stages:", "stages: # mine"),
        file.read_text() + file.read_text().removeprefix("schema: '2.0'\nstages:\n"),  # each entry twice
    ):
        file.write_text(text)
        with pytest.raises(TamperedError, match=f"{file} is not as DVC writes it; .* git checkout {file}"):
            take_down(BUFFET)
        assert file.read_text() == text
    file.write_text("<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n")
    with pytest.raises(ConflictError):
        take_down(BUFFET)


def findings(settings):
    return {f.job.name: f for f in LedgerAudit(settings).findings()}


def test_what_git_has_on_the_shelf_is_committed(shelved):
    """And what it has not is an accusation, as of dvc.lock itself."""
    write_settings(BUFFET)
    take_down(BUFFET)
    audit = LedgerAudit(BUFFET)
    assert {finding.status for finding in audit.findings()} == {"current"}
    assert audit.uncommitted() == []  # dvc.lock differs from git's, no entry does
    job("cook@stew", BUFFET).record.unlink()
    assert findings(BUFFET)["cook@stew"].status == "committed, not here"
    changed = entered()
    changed["cook@stew"]["outs"][0]["md5"] = "0" * 32
    write_lock(changed)
    wrong = findings(BUFFET)["cook@stew"]
    assert wrong.status == "tampered"
    assert wrong.reason == "dvc.lock has an entry cook@stew that no record proves and git does not have"
    assert "dvc.lock" in LedgerAudit(BUFFET).uncommitted()


def test_an_entry_that_was_not_taken_down_is_missed(shelved):
    write_settings(BUFFET)
    wrong = findings(BUFFET)["cook@stew"]
    assert wrong.reason == "dvc.lock lacks its entry cook@stew, which git's last commit has in " + str(SHELF)
    assert (wrong.status, wrong.mend) == ("tampered", "hier compose suite=buffet")


def test_other_bytes_than_those_on_the_shelf(shelved):
    """A forger changes an output, seals its record anew and takes the entry out of dvc.lock."""
    stew = job("cook@stew", BUFFET)
    Path(stew.outputs[0]).write_bytes(b"forged")
    with forged(stew.name, BUFFET) as record:
        record["outputs"][stew.outputs[0]] = Hasher()(Path(stew.outputs[0])).as_dict()
    said, _ = Ledger().other_bytes(stew, read_record(stew))
    assert said == (
        f"{stew.outputs[0]} is other bytes than git's last commit of {SHELF} has for the same inputs, "
        "settings and code"
    )


def test_two_shelves_may_hold_other_results_of_one_job(shelved):
    """Both are committed, so neither is an accusation."""
    other = shelved["cook@soup"] | {"cmd": "hier cook at another time"}
    before = Ledger().committed(job("cook@soup", BUFFET))
    assert before == {"dvc.lock": shelved["cook@soup"], str(SHELF): shelved["cook@soup"]}
    text = yaml.safe_dump({"schema": "2.0", "stages": entered(SHELF) | {"cook@soup": other}}, sort_keys=False)
    SHELF.write_text(text)
    git("commit", "--all", "--quiet", "--message", "other")
    assert Ledger().committed(job("cook@soup", BUFFET))[str(SHELF)] == other
    write_lock(entered() | {"cook@soup": other})
    assert Ledger().conflict(job("cook@soup", BUFFET), None, Hasher()) is None
