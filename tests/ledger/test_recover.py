"""After a kill: what it left behind goes, what is whole stays, and nobody at work is disturbed."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hier.audit.audit import LedgerAudit
from hier.errors import BusyError, HierError
from hier.ledger import locks as module
from hier.ledger import torn as torn_module
from hier.ledger.locks import half_written, heed_announced, holders, locked_job, recover

LEFT = [
    "data/veg/.larder.x1.part/sub/a", "data/veg/.larder.x1.part/.b.77.part",
    "runs/soup/.dish.txt.99.part", "results/.menu.txt.1.part", ".checkpoints/soup/k/.e1.pt.5.part",
    "weights/.w.pth.5.part", ".hier/locks/.cook@soup.json.3.part",
]  # fmt: skip
STAY = [
    "downloads/veg/big.tgz.part",  # a download goes on from there
    "runs/soup/part", "runs/soup/x.part", "src/.x.part", ".other/.x.part", "data/veg/.hidden",
]  # fmt: skip


@pytest.fixture
def done(toy):
    toy.make_all()
    return toy


def test_what_was_half_written_goes_and_all_else_stays(done):
    for path in [*LEFT, *STAY]:
        done.write(path, b"half")
    before = {p for p in Path().rglob("*") if p.is_file() and ".part" not in str(p)}
    said = []
    recover(said.append)
    assert not [path for path in LEFT if Path(path).exists()]
    assert not Path("data/veg/.larder.x1.part").exists()
    assert all(Path(path).exists() for path in STAY)
    assert before <= {p for p in Path().rglob("*") if p.is_file()}
    assert half_written() == []
    assert "removing runs/soup/.dish.txt.99.part, half written" in said
    assert len(said) == len(LEFT) - 1  # of the folder, once


def test_with_nothing_to_do_nothing_is_said(done):
    said = []
    recover(said.append)
    assert said == []


def test_in_an_empty_project(toy):
    recover(lambda text: pytest.fail(text))


def test_who_is_at_work_is_named_and_nothing_is_touched(done):
    done.write("runs/soup/.dish.txt.99.part", b"half")
    with locked_job(done.job("cook@soup")), pytest.raises(BusyError) as caught:
        recover()
    assert str(caught.value) == "still at work here: cook@soup; wait for it or end it"
    assert Path("runs/soup/.dish.txt.99.part").exists()


def script(name, text):
    path = Path("bin", name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", ["snakemake", "dvc"])
def test_an_engine_at_work_is_named(done, name):
    path = script(name, "print('up', flush=True); import time; time.sleep(60)")
    with subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE) as engine:
        try:
            engine.stdout.readline()
            with pytest.raises(BusyError) as caught:
                recover()
            assert f"{name} ({engine.pid})" in str(caught.value)
        finally:
            engine.kill()


HOLD = """
import time
from types import SimpleNamespace
from hier.ledger.locks import locked_job
with locked_job(SimpleNamespace(name="cook@soup")):
    print("up", flush=True)
    time.sleep(60)
