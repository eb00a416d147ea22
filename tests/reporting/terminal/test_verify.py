"""What `hier verify` prints of what it found."""

import re

import pandas as pd
import pytest

from hier.audit.verify import LedgerState, VerificationReport
from hier.errors import ReproductionError
from hier.reporting.terminal import verify as printed

from ...results.test_table import NAN, cells_of


@pytest.mark.parametrize(("grades", "runs"), [
    (("identical", "identical"), 2), (("identical", "no reference"), 1), (("no reference",) * 2, 0),
])  # fmt: skip
def test_a_promise_is_told_of_runs_that_have_a_reference(monkeypatch, capsys, grades, runs):
    cells = pd.DataFrame({
        "run": ["a", "b"], "grade": grades, "promise": "the same bytes", "proved": None,
        "reason": "it is new",
    })  # fmt: skip
    monkeypatch.setattr(printed, "table_of", lambda cells: "")
    monkeypatch.setattr(printed, "describe", lambda cells: [])
    found = VerificationReport(cells=cells, findings=[], damaged=[], notices={}, refuted={})
    printed.print_report(found)
    said = f"promise of {runs} runs against the reference: the same bytes\n" if runs else ""
    without = f"{2 - runs} runs have no reference: it is new\n" if runs < 2 else ""
    assert capsys.readouterr().out.lstrip() == without + said


AWAY = "committed, not here"


def report_of(*cells, **found):
    """The report of a suite, of cells given as (grade, by_hash)."""
    rows = [{"run": f"r{i}", "grade": g, "by_hash": h} for i, (g, h) in enumerate(cells)]
    return [VerificationReport(pd.DataFrame(rows), **found)]


def test_what_is_not_here_fails_and_is_counted_apart():
    with pytest.raises(ReproductionError) as caught:
        printed.verdict(report_of(("identical", None), (AWAY, True), (AWAY, False)))
    assert str(caught.value) == (
        "2 of 3 cells are committed, not here; make them with: snakemake --cores all (or dvc checkout, "
        "where DVC's cache has them, or dvc pull, from a remote); judge by the committed hashes with: "
        "hier verify --by-hash"
    )
    with pytest.raises(ReproductionError, match=r"^1 of 2 cells are not reproduced and 1 of 2 cells"):
        printed.verdict(report_of(("not run", None), (AWAY, True)))


def test_by_hash_what_is_not_here_fails_where_its_hash_is_not_the_references():
    printed.verdict(report_of(("identical", None), (AWAY, True)), by_hash=True)
    with pytest.raises(ReproductionError) as caught:
        printed.verdict(report_of((AWAY, True), (AWAY, False)), by_hash=True)
    said = (
        "1 of 2 cells have another committed hash than the reference, or none to have; make them here with: "
    )
    assert str(caught.value) == f"{said}snakemake --cores all"
    with pytest.raises(ReproductionError, match="not reproduced"):
        printed.verdict(report_of(("not run", None), (AWAY, True)), by_hash=True)


@pytest.mark.parametrize(("state", "words"), [
    (LedgerState(19, 0, ("a",) * 19),
     "19 of 19 stages are not entered in dvc.lock; enter them with: hier adopt"),
    (LedgerState(19, 17, ("a", "b")),
     "2 of 19 stages are not entered in dvc.lock; enter them with: hier adopt"),
    (LedgerState(19, 3, ("a", "b")), "2 of 19 stages are not entered in dvc.lock; hier adopt enters "
     "them once the others are in order"),
    (LedgerState(19, 3), "3 of 19 stages are entered in dvc.lock, the others are not in order"),
    (LedgerState(19, 19), "all 19 stages are entered in dvc.lock"),
    (LedgerState(19, 19, (), ("dvc.lock",)), "all 19 stages are entered in dvc.lock; commit them with: "
     "git add dvc.lock dvc.yaml params.yaml params runs results && git commit"),
])  # fmt: skip
def test_the_state_of_the_ledger_names_the_command_that_is_missing(state, words):
    assert printed.state_in_words(state) == words


def test_the_terminal_shows_every_cell(capsys):
    cells = cells_of(("hier", "R@1", 70.123, "identical", 75.2), ("pa", "R@1", NAN, "not run"))
    cells.loc[0, ["expected", "mean", "tolerance"]] = [71.5, 71.0, 2.5]
    printed.print_report(VerificationReport(cells.assign(promise="", reason="", proved=None)))
    out = capsys.readouterr().out
    lines = [[part.strip() for part in re.split("[│┃|]", line) if part.strip()]
             for line in out.splitlines()]  # fmt: skip
    row = ["demo-hier-net-64-s0", "R@1", "70.12", "71.50", "71.00", "2.50", "75.20", "identical"]
    assert row in lines
    assert ["demo-pa-net-64-s0", "R@1", "–", "–", "–", "–", "–", "not run"] in lines
    assert "2 cells: 1 identical, 1 not run" in out
