"""A stage does nothing where its result is proved current, and says in one line what a user got wrong."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import hier
from fakes.settings import write_settings
from hier.config.settings import Settings
from hier.errors import BusyError, DamagedInputError, HierError, MissingInputError, UnknownNameError
from hier.ledger.locks import holders, locked_job
from hier.ledger.record import read_record
from hier.ledger.run_job import current, run_stage

ROOT = Path(__file__).parents[2]
SOURCE = Path(hier.__file__).parents[1]
DISH = Path("runs/soup/dish.txt")
RUN = "smoke-hier-test_resnet-16-s0"


@pytest.fixture
def done(toy, monkeypatch):
    """A list of the jobs whose modules were called; the toy's stages are modules of hier.stages."""
    called = []

    def module(name):
        made = ModuleType(f"hier.stages.{name}")

        def run(job, suite, key):
            called.append((job.name, key))
            assert job.name in holders()
            toy.work(job)

        made.run = run
        return made

    monkeypatch.setattr(Settings, "suite", lambda self, name=None: None)  # the toy's fit no schema
    for stage in toy.STAGES:
        monkeypatch.setitem(sys.modules, f"hier.stages.{stage.name}", module(stage.name))
    return called


def run_all():
    for name, key in (
        ("shop", "veg"),
        ("chop", "veg"),
        ("cook", "soup"),
        ("cook", "stew"),
        ("serve", "menu"),
    ):
        run_stage(name, key)


def test_every_stage_works_once_and_then_does_nothing(done, toy, capsys):
    run_all()
    assert [name for name, _ in done] == toy.NAMES
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if ".hier" not in path.parts}
    assert capsys.readouterr().out == ""
    run_all()
    assert [name for name, _ in done] == toy.NAMES
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{name}: current, nothing to do" for name in toy.NAMES]
    after = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if ".hier" not in path.parts}
    assert after == before
    assert holders() == {}


def test_the_stage_is_given_the_key_that_its_record_has(done, toy):
    run_all()
    for name, key in done:
        assert read_record(toy.job(name))["key"] == key


def test_force_works_anew(done):
    run_all()
    del done[:]
    run_stage("cook", "soup", force=True)
    assert [name for name, _ in done] == ["cook@soup"]


def wrong_setting(toy):
    write_settings(toy.other(seed=8))