"""


def test_an_orphan_is_ended(done):
    path = script("snakemake", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])")
    with subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE) as engine:
        engine.stdout.readline()
        orphan = holders()["cook@soup"]["process"]["pid"]
        engine.kill()
        engine.wait()
        said = []
        recover(said.append)
    assert said == [f"ending process {orphan} (cook@soup), whose engine is gone"]
    assert holders() == {}
    give_up = time.monotonic() + 5
    while Path(f"/proc/{orphan}").exists() and time.monotonic() < give_up:
        time.sleep(0.02)


def test_a_lock_that_snakemake_left_behind_is_removed_by_snakemake(done, monkeypatch):
    called = []
    monkeypatch.setattr(module, "call", lambda *command: called.append(command))
    recover()
    Path(".snakemake/locks").mkdir(parents=True)
    recover()
    assert called == []
    Path(".snakemake/locks/0.input.lock").touch()
    said = []
    recover(said.append)
    assert called == [("snakemake", "--unlock")]
    assert said == ["removing the lock that a killed Snakemake left behind"]


def test_jobs_of_a_batch_system_go_on_and_keep_what_they_write(done, monkeypatch):
    """Their Snakemake is gone, and its lock is left behind."""
    called = []
    monkeypatch.setattr(module, "call", lambda *command: called.append(command))
    done.write("runs/soup/.dish.txt.99.part", b"half")
    done.write(".snakemake/locks/0.input.lock", b"")
    of_slurm = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        of_slurm, stdout=subprocess.PIPE, env=os.environ | {"SLURM_JOB_ID": "17"}
    ) as process:
        process.stdout.readline()
        said = []
        recover(said.append)
        process.kill()
    goes_on = f"cook@soup goes on as Slurm job 17 on {socket.gethostname()} since "
    assert said[0].startswith(goes_on)
    assert said[1:] == ["removing the lock that a killed Snakemake left behind"]
    assert called == [("snakemake", "--unlock")]
    assert Path("runs/soup/.dish.txt.99.part").exists()


def test_a_snakemake_that_works_is_told_of_and_its_lock_is_not_removed(done, capsys):
    """Two of them, as on other targets; each has a note of its own."""
    heed_announced(unlock=True)
    announce = "from hier.ledger.locks import announce; announce('snakemake'); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    working = [subprocess.Popen([sys.executable, "-c", announce], **pipes) for _ in range(2)]
    try:
        for process in working:
            process.stdout.readline()
        heed_announced(unlock=False)
        said = capsys.readouterr().err
        for process in working:
            assert f"snakemake (process {process.pid} since 2" in said
        assert said.startswith("still at work here: ")
        assert said.endswith("; wait for it or end it\n")
        with pytest.raises(
            BusyError, match="Snakemake's lock is not left over: still at work here: snakemake"
        ):
            heed_announced(unlock=True)
        working[0].communicate(b"end\n")
        with pytest.raises(BusyError, match="still at work here: snakemake; wait for it or end it"):
            recover()
    finally:
        for process in working:
            process.kill()
            process.communicate()
    heed_announced(unlock=True)


def test_a_lock_that_cannot_be_removed_is_one_line(done, monkeypatch):
    Path(".snakemake/locks").mkdir(parents=True)
    Path(".snakemake/locks/0.input.lock").touch()
    with pytest.raises(HierError) as caught:
        recover()  # there is no Snakefile here
    assert str(caught.value).startswith("snakemake --unlock failed: Error: No Snakefile")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("torn", ["", "schema: '2.0'\nstages:\n  download@demo:\n    cmd: [", "schema:"])
@pytest.mark.parametrize("committed", [True, False])
def test_a_ledger_that_dvc_was_killed_in_is_put_aside(tmp_path, monkeypatch, torn, committed):
    """DVC opens dvc.lock and then writes it."""
    monkeypatch.chdir(tmp_path)
    whole = "schema: '2.0'\nstages: {}\n"
    subprocess.run(["git", "init", "-q"], check=True)
    if committed:
        Path("dvc.lock").write_text(whole)
        given = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "add", "dvc.lock"], check=True)
        subprocess.run(["git", *given, "commit", "-qm", "x"], check=True)
    Path("dvc.lock").write_text(torn)
    said = []
    recover(said.append)
    assert Path(".hier/dvc.lock.torn").read_text() == torn
    assert Path("dvc.lock").exists() == committed
    assert not committed or Path("dvc.lock").read_text() == whole
    (line,) = said
    assert line.startswith("dvc.lock cannot be read: ")
    assert "put aside as .hier/dvc.lock.torn" in line
    recover(said.append)
    assert len(said) == 1


def test_an_unfinished_merge_of_the_ledger_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: '2.1'\n>>>>>>> other\n"
    Path("dvc.lock").write_text(text)
    recover(lambda _: None)
    assert Path("dvc.lock").read_text() == text


def as_dvc_writes(toy, names):
    """dvc.lock with the entries of some jobs, as DVC itself writes it."""
    from dvc.utils.serialize import dumps_yaml

    entries = {toy.job(name).dvc_name: toy.entry(name) for name in names}
    for entry in entries.values():
        for kind in ("deps", "outs"):
            entry[kind].sort(key=lambda item: item["path"])
    return dumps_yaml({"schema": "2.0", "stages": entries})


def tampered(toy):
    """The jobs that hier verify calls tampered."""
    audit = LedgerAudit(toy.SETTINGS)
    return [name for name in toy.NAMES if audit.finding(toy.job(name)).status == "tampered"]


@pytest.mark.parametrize("last", ["serve-menu", "cook@stew"])
def test_a_ledger_cut_anywhere_is_never_taken_for_tampering(done, monkeypatch, last):
    """At each byte of its last entry, and at the end of each line before it. The last output of one of the
    two entries is a record, that of the other a folder, which has a number of files."""
    text = as_dvc_writes(done, [name for name in done.NAMES if last == "serve-menu" or name != "serve@menu"])
    done.write("dvc.lock", text.encode())
    done.commit("dvc.lock")
    assert tampered(done) == []
    monkeypatch.setattr(torn_module, "git", lambda *_: text)
    begin = text.index(f"\n  {last}:\n")
    for cut in (n for n in range(len(text)) if n > begin or text[n - 1] == "\n"):
        Path("dvc.lock").write_text(text[:cut])
        if not torn_module.torn():
            assert tampered(done) == [], text[:cut]


def test_a_whole_ledger_is_left_alone_whatever_git_has(done, monkeypatch):
    text = as_dvc_writes(done, done.NAMES)
    done.write("dvc.lock", text.encode())
    earlier = as_dvc_writes(done, done.NAMES[:2])
    for has in (None, "", text, earlier, "<<<<<<< a\n=======\n>>>>>>> b\n", "- a", "stages:"):
        monkeypatch.setattr(torn_module, "git", lambda *_, has=has: has)
        assert torn_module.torn() == ""


def test_an_earlier_ledger_that_git_put_there_is_left_alone(done):
    """As `git checkout COMMIT -- dvc.lock` does: it ends before entries that the last commit has."""
    texts = [as_dvc_writes(done, done.NAMES[:count]) for count in (2, 5)]
    for text in texts:
        done.write("dvc.lock", text.encode())
        done.commit("dvc.lock")
    done.git("checkout", "--quiet", "HEAD^", "--", "dvc.lock")
    recover(pytest.fail)
    assert Path("dvc.lock").read_text() == texts[0]


@pytest.mark.parametrize(("cut", "why"), [
    ("    outs:", "ends within its entry serve-menu"),
    ("  serve-menu:", "ends before its entry serve-menu"),
    ("  cook@stew:", "ends before its entry cook@stew"),
])  # fmt: skip
def test_what_was_cut_off_at_the_end_of_a_line_is_seen(done, cut, why):
    text = as_dvc_writes(done, done.NAMES)
    done.write("dvc.lock", text.encode())
    done.commit("dvc.lock")
    Path("dvc.lock").write_text(text[: text.rindex(cut)])
    said = []
    recover(said.append)
    rest = "it is put aside as .hier/dvc.lock.torn, the committed one counts, and hier adopt enters the rest"
    assert said == [f"dvc.lock {why}; {rest}"]
    assert Path("dvc.lock").read_text() == text
    assert Path(".hier/dvc.lock.torn").read_text() == text[: text.rindex(cut)]
