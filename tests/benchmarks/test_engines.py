"""The benchmark of the engines, on one run: it prints its table, and a missed bound is its exit."""

import re

import pytest

import engines


@pytest.mark.parametrize(("bound", "code"), [(60, 0), (0.001, 1)])
def test_a_missed_bound_is_the_exit_status(monkeypatch, capsys, bound, code):
    """With a ledger of one run, without which its stage would fail for lack of data: some 8 s."""
    run = "smoke-hier-test_resnet-16-s0"
    monkeypatch.setattr(engines, "LARGE", "hier compose suite=smoke methods=[hier]")
    monkeypatch.setattr(engines, "UNDONE", ())
    monkeypatch.setattr(engines, "COMMANDS", ((f"hier train {run}", 60), ("hier --help", bound)))
    with pytest.raises(SystemExit) as exit_status:
        engines.main(["--quick"])
    assert exit_status.value.code == code
    out = capsys.readouterr().out
    assert re.search(rf"\| Table 1 \| `hier train {run}`, s \| \d+\.\d\d \|  \| ≤ 120 \|", out)
    assert f"| ≤ {2 * bound:g} |" in out
    assert "smoke, 4 runs" not in out


def test_a_command_that_fails_ends_it_with_what_it_said(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        engines.call(tmp_path, "hier train nope")
    assert str(stopped.value).startswith("hier train nope: exit 1\n")
    assert "is in no project" in str(stopped.value)


def test_the_copy_holds_what_git_has(tmp_path):
    folder = engines.project(tmp_path / "copy")
    assert (folder / "Snakefile").read_bytes() == (engines.checkout.ROOT / "Snakefile").read_bytes()
    assert not (folder / ".git").exists()
    assert not (folder / "data").exists()


def test_one_core_and_two_do_the_same_work_from_clean(monkeypatch, capsys, tmp_path):
    called = []
    monkeypatch.setattr(engines, "call", lambda folder, command: called.append(command))
    for made in ("data", "runs"):
        (tmp_path / made).mkdir()
    engines.side_by_side(engines.Table(), tmp_path, 2)
    assert [c for c in called if "snakemake" in c] == [
        f"snakemake --cores {cores} --quiet all" for cores in (1, 2, 1, 2)
    ]
    assert not any((tmp_path / made).exists() for made in ("data", "runs"))
    assert "| smoke, 4 runs | 1 core / 2 cores |" in capsys.readouterr().out


@pytest.mark.parametrize(("lenient", "missed"), [(False, True), (True, False)])
def test_a_lenient_table_lets_one_good_round_count(lenient, missed):
    turns = engines.Turns({"a": [1.0, 4.0, 4.0], "b": [1.0, 1.0, 1.0]})
    table = engines.Table(lenient=lenient)
    table.ratio("x", turns, "a", "b", at_most=3)
    assert table.missed is missed
    table = engines.Table(lenient=lenient)
    table.ratio("x", turns, "b", "a", at_least=0.5)
    assert table.missed is missed
    table.ratio("x", turns, "a", "b", at_least=5)
    assert table.missed
