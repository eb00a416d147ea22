"""The one list of grades, and everything that tells of it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from hier.audit.audit import STATUSES
from hier.cli import cli
from hier.results.grades import OF_LEDGER, Grade, meanings, worst

ROOT = Path(__file__).parents[2]


def test_a_grade_is_what_a_table_calls_it():
    assert [Grade(str(grade)) for grade in Grade] == list(Grade)
    assert f"{Grade.WITHIN}" == "within tolerance"
    assert len({grade.mark for grade in Grade if grade not in OF_LEDGER}) == 7


@pytest.mark.parametrize("better", range(len(Grade)))
def test_the_worse_of_two_comes_later(better):
    grades = list(Grade)
    for worse in grades[better:]:
        assert worst([grades[better], worse]) == worst([worse, grades[better]]) == worse


def test_what_is_not_known_is_the_worst():
    assert worst(["identical", "made up", "tampered"]) == "made up"


def test_a_good_grade_fails_nothing_and_a_bad_one_does():
    assert all(grade.error is None for grade in Grade if grade.kind == "good")
    assert all(grade.error for grade in Grade if grade.kind == "bad")


def test_each_standing_of_a_job_that_is_not_in_order_is_a_grade():
    assert {status for status in STATUSES if status != "current"} <= set(Grade)


def test_the_help_tells_of_every_grade():
    said = CliRunner().invoke(cli, ["verify", "--help"]).output
    assert all(line in said for line in meanings())
    assert "{grades}" not in said


def test_the_docs_tell_of_every_grade():
    lines = (ROOT / "docs/grades.md").read_text().splitlines()
    start = lines.index("| grade | meaning | exit code |") + 2
    for grade, line in zip(Grade, lines[start:], strict=False):
        _, name, meaning, code, _ = (part.strip() for part in line.split("|"))
        assert (name, meaning[: len(grade.meaning)]) == (grade, grade.meaning)
        assert code.partition(";")[0] == str(grade.error.exit_code if grade.error else 0)


def test_the_caption_of_the_table_tells_of_every_grade_in_it():
    said = " ".join((ROOT / "workflow/report/table.rst").read_text().split())
    assert ", ".join(grade for grade in Grade if grade not in OF_LEDGER) in said
