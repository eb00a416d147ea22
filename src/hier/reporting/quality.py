"""How good is the tree? HIER's proxies held against clustering of embeddings, and what that says."""

from collections.abc import Iterator
from math import sqrt
from typing import Any

from hier.config.run import Run
from hier.reporting.content import Content
from hier.results.grades import PAPER_NAMES
from hier.results.measures import judged

Interval = dict[str, float]  # value, low, high: 95 %
Row = dict[str, Any]

Z = 1.959964  # of the normal distribution, for 95 %


def quality(content: Content) -> list[dict[str, Any]]:
    """For each dataset that has a HIER run with a hierarchy: `dataset`, `levels` (finest first),
    `rows` (one for each tree, see :func:`_rows`) and `sentences`."""
    found = []
    for dataset in content.suite.datasets:
        hiers = [run for run in content.suite.runs.values() if _has_proxies(content, run, dataset)]
        if not hiers:
            continue
        rows, sentences = dict[str, Row](), list[str]()
        for run in hiers:
            proxies, own, rival = _rows(content, run)
            rows |= {row["key"]: row for row in (proxies, own, rival) if row}
            sentences += _sentences(run, proxies, own, rival)
        levels = _hierarchy(content, hiers[0].name)["levels"]
        found.append(
            {
                "dataset": dataset,
                "levels": levels,
                "coarse": levels[1] if len(levels) > 1 else None,
                "rows": list(rows.values()),
                "sentences": sentences,
            }
        )
    return found


def _hierarchy(content: Content, run: str) -> dict[str, Any]:
    found: dict[str, Any] = content.metrics.get(run, {}).get("hierarchy", {})
    return found


def _has_proxies(content: Content, run: Run, dataset: str) -> bool:
    return run.dataset == dataset and "proxies" in _hierarchy(content, run.name)


def _rows(content: Content, run: Run) -> tuple[Row, Row, Row | None]:
    """A HIER run's proxies, clustering of its embeddings, and of the embeddings of the run with the
    same metric loss, backbone, dimension and seed without the regulariser (None: there is none).

    Each has `key`, `tree` in words, `run`, `purity` by level, `spearman` and `recall` (intervals or
    None).
    """
    same = ("dataset", "dim", "seed")
    rival = next(
        (
            other
            for other in content.suite.runs.values()
            if other.loss.name == run.loss.name
            and other.regularizer.name == "none"
            and other.backbone.name == run.backbone.name
            and all(getattr(other, name) == getattr(run, name) for name in same)
            and "clustering" in _hierarchy(content, other.name)
        ),
        None,
    )
    return (
        _row(content, run, "proxies"),
        _row(content, run, "clustering"),
        _row(content, rival, "clustering") if rival else None,
    )


def _row(content: Content, run: Run, kind: str) -> Row:
    measured = _hierarchy(content, run.name)[kind]
    words = {"proxies": "proxies of", "clustering": "clustering of the embeddings of"}
    return {
        "key": f"{kind} {run.name}",
        "tree": f"{words[kind]} {_name(run)}",
        "run": run.name,
        "purity": {k: _whole(of) for k, of in measured["dendrogram_purity"].items()},
        "spearman": _whole(measured.get("lca_spearman")),
        "recall": _coarse_recall(content.metrics[run.name], run) if kind == "clustering" else None,
    }


def _whole(of: Interval | None) -> Interval | None:
    """An interval, unless something of it could not be measured (NaN)."""
    return of if of and all(value == value for value in of.values()) else None


def _coarse_recall(metrics: dict[str, Any], run: Run) -> Interval | None:
    """Super-class R@1 of the embeddings in percent, with Wilson's interval over the queries."""
    if "1" not in metrics.get("superclass_recall", {}):
        return None
    counts = judged(metrics, run.evaluate.unmatched == "leave_out").get("super-class R", metrics)
    share, n = metrics["superclass_recall"]["1"], counts["queries"]
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    shares = {"value": share, "low": middle - half, "high": middle + half}
    return {name: 100 * value for name, value in shares.items()}


def _name(run: Run) -> str:
    return PAPER_NAMES.get(run.method, run.method)


def _sentences(run: Run, proxies: Row, own: Row, rival: Row | None) -> Iterator[str]:
    """What the figures say, worse included, of one HIER run."""
    setting = f"{run.backbone.name}, D {run.dim}, seed {run.seed}"
    if rival is None:
        yield (
            f"{setting}: no run with the same metric loss and without the regulariser stands "
            f"beside {_name(run)}, so its proxies can be held against its own embeddings alone."
        )
    for mine, other in ((proxies, rival), (proxies, own), (own, rival)):
        if other is not None and any(_measures(mine, other)):
            yield f"{setting}: {held_against(mine, other)}"


def held_against(one: Row, other: Row) -> str:
    """In words, in which measures the intervals of two trees lie apart, and to what that comes."""
    higher, lower, alike = list[str](), list[str](), list[str]()
    for name, mine, theirs in _measures(one, other):
        form = ".2f" if "Spearman" in name else ".1f"
        text = f"{name} ({mine['value']:{form}} against {theirs['value']:{form}})"
        if mine["low"] > theirs["high"]:
            higher.append(text)
        elif mine["high"] < theirs["low"]:
            lower.append(text)
        else:
            alike.append(text)
    parts = [f"higher in {_listed(higher)}"] if higher else []
    parts += [f"lower in {_listed(lower)}"] if lower else []
    parts += [f"not told apart in {_listed(alike)}, where the intervals overlap"] if alike else []
    if higher and lower:
        verdict = "better in some respects and worse in others"
    elif higher or lower:
        verdict = ("better" if higher else "worse") + (" in part" if alike else " throughout")
    else:
        verdict = "neither shown to be better nor to be worse"
    return f"{one['tree']} against {other['tree']}: {'; '.join(parts)}. The former is {verdict}."


def _measures(one: Row, other: Row) -> Iterator[tuple[str, Interval, Interval]]:
    """The measures that both trees have."""
    for level, mine in one["purity"].items():
        if mine and (theirs := other["purity"].get(level)):
            yield f"purity by {level}", mine, theirs
    if one["spearman"] and other["spearman"]:
        yield "LCA Spearman", one["spearman"], other["spearman"]
    if one["recall"] and other["recall"]:
        yield "coarse R@1", one["recall"], other["recall"]


def _listed(items: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))
