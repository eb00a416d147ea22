"""How good is the tree? HIER's proxies held against clustering of embeddings, and what that says."""

from collections.abc import Iterator
from math import isnan, sqrt
from typing import Any

from hier.config.run import Run
from hier.reporting.content import Content
from hier.results.measures import SUPERCLASS_RECALL, TREES, judged
from hier.results.paper import name_of

Interval = dict[str, float]  # value, low, high: 95 %
Row = dict[str, Any]

Z = 1.959964  # of the normal distribution, for 95 %
COARSE = "coarse R@1"
CUT = "clustering_cut"
IN_WORDS = {
    "proxies": "proxies of {}",
    "nearest_proxies": "nearest proxies of {}",
    "clustering": "clustering of the embeddings of {}",
    CUT: "clustering of the embeddings of {}, cut to as many groups",
}
SHOWN = [measure for measure in TREES if measure.meaning]


def quality(content: Content) -> list[dict[str, Any]]:
    """For each dataset that has a HIER run with a hierarchy: `dataset`, `levels` (finest first),
    `meanings` of the measures, `columns` with their digits, `rows` (one for each tree, see
    :func:`_rows`) and `sentences`."""
    found = []
    for dataset in content.suite.datasets:
        runs = [run for run in content.suite.runs.values() if run.dataset == dataset]
        hiers = [run for run in runs if "proxies" in _hierarchy(content, run.name)]
        if not hiers:
            continue
        rows, sentences = dict[str, Row](), list[str]()
        for run in hiers:
            proxies, own, rival = _rows(content, run)
            nearest, cut = (_row(content, run, kind) for kind in ("nearest_proxies", CUT))
            rows |= {row["key"]: row for row in (proxies, nearest, cut, own, rival) if row}
            sentences += _sentences(run, proxies, cut, own, rival)
        levels = _hierarchy(content, hiers[0].name)["levels"]
        names = [*(name for measure in SHOWN for name in measure.names(levels)), COARSE]
        coarse = levels[1] if len(levels) > 1 else None
        about = {"dataset": dataset, "levels": levels, "coarse": coarse}
        columns = {name: _digits(name) for name in names}
        said = {"meanings": [measure.meaning for measure in SHOWN], "sentences": sentences}
        found.append(about | said | {"columns": columns, "rows": list(rows.values())})
    return found


def _digits(column: str) -> int:
    """How many digits a column of the table of trees shows after the point."""
    return next((of.digits for of in SHOWN if of.member(column) is not None), 1)


def _hierarchy(content: Content, run: str) -> dict[str, Any]:
    return content.metrics.get(run, {}).get("hierarchy", {})


def _rows(content: Content, run: Run) -> tuple[Row, Row, Row | None]:
    """A HIER run's proxies, clustering of its embeddings, and of the embeddings of the run with the same
    metric loss, backbone, dimension and seed without the regulariser (None: there is none). Each has `key`,
    `tree` in words, `run` and `values`, the intervals of what was measured by column."""
    proxies, own = (_row(content, run, kind) for kind in ("proxies", "clustering"))
    for other in content.suite.runs.values():
        is_rival = other.regularizer.name == "none" and _setting(other) == _setting(run)
        if is_rival and "clustering" in _hierarchy(content, other.name):
            return proxies, own, _row(content, other, "clustering")
    return proxies, own, None


def _setting(run: Run) -> tuple[Any, ...]:
    return run.loss.name, run.backbone.name, run.dataset, run.dim, run.seed


def _row(content: Content, run: Run, kind: str) -> Row:
    values: dict[str, Interval | None] = {}
    for measure in SHOWN:
        found = _hierarchy(content, run.name)[kind].get(measure.key)
        by_level = found if measure.family else {"": found}
        values |= {measure.name(level): of for level, of in by_level.items()}
    if kind == "clustering":
        values[COARSE] = _coarse_recall(content.metrics[run.name], run)
    there = {name: of for name, of in values.items() if of and not any(map(isnan, of.values()))}
    tree = IN_WORDS[kind].format(name_of(run.method))
    return {"key": f"{kind} {run.name}", "tree": tree, "run": run.name, "values": there}


def _coarse_recall(metrics: dict[str, Any], run: Run) -> Interval | None:
    """Super-class R@1 of the embeddings in percent, with Wilson's interval over the queries."""
    share = metrics.get(SUPERCLASS_RECALL.key, {}).get("1")
    if share is None:
        return None
    leaves_out = run.evaluate.unmatched == "leave_out"
    n = (judged(SUPERCLASS_RECALL, metrics, leaves_out) or metrics)["queries"]
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return {"value": 100 * share, "low": 100 * (middle - half), "high": 100 * (middle + half)}


def _sentences(run: Run, proxies: Row, cut: Row, own: Row, rival: Row | None) -> Iterator[str]:
    """What the figures say, worse included, of one HIER run."""
    setting = f"{run.backbone.name}, D {run.dim}, seed {run.seed}"
    if rival is None:
        yield (
            f"{setting}: no run with the same metric loss and without the regulariser stands beside "
            f"{name_of(run.method)}, so its proxies can be held against its own embeddings alone."
        )
    for mine, other in ((proxies, rival), (proxies, own), (proxies, cut), (own, rival)):
        if other is not None and mine["values"].keys() & other["values"].keys():
            yield f"{setting}: {held_against(mine, other)}"


def held_against(one: Row, other: Row) -> str:
    """In words, in which measures the intervals of two trees lie apart, and to what that comes."""
    higher, lower, alike = list[str](), list[str](), list[str]()
    for name in (name for name in one["values"] if name in other["values"]):
        mine, theirs, digits = one["values"][name], other["values"][name], _digits(name)
        text = f"{name} ({mine['value']:.{digits}f} against {theirs['value']:.{digits}f})"
        above, below = mine["low"] > theirs["high"], mine["high"] < theirs["low"]
        (higher if above else lower if below else alike).append(text)
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


def _listed(items: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))
