"""A source without a promise is held against what arrived from it, whoever asks."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

import hier
from fakes.ledger import lock_entry
from fakes.settings import edited_settings, write_settings
from hier.audit.audit import LedgerAudit
from hier.audit.lineage import trace
from hier.audit.origins import describe_origin
from hier.config.compose import compose
from hier.config.settings import Settings
from hier.files.hashing import Hasher
from hier.jobs import job
from hier.ledger.due import stale_reasons
from hier.ledger.dvc_lock import cache_file
from hier.ledger.record import sealed
from hier.ledger.run_job import run_stage

ROOT = Path(__file__).parents[2]
KEPT = Path("data/smoke/archive/photos.txt")
HAND = Path("downloads/smoke/photos.txt")
OLD, NEW = b"photos of May\n", b"photos of May, and three of June\n"
STALE = "is no longer what was downloaded; take it over with: hier download smoke"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the settings and the code of a suite; a function sets where its file comes from."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("HIER_MIRROR", raising=False)
    Path("src").symlink_to(Path(hier.__file__).parents[1])
    write_settings(Settings.of(compose(["suite=smoke", "methods=[pa]"], ROOT / "conf")))

    def come_from(mirrors=(), **file):
        own = {"name": "photos.txt", "unproved": "none is published"} | file
        own = {key: value for key, value in own.items() if value is not None}
        with edited_settings() as params:
            params.datasets["smoke"] |= {
                "generate": None, "sources": [{"files": [own]}], "mirrors": list(mirrors),
            }  # fmt: skip

    come_from()
    return come_from


def finding():
    return LedgerAudit(Settings.read()).finding(job("download", "smoke", Settings.read()))


def stale():
    """Why the download is stale, as each that asks says it; None where all call it current."""
    found = finding()
    due = stale_reasons(Settings.read())["download@smoke"]  # what Snakemake is told
    assert (found.status, found.reason) == (("stale", due) if due else ("current", ""))
    return due


@pytest.mark.parametrize("where", ["by hand", "HIER_MIRROR", "the dataset's mirror", "its address"])
def test_a_changed_local_source_is_told_and_taken_over(project, tmp_path, monkeypatch, capsys, where):
    source = tmp_path / "shelf/photos.txt"
    if where == "by hand":
        source = HAND
    elif where == "HIER_MIRROR":
        monkeypatch.setenv("HIER_MIRROR", str(source.parent))
    elif where == "the dataset's mirror":
        project(mirrors=["../shelf"])
    else:
        project(url=f"file://{source}")
    write(source, OLD)
    run_stage("download", "smoke")
    assert stale() is None

    write(source, NEW)
    named = "../shelf/photos.txt" if where == "the dataset's mirror" else source
    assert stale() == f"{named} {STALE}"
    assert finding().mend == "hier download smoke"
    assert KEPT.read_bytes() == OLD

    capsys.readouterr()
    run_stage("download", "smoke")
    assert "current" not in capsys.readouterr().out
    assert KEPT.read_bytes() == NEW
    assert stale() is None
    run_stage("download", "smoke")
    assert capsys.readouterr().out == "download@smoke: current, nothing to do\n"

    source.unlink()
    assert stale() is None


def test_a_promised_source_is_held_against_its_promise_alone(project):
    project(unproved=None, sha256=sha256(OLD))
    write(HAND, OLD)
    run_stage("download", "smoke")
    write(HAND, NEW)
    assert stale() is None


def test_an_address_before_the_folder_says_nothing(project, monkeypatch):
    """It may be what the file was taken from; and taking it anew would change nothing."""
    write(HAND, OLD)
    run_stage("download", "smoke")
    write(HAND, NEW)
    assert stale() == f"{HAND} {STALE}"
    monkeypatch.setenv("HIER_MIRROR", "https://a.test/data")
    assert stale() is None
    monkeypatch.setenv("HIER_MIRROR", "nonsense://")  # told by the next download
    assert stale() is None


def test_the_place_that_comes_first_counts(project, tmp_path, monkeypatch):
    monkeypatch.setenv("HIER_MIRROR", str(tmp_path / "shelf"))
    write(HAND, OLD)
    run_stage("download", "smoke")
    assert stale() is None  # nothing is in the first place
    write(tmp_path / "shelf/photos.txt", NEW)
    assert stale() == f"{tmp_path / 'shelf/photos.txt'} {STALE}"
    write(tmp_path / "shelf/photos.txt", OLD)
    write(HAND, NEW)
    assert stale() is None


def enter():
    """The download into dvc.lock, and its record into DVC's cache, as `hier adopt` does."""
    work = job("download", "smoke", Settings.read())
    lock = {"schema": "2.0", "stages": {work.name: lock_entry(work, Hasher(deep=True))}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    cached = cache_file(hashlib.md5(work.record.read_bytes()).hexdigest())
    cached.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(work.record, cached)
    return work


def test_what_was_taken_over_is_no_forgery(project):
    write(HAND, OLD)
    run_stage("download", "smoke")
    enter()
    assert stale() is None
    write(HAND, NEW)
    assert stale() == f"{HAND} {STALE}"
    run_stage("download", "smoke")
    found = finding()
    assert (found.status, found.adopted) == ("current", False)
    assert "is other bytes than dvc.lock has" in found.notice


def test_a_forged_archive_is_still_one(project):
    write(HAND, OLD)
    run_stage("download", "smoke")
    work = enter()
    write(KEPT, NEW)
    record = json.loads(work.record.read_text())
    [output] = record["outputs"].values()
    lines = f"{sha256(NEW)}  photos.txt\n".encode()
    output |= {"sha256": sha256(lines), "size": len(NEW)}
    listing = [{"md5": hashlib.md5(NEW).hexdigest(), "relpath": "photos.txt"}]
    output["md5"] = hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"
    work.record.write_text(sealed(record))
    assert finding().status == "tampered"


def test_the_trace_says_what_is_held_and_since_when(project):
    write(HAND, OLD)
    run_stage("download", "smoke")
    day = json.loads(Path("data/smoke/download.record.json").read_text())["ended"][:10]
    Path("expected").mkdir()
    shutil.copy(ROOT / "expected/paper.csv", "expected")
    [origin] = trace(str(KEPT), Settings.read()).steps["download@smoke"].origins
    said = f"no promise (none is published); sha256 {sha256(OLD)[:12]} since {day}"
    assert said in describe_origin(origin)
