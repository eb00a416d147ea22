"""hier remote check: what a remote has of the objects that dvc.lock names, here in a folder."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc_data.hashfile.db import get_odb
from dvc_objects.fs import localfs

from hier.audit.audit import LedgerAudit
from hier.audit.remote import Remote, State, check, open_remote, repair
from hier.errors import RemoteError, TamperedError
from hier.ledger.dvc_lock import Ledger, cache_file
from hier.ledger.objects import Object, members, named_objects

DISH, REST, LARDER = "runs/soup/dish.txt", "runs/soup/rest", "data/veg/larder"
CACHE = Path(".dvc/cache/files/md5")
LOCK_OF_REAL_STAGES = """schema: '2.0'
stages:
  evaluate@one:
    cmd: hier evaluate one
    outs:
    - {path: runs/one/metrics.json, hash: md5, md5: aa, size: 1}
    - {path: runs/one/evaluate.record.json, hash: md5, md5: bb, size: 1}
  tabulate-own:
    cmd: hier tabulate own
    outs:
    - {path: results/own/table.csv, hash: md5, md5: cc, size: 1}
    - {path: results/own/tabulate.record.json, hash: md5, md5: dd, size: 1}
  report-own:
    cmd: hier report own
    outs:
    - {path: results/own/report, hash: md5, md5: ee.dir, size: 1, nfiles: 3}
    - {path: results/own/report.record.json, hash: md5, md5: bb, size: 1}
"""


def md5_of(content):
    return hashlib.md5(content).hexdigest()


def put(content, oid):
    """Bytes in DVC's cache, read-only as DVC leaves them."""
    file = cache_file(oid)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_bytes(content)
    file.chmod(0o444)


