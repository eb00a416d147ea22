"""The figures of a run, under the names that the table gives them. Nothing heavy is imported."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hier.git import refuse_conflicts
from hier.pipeline import EXPECTED, METRICS


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


def figures(metrics: dict[str, Any]) -> dict[str, float]:
    """The figures of a metrics file, in percent, by the names of the table's columns."""
    named = {f"R@{k}": share for k, share in metrics["recall"].items()}
    named |= {f"super-class R@{k}": v for k, v in metrics.get("superclass_recall", {}).items()}
    named["MAP@R"] = metrics["map_at_r"]
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
    known = _references(params["suite"]).get(run, {})
    ks = params["datasets"][params["runs"][run]["dataset"]]["ks"]
    names = list(found) or [*(f"R@{k}" for k in ks), "MAP@R"]
    return [_figure(run, name, found.get(name), known.get(name), digest) for name in names]


def read_figures(run: str) -> dict[str, float]:
    """The figures of a run's metrics file; none where it is missing or damaged."""
    try:
        return figures(json.loads(Path(METRICS.format(run=run)).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _figure(
    run: str, name: str, value: float | None, known: dict[str, str] | None, digest: dict[str, Any]
) -> Figure:
    if not known:
        return Figure(run, name, value)
    kinds = [kind for kind in ("sha256", "md5") if kind in digest]  # dvc.lock has MD5 alone
    same = any(known.get(f"metrics_{kind}") == digest[kind] for kind in kinds) if kinds else None
    return Figure(run, name, value, float(known["expected"]), float(known["tolerance"]), same)


def _references(suite: str) -> dict[str, dict[str, dict[str, str]]]:
    """The rows of expected/<suite>.csv by run and measure."""
    path, found = Path(EXPECTED) / f"{suite}.csv", dict[str, dict[str, dict[str, str]]]()
    refuse_conflicts([path])
    if path.exists():
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                found.setdefault(row["run"], {})[row["measure"]] = row
    return found
