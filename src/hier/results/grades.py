"""What `hier verify` can say of a cell, which is one value of one run."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal

from hier.errors import HierError, ReproductionError, RerunError, TamperedError
from hier.ledger.dvc_lock import AWAY


class Grade(StrEnum):
    """A cell's grade, from the best to the worst."""

    # fmt: off
    IDENTICAL = "identical", "✓", "good", None, "the metrics file is the same bytes as the reference run's"
    WITHIN = ("within tolerance", "≈", "good", None,
              "other bytes, none were promised, and the value is where one further seed's would be")
    NO_REFERENCE = ("no reference", "○", "unknown", None,
                    "the settings are not the reference run's, or there is none to hold it against")
    NO_DATA = "no data", "∅", "unknown", None, "the dataset could not be had"
    NOT_HERE = (AWAY, "…", "unknown", ReproductionError,
                "dvc.lock has the result, but not all that it was made from is here")
    OUT = "out of tolerance", "✗", "bad", ReproductionError, "the value is farther off than that"
    DIFFERS = "differs", "≠", "bad", ReproductionError, "other bytes, where the same were promised"
    NOT_RUN = "not run", "–", "bad", ReproductionError, "there is no result, or one of other settings"
    STALE = ("stale", "!", "bad", ReproductionError,
             "inputs, settings, code or packages have moved on since it was made")
    REFUTED = "refuted", "!", "bad", RerunError, "a rerun gave other bytes"
    TAMPERED = "tampered", "!", "bad", TamperedError, "bytes are not what a record or dvc.lock says"
    # fmt: on

    mark: str  # stands before it, so that no reader depends on a colour
    kind: Literal["good", "unknown", "bad"]  # its colour on pages and the terminal
    error: type[HierError] | None  # what `hier verify` ends with, which has the exit code; None: no failure
    meaning: str  # in words

    def __new__(cls, text: str, *rest: Any) -> "Grade":
        grade = str.__new__(cls, text)
        grade._value_ = text
        grade.mark, grade.kind, grade.error, grade.meaning = rest
        return grade


OF_LEDGER = (Grade.NOT_HERE, Grade.STALE, Grade.REFUTED, Grade.TAMPERED)
"""The grades that only the ledger gives, so that results/SUITE/table.csv has none of them."""


def worst(grades: Iterable[str]) -> str:
    """The worst of some grades; one that is not known is worse than all."""
    rank = {grade.value: number for number, grade in enumerate(Grade)}
    return max(grades, key=lambda grade: rank.get(grade, len(rank)))


def meanings() -> list[str]:
    """A line for each grade: what it means and, of a failure, the exit code of `hier verify`."""
    return [
        f"{grade.value:<21}{grade.meaning}" + (f" ({grade.error.exit_code})" if grade.error else "")
        for grade in Grade
    ]
