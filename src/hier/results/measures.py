"""The figures of a run, under the names that the table gives them. Nothing heavy is imported."""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hier.ledger.artifacts import reading
from hier.pipeline import EXPECTED, METRICS

# The columns of expected/<suite>.csv; references from before they were kept have not the last two.
REFERENCE = (
    "run", "measure", "expected", "tolerance", "metrics_sha256", "settings_sha256", "metrics_md5",
    "environment",
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One number of the table, in percent. `value` is None where it was not made.

    `expected`, `tolerance` and `same_bytes` (as the reference run's metrics) are None where there
    is no reference, `same_bytes` also where no hash is known.
    """

    run: str
    measure: str
    value: float | None
    expected: float | None = None
    tolerance: float | None = None
    same_bytes: bool | None = None


def read_metrics(path: Path) -> dict[str, Any]:
    """A run's metrics.json.

    Raises:
        DamagedInputError: it cannot be read, or lacks a figure or has one that is none.
    """
    with reading(path):
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(metrics, dict) or not {"recall", "map_at_r"} <= metrics.keys():
            raise ValueError("it holds no recall or no map_at_r")
        figures(metrics)
        return metrics


def figures(metrics: dict[str, Any]) -> dict[str, float]:
    """The figures of a metrics file, in percent, by the names of the table's columns.

    Raises:
        ValueError: one is no share, which is a number from 0 to 1.
    """
    for name in ("recall", "superclass_recall"):
        if not isinstance(metrics.get(name, {}), dict):
            raise ValueError(f"{name} is no mapping of K to a share")
    named = {f"R@{k}": share for k, share in metrics["recall"].items()}
    named |= {f"super-class R@{k}": v for k, v in metrics.get("superclass_recall", {}).items()}
    named["MAP@R"] = metrics["map_at_r"]
    for name, share in named.items():
        if type(share) not in (int, float) or not 0 <= share <= 1:
            raise ValueError(f"{name} is {str(share)[:40]!r}, which is no number from 0 to 1")
    return {name: 100 * share for name, share in named.items()}


def judged(metrics: dict[str, Any], leaves_out: bool) -> dict[str, dict[str, int]]:
    """Of how many queries the figures are means, by what stands before the @ of their names.

    `queries` are those, `unmatched` how many of them can never be right (they count as misses), and
    `left_out` how many more were not judged, since they cannot. Empty where the metrics do not say.

    Args:
        leaves_out: whether `evaluate.unmatched` is `leave_out`; MAP@R leaves them out in any case.
    """
    if "queries_without_match" not in metrics:
        return {}
    without = metrics["queries_without_match"]
    every = metrics["queries"] + without * leaves_out
    lone_superclasses = metrics.get("superclass_queries_without_match", 0)
    kinds = {
        "R": (without, leaves_out),
        "super-class R": (lone_superclasses, leaves_out),
        "MAP": (without, True),
    }
    return {
        kind: {"queries": every - n * out, "unmatched": n * (not out), "left_out": n * out}
        for kind, (n, out) in kinds.items()
    }


def figures_of(run: str, params: dict[str, Any], digest: dict[str, Any]) -> list[Figure]:
    """Every figure of a run; those that are expected, without a value, where it has no metrics.

    Args:
        digest: of the metrics file, as it is here or else as dvc.lock has it; {} for neither.
    """
    found = read_figures(run)
    known = {row["measure"]: row for row in references(params["suite"]) if row["run"] == run}
    ks = params["datasets"][params["runs"][run]["dataset"]]["ks"]
    names = list(found) or [*(f"R@{k}" for k in ks), "MAP@R"]
    return [_figure(run, name, found.get(name), known.get(name), digest) for name in names]


def read_figures(run: str) -> dict[str, float]:
    """The figures of a run's metrics file; none where it is missing or damaged."""
    try:
        return figures(json.loads(Path(METRICS.format(run=run)).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _figure(
    run: str, name: str, value: float | None, known: dict[str, Any] | None, digest: dict[str, Any]
) -> Figure:
    if not known:
        return Figure(run, name, value)
    kinds = [kind for kind in ("sha256", "md5") if kind in digest]  # dvc.lock has MD5 alone
    same = any(known.get(f"metrics_{kind}") == digest[kind] for kind in kinds) if kinds else None
    return Figure(run, name, value, known["expected"], known["tolerance"], same)


def references(suite: str) -> list[dict[str, Any]]:
    """The rows of expected/<suite>.csv, what the reference run gave; none where there is no such file.

    `expected` and `tolerance` are numbers, the other columns text, or None where nothing is said.

    Raises:
        ConflictError: it has the marks of an unfinished merge.
        DamagedInputError: it is no such table; says where.
    """
    path, found = Path(EXPECTED) / f"{suite}.csv", dict[tuple[str, str], dict[str, Any]]()
    if not path.exists():
        return []
    with reading(path), path.open(encoding="utf-8-sig", newline="") as stream:
        table = csv.DictReader(stream, strict=True)
        if lacking := [name for name in REFERENCE[:-2] if name not in (table.fieldnames or ())]:
            raise ValueError(f"it has no column {lacking[0]}")
        for row in table:
            cell = _reference(row, f"line {table.line_num}")
            if (of := (cell["run"], cell["measure"])) in found:
                raise ValueError(f"line {table.line_num}: {' '.join(of)} occurs twice")
            found[of] = cell
    return [*found.values()]


def _reference(row: dict[str, Any], where: str) -> dict[str, Any]:
    if None in row or None in row.values():
        raise ValueError(f"{where} has not as many fields as the first line")
    numbers = {name: _number(row[name]) for name in ("expected", "tolerance")}
    for name, value in numbers.items():
        if not 0 <= value < math.inf:
            raise ValueError(
                f"{where}: {name} is {row[name][:40]!r}, which is no number of 0 or more"
            )
    return {name: row.get(name) or None for name in REFERENCE} | numbers


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