CHANGES = {
    "a setting": wrong_setting,
    "code": lambda toy: toy.write("src/hier/pot.py", b"other"),
    "an input": lambda toy: toy.write("data/veg/chopped.txt", b"other"),
    "an output": lambda toy: DISH.write_bytes(b"other"),
    "the record": lambda toy: Path("runs/soup/cook.record.json").write_text("{}"),
    "no record": lambda toy: Path("runs/soup/cook.record.json").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_not_as_recorded_is_worked_anew(done, toy, change):
    run_all()
    del done[:]
    CHANGES[change](toy)
    run_stage("cook", "soup")
    assert [name for name, _ in done] == ["cook@soup"]
    run_stage("cook", "soup")
    assert len(done) == 1


def test_a_setting_that_is_put_back_makes_the_old_key(done, toy):
    run_all()
    first = done[2]
    wrong_setting(toy)
    run_stage("cook", "soup")
    write_settings(toy.SETTINGS)
    run_stage("cook", "soup")
    assert done[-1] == first
    assert done[-2][1] != first[1]


def test_deleted_outputs_come_back_without_work(done, capsys):
    run_all()
    del done[:]
    before = DISH.read_bytes()
    DISH.unlink()
    shutil.rmtree("runs/soup/rest")
    run_stage("cook", "soup")
    assert done == []
    assert DISH.read_bytes() == before
    assert "cook@soup: current" in capsys.readouterr().out


def test_what_was_deleted_and_not_kept_is_worked_anew(done):
    run_all()
    del done[:]
    DISH.unlink()
    shutil.rmtree(".hier/kept")
    run_stage("cook", "soup")
    assert [name for name, _ in done] == ["cook@soup"]


@pytest.mark.parametrize("touched", [True, False])
def test_what_fails_leaves_no_lock_and_a_record_of_untouched_outputs_alone(done, toy, monkeypatch, touched):
    run_all()

    def fail(job, suite, key):
        if touched:
            DISH.write_bytes(b"half of it")
        raise ValueError("bad")

    monkeypatch.setattr(sys.modules["hier.stages.cook"], "run", fail)
    with pytest.raises(ValueError, match="bad"):
        run_stage("cook", "soup", force=True)
    assert toy.job("cook@soup").record.exists() is not touched
    assert current(toy.job("cook@soup")) is not touched
    assert holders() == {}


@pytest.mark.parametrize(
    ("stage", "kind", "valid"), [("cook", "run", "soup, stew"), ("chop", "dataset", "veg")]
)
def test_unknown_names_list_the_valid_ones(done, stage, kind, valid):
    with pytest.raises(UnknownNameError) as caught:
        run_stage(stage, "nope")
    assert str(caught.value) == f"unknown {kind} 'nope'; choose from: {valid}"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("force", [False, True])
def test_a_missing_input_names_the_command(done, force):
    with pytest.raises(MissingInputError) as caught:
        run_stage("cook", "soup", force)
    assert str(caught.value) == "data/veg/chopped.txt is missing; make it with: hier chop veg"
    assert done == []


def test_a_job_that_is_held_is_not_begun(done, toy):
    run_all()
    with locked_job(toy.job("cook@soup")):
        with pytest.raises(BusyError):
            run_stage("cook", "soup")
        run_stage("cook", "stew")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("runs/soup", {"dataset": "veg"}), ("runs/soup", {"dataset": "veg", "seed": 0, "head": None}),
        ("datasets/veg", {}), ("datasets/veg", {"layout": 3}),
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_are_none_are_told_by_their_check(done, file, content, monkeypatch):
    def suite(self, name=None):
        raise HierError("params.yaml: it is wrong")

    monkeypatch.setattr(Settings, "suite", suite)
    Path(f"params/{file}.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(HierError):
        run_stage("cook", "soup")


def test_of_several_suites_one_is_named(done, toy):
    write_settings(replace(toy.SETTINGS, suites=toy.SETTINGS.suites | {"lunch": ["soup"]}))
    run_all()
    run_stage("serve", "lunch")
    assert [name for name, _ in done] == [*toy.NAMES, "serve@lunch"]
    with pytest.raises(UnknownNameError) as caught:
        run_stage("serve")
    assert str(caught.value) == "unknown suite ''; choose from: menu, lunch"


def test_current_brings_no_error_where_there_is_no_record(done, toy):
    toy.make("shop@veg")
    toy.make("chop@veg")
    assert not current(toy.job("cook@soup"))


# --- as a command --------------------------------------------------------------------------------

HIER = [sys.executable, "-c", "from hier.cli import main; main()"]
LOADED = """
import sys, contextlib
from hier.cli import main
with contextlib.suppress(SystemExit): main()
print("LOADED", *{m.partition(".")[0] for m in sys.modules}, *(m for m in sys.modules if "hier." in m))
"""


def call(*arguments, code=None, **environment):
    command = [sys.executable, "-c", code] if code else HIER
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": "src"} | environment,
    )


@pytest.mark.parametrize("arguments", [("download", "smoke"), ("prepare", "smoke"), ("train", RUN)])
def test_where_a_stage_is_current_nothing_heavy_is_loaded(real, arguments):
    real()
    done = call(*arguments, code=LOADED)
    assert done.returncode == 0, done.stderr
    assert "current, nothing to do" in done.stdout
    loaded = set(done.stdout.rpartition("LOADED ")[2].split())
    heavy = {
        "torch",
        "numpy",
        "pandas",
        "pydantic",
        "timm",
        "hydra",
        "omegaconf",
        "pyarrow",
        "dvc",
        "snakemake",
    }
    assert loaded.isdisjoint(heavy)
    assert f"hier.stages.{arguments[0]}" not in loaded
    assert "hier.ledger.run_job" in loaded


def test_force_and_its_variable_do_the_work(real):
    """The made-up index cannot be read: whoever says so has begun to work."""
    real()
    for arguments, environment in ((["--force"], {}), ([], {"HIER_FORCE": "1"})):
        done = call("prepare", "smoke", *arguments, **environment)
        assert done.returncode == 1, done.stdout
        assert "current" not in done.stdout
        real()
    for value in ("0", "", "false"):
        assert "current" in call("prepare", "smoke", HIER_FORCE=value).stdout


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 2.7 TiB for an array"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 3000 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nGPU 0 has 1 GiB"),
    ],
    ids=["of Python", "of torch", "of a GPU"],
)
def test_a_lack_of_memory_is_one_line(done, monkeypatch, error):
    def run(*_):
        raise error

    run_stage("shop", "veg")
    monkeypatch.setattr(sys.modules["hier.stages.chop"], "run", run)
    with pytest.raises(HierError) as caught:
        run_stage("chop", "veg")
    said = str(caught.value)
    assert said.startswith(f"chop@veg: there is not enough memory ({str(error).splitlines()[0]})")
    assert "\n" not in said


def test_another_error_of_a_library_keeps_its_trace(done, monkeypatch):
    def run(*_):
        raise RuntimeError("size mismatch")

    run_stage("shop", "veg")
    monkeypatch.setattr(sys.modules["hier.stages.chop"], "run", run)
    with pytest.raises(RuntimeError, match="size mismatch"):
        run_stage("chop", "veg")


def test_a_stage_that_stumbles_over_an_edited_input_names_it(done, monkeypatch):
    def run(*_):
        raise TypeError("argument of type 'int' is not iterable")

    run_all()
    monkeypatch.setattr(sys.modules["hier.stages.serve"], "run", run)
    with pytest.raises(TypeError):  # all is as recorded: a mistake of the program keeps its trace
        run_stage("serve", "menu", force=True)
    DISH.write_bytes(b"5")
    with pytest.raises(DamagedInputError) as caught:
        run_stage("serve")  # the only suite
    assert str(caught.value) == (
        f"{DISH} is damaged (it is not the bytes that its record says); make it anew with: hier cook soup"
    )