@pytest.fixture
def adopted(toy):
    """The toy's results in dvc.lock and in DVC's cache, folders among them."""
    toy.make_all()
    toy.adopt()
    for folder in (LARDER, REST, "runs/stew/rest"):
        files = {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
        listed = [{"md5": md5_of(content), "relpath": name} for name, content in sorted(files.items())]
        text = json.dumps(listed, sort_keys=True).encode()
        put(text, f"{md5_of(text)}.dir")
        for content in files.values():
            put(content, md5_of(content))
    return toy


@pytest.fixture
def remote(adopted, tmp_path):
    """A folder that has all of DVC's cache."""
    folder = tmp_path / "remote"
    shutil.copytree(CACHE, folder)
    return Remote("store", str(folder), get_odb(localfs, str(folder), hash_name="md5"))


def oid_of(path):
    """What dvc.lock calls an output."""
    found = (out for entry in Ledger().entries.values() for out in entry["outs"])
    return next(out["md5"] for out in found if out["path"] == path)


def there(remote, oid):
    return Path(remote.store.oid_to_path(oid))


def flip(file):
    """Change one bit of a file; it stays read-only, as DVC leaves it."""
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(0o444)


def looked(remote, **options):
    return check(remote, named_objects(Ledger()), **options)


def wrong(found):
    return {str(one): str(state) for one, state in found.wrong.items()}


def test_the_objects_are_what_dvc_stores_each_once(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK_OF_REAL_STAGES)
    ledger = Ledger(tmp_path / "dvc.lock")
    expected = {
        "bb": "runs/one/evaluate.record.json",
        "dd": "results/own/tabulate.record.json",
        "ee.dir": "results/own/report",
    }
    assert {one.oid: one.path for one in named_objects(ledger)} == expected  # git keeps the others
    assert [one.oid for one in named_objects(ledger, {"tabulate-own"})] == ["dd"]


@pytest.mark.parametrize("outs", ["", "[1]", "[{path: x, hash: md5}]"])
def test_an_entry_that_is_none_is_told(tmp_path, outs):
    (tmp_path / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n  cook@x:\n    outs: {outs}\n")
    with pytest.raises(TamperedError, match=r"dvc\.lock has an entry cook@x that is none"):
        named_objects(Ledger(tmp_path / "dvc.lock"))


@pytest.mark.parametrize("text", [b"\xff", b"{}x", b"[1]", b'[{"md5": "aa"}]'])
def test_a_list_that_is_none_is_told(text):
    with pytest.raises(TamperedError, match=r"aa\.dir is no list of files, as DVC writes one of some/folder"):
        members(Object("aa.dir", "some/folder"), text)


def test_all_that_dvcs_cache_has_is_looked_for_once(remote):
    found = looked(remote)
    assert {one.oid for one in found.states} == {
        f"{file.parent.name}{file.name}" for file in CACHE.rglob("*") if file.is_file()
    }
    assert set(found.states.values()) == {State.WHOLE}
    assert (found.wrong, found.unread) == ({}, [])


def test_what_is_missing_or_damaged_is_named_and_left_as_it_is(remote):
    peel = json.loads(cache_file(oid_of(REST)).read_bytes())[0]["md5"]
    apples = md5_of(b"apples")
    there(remote, oid_of(DISH)).unlink()
    there(remote, apples).unlink()
    flip(there(remote, peel))
    damaged = there(remote, peel).read_bytes()
    expected = {DISH: "missing", f"{LARDER}/sub/a": "missing", f"{REST}/peel": "damaged"}
    assert wrong(looked(remote)) == expected
    assert wrong(looked(remote, deep=True)) == expected
    assert there(remote, peel).read_bytes() == damaged  # DVC's own check removes it


def test_a_list_without_its_files_is_seen(remote):
    """What a killed `dvc push` leaves, and what DVC takes for the whole folder."""
    for content in (b"beans", b"apples"):
        there(remote, md5_of(content)).unlink()
    assert wrong(looked(remote)) == dict.fromkeys((f"{LARDER}/b", f"{LARDER}/sub/a"), "missing")


@pytest.mark.parametrize("change", [Path.unlink, flip])
def test_a_list_that_is_not_whole_there_is_taken_from_dvcs_cache(remote, change):
    oid = oid_of(LARDER)
    change(there(remote, oid))
    there(remote, md5_of(b"beans")).unlink()
    state = "damaged" if change is flip else "missing"
    expected = {f"{LARDER} (the list of its 2 files)": state, f"{LARDER}/b": "missing"}
    assert wrong(looked(remote)) == expected
    change(cache_file(oid))  # now nobody knows what it lists
    found = looked(remote)
    assert wrong(found) == {f"{LARDER} (the list of its 2 files)": state}
    assert [one.path for one in found.unread] == [LARDER]


def test_a_checksum_that_the_store_tells_is_believed_where_it_is_right_but_not_deep(remote, monkeypatch):
    """As S3 tells it: of what was sent in one part its MD5, else anything."""
    told = {oid_of(DISH): f'"{oid_of(DISH)}"', md5_of(b"beans"): '"0-2"'}
    info, by_path = remote.store.fs.info, {str(there(remote, oid)): etag for oid, etag in told.items()}
    monkeypatch.setattr(
        remote.store.fs, "info", lambda path: info(path) | {"ETag": by_path.get(path)}, raising=False
    )
    flip(there(remote, oid_of(DISH)))
    assert wrong(looked(remote)) == {}  # the ETag of beans proves nothing: they were read, and are whole
    assert wrong(looked(remote, deep=True)) == {DISH: "damaged"}


def test_repair_sends_what_is_not_whole_and_lists_last(remote, monkeypatch):
    sent, send = [], Remote.put
    monkeypatch.setattr(Remote, "put", lambda *words: sent.append(words[1].path) or send(*words))
    before = {file: file.read_bytes() for file in Path(remote.store.path).rglob("*") if file.is_file()}
    for file in (there(remote, oid_of(LARDER)), there(remote, md5_of(b"beans"))):
        file.unlink()
    flip(there(remote, oid_of(DISH)))
    found = looked(remote)
    assert repair(remote, found) == {}
    assert found.wrong == {}
    assert sorted(sent[:-1]) == [f"{LARDER}/b", DISH]
    assert sent[-1] == LARDER
    assert {
        file: file.read_bytes() for file in Path(remote.store.path).rglob("*") if file.is_file()
    } == before
    assert wrong(looked(remote)) == {}


def test_what_cannot_be_mended_is_told_and_its_list_not_sent(remote):
    for file in (there(remote, oid_of(LARDER)), there(remote, md5_of(b"beans")), there(remote, oid_of(DISH))):
        file.unlink()
    cache_file(md5_of(b"beans")).unlink()
    flip(cache_file(oid_of(DISH)))
    found = looked(remote)
    left = {str(one): why for one, why in repair(remote, found).items()}
    assert left == {
        f"{LARDER}/b": "DVC's cache does not have it here",
        DISH: f"{cache_file(oid_of(DISH))}, DVC's copy of it here, is damaged, too",
        f"{LARDER} (the list of its 2 files)": "1 of its files could not be mended",
    }
    assert not there(remote, oid_of(LARDER)).exists()
    assert len(found.wrong) == 3


def test_what_arrives_otherwise_is_not_called_mended(remote, monkeypatch):
    there(remote, oid_of(DISH)).unlink()
    send = remote.store.fs.put_file

    def garble(file, path):
        send(file, path)
        flip(Path(path))

    monkeypatch.setattr(remote.store.fs, "put_file", garble, raising=False)
    found = looked(remote)
    assert [*repair(remote, found).values()] == ["what arrived is not what was sent"]
    assert wrong(found) == {DISH: "missing"}


def test_whatever_a_store_raises_is_one_line_that_names_it(remote, monkeypatch):
    def fail(path):
        raise ValueError("no\n  luck")

    monkeypatch.setattr(remote.store.fs, "info", fail, raising=False)
    with pytest.raises(RemoteError, match=r"cannot use remote store \(.*remote\): no luck; see that"):
        looked(remote)


# --- what `hier verify` says of damage that came from a remote -------------------------------------


def test_what_cannot_be_read_in_a_folder_hides_nothing_else(remote):
    one, other = there(remote, oid_of(DISH)), there(remote, oid_of("runs/stew/dish.txt"))
    one.unlink()
    one.mkdir()
    other.unlink()
    assert wrong(looked(remote)) == {DISH: "damaged", "runs/stew/dish.txt": "missing"}


def test_a_folder_that_is_not_there_is_no_empty_remote(tmp_path, monkeypatch):
    """It may lie on a disk that is not mounted."""
    monkeypatch.chdir(tmp_path)
    for words in (["init", "--no-scm"], ["remote", "add", "--default", "far", "not/mounted"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], check=True, capture_output=True)
    says = rf"^remote far: there is no folder {tmp_path}/not/mounted; mount its disk, or let dvc push make it"
    with pytest.raises(RemoteError, match=says), open_remote():
        pass
    (tmp_path / "not/mounted").mkdir(parents=True)
    with open_remote() as found:
        assert found.name == "far"


def test_the_advice_of_a_damaged_copy_mends(adopted):
    """As after a `dvc pull` of a damaged object, which DVC puts in its cache and in the workspace."""
    copy = cache_file(oid_of(DISH))
    flip(copy)
    shutil.copyfile(copy, DISH)
    finding = tampered(adopted)
    assert finding.mend.endswith(" && dvc pull (or make it anew: snakemake --cores all)")
    subprocess.run(finding.mend.partition(" && ")[0], shell=True, check=True)
    assert (copy.exists(), Path(DISH).exists(), Path(REST).exists()) == (False, False, True)
    adopted.make("cook@soup")  # as Snakemake does
    assert {f.status for f in LedgerAudit(adopted.SETTINGS).findings()} == {"current"}


def test_what_is_whole_in_the_workspace_is_not_advised_to_be_removed(adopted):
    copy = cache_file(oid_of(DISH))
    flip(copy)
    shutil.rmtree(".hier/kept")
    assert tampered(adopted).spoilt == (str(copy),)
    copy.unlink()
    assert {f.status for f in LedgerAudit(adopted.SETTINGS).findings()} == {"current"}


def test_a_damaged_record_goes_with_its_copy(adopted):
    record = adopted.job("cook@soup").record
    copy = cache_file(oid_of(str(record)))
    flip(copy)
    record.unlink()
    shutil.copyfile(copy, record)
    shutil.rmtree(".hier/kept")
    assert tampered(adopted).spoilt == (str(record), str(copy))


def test_a_hash_that_is_a_number_is_told(adopted):
    """As YAML reads one of digits alone without quotes."""
    lock = Path("dvc.lock")
    lock.write_text(
        re.sub(rf"(path: {DISH}\n +hash: md5\n +md5: )\w+", rf"\g<1>{'1' * 32}", lock.read_text())
    )
    wrong = {f.job.name: f.reason for f in LedgerAudit(adopted.SETTINGS).findings() if f.status == "tampered"}
    assert wrong.keys() == {"cook@soup", "serve@menu"}  # the latter reads the dish
    assert wrong["cook@soup"] == f"dvc.lock says otherwise of {DISH} in cook@soup than its record"


def tampered(toy):
    """The one finding of a job that is tampered."""
    [found] = [f for f in LedgerAudit(toy.SETTINGS).findings() if f.status == "tampered"]
    return found
