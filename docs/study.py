"""Write the tables of the study into docs/study.md, from what its runs and suites gave.

    python docs/study.py

A table stands between `<!-- KIND: NAME -->` and `<!-- end -->`; it is replaced. One whose results are not
there yet says so. Kinds are `tuning` and `trees` of a dataset, `differences`, `headline` (the same by R@1
alone) and `settings` of a suite.
"""

import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from hier.config.compose import compose
from hier.config.run import Hier, Run
from hier.results.comparisons import markdown
from hier.results.measures import HEADLINE

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
PAGE = ROOT / "docs" / "study.md"
KINDS = ("tuning", "study", "factors", "rim", "rates")
"""Of the study's suites on a dataset."""
TABLE = re.compile(
    r"(<!-- (tuning|trees|differences|headline|settings): ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL
)
PROXIES = ("proxies", "nearest_proxies")
RIVALS = {"clustering": "clustering", "clustering_cut": "clustering, cut to as many groups"}
TREES = {
    "proxies": "ancestors",
    "nearest_proxies": "nearest proxy",
    "clustering_cut": "cut",
    "clustering": "clustering",
}
"""What metrics.json calls the trees over a run's embeddings, and what the page does."""
FACTORS = (1.0, 0.5, 2.0, 0.25, 4.0)
"""Of the recipe's learning rate, in the order in which equal trials are taken."""
WEIGHT = 0.5
"""λ2 of the first five trials of a method with HIER."""
NOT_YET = "Not run yet.\n\n"

Setting = tuple[float, float | None]  # learning rate, λ2


def trials(dataset: str) -> dict[str, dict[Setting, float]]:
    """R@1 on the held-out classes after the last epoch in percent, the mean over seeds, of each method's
    trials whose histories are here, in the order in which equal ones are taken."""
    (plain,) = compose([f"suite={dataset}", "methods=[pa]"], CONF).runs.values()
    recipe = plain.optimizer.lr
    found: dict[str, dict[Setting, list[float]]] = {}
    runs = runs_of(f"tuning-{dataset}").values()
    seeds = len({run.seed for run in runs})  # a trial counts with all of them
    for run in runs:
        path = ROOT / "runs" / run.name / "history.csv"
        if path.exists():
            recall = 100 * pd.read_csv(path)[f"held-out {HEADLINE}"].iloc[-1]
            found.setdefault(method_of(run), {}).setdefault(setting_of(run), []).append(recall)

    def order(setting: Setting) -> tuple[int, float]:
        factor = setting[0] / recipe
        near = [at for at, known in enumerate(FACTORS) if abs(factor / known - 1) < 1e-6]
        first = near if setting[1] in (None, WEIGHT) else []
        return (first or [len(FACTORS)])[0], setting[1] or 0.0

    whole = {
        name: {of: all_ for of, all_ in had.items() if len(all_) == seeds} for name, had in found.items()
    }
    return {name: {of: fmean(had[of]) for of in sorted(had, key=order)} for name, had in whole.items() if had}


def method_of(run: Run) -> str:
    """A run's method without what is swept."""
    name = run.loss.name if run.regularizer.name == "none" else f"hier_{run.loss.name}"
    return name.removesuffix("_pa") if name == "hier_pa" else name


def setting_of(run: Run) -> Setting:
    return run.optimizer.lr, run.regularizer.weight if isinstance(run.regularizer, Hier) else None


def chosen(of_method: dict[Setting, float]) -> Setting:
    """The trial with the highest recall, of equal ones the first."""
    return max(of_method, key=of_method.__getitem__)


def tuning(dataset: str) -> str:
    """Held-out R@1 of every trial, the chosen one in bold."""
    if not (found := trials(dataset)):
        return NOT_YET
    lines = ["| method | trials: learning rate, with HIER λ2, and held-out R@1 |", "|---|---|"]
    for method, of_method in found.items():
        best, shown = chosen(of_method), []
        for setting in sorted(of_method, key=lambda of: (of[0], of[1] or 0.0)):
            rate, weight = setting
            text = f"{rate:g}{'' if weight is None else f', {weight:g}'}: {of_method[setting]:.2f}"
            shown.append(f"**{text}**" if setting == best else text)
        lines.append(f"| {method} | {'; '.join(shown)} |")
    return "\n".join(lines) + "\n\n"


def trees(dataset: str) -> str:
    """How often a tree of proxies is better than a clustering of the same run's embeddings, and how often it
    has one level alone."""
    suites = [name for kind in KINDS if recorded(name := f"{kind}-{dataset}")]
    if not suites:
        return NOT_YET
    found = []
    for run in {name: run for suite in suites for name, run in runs_of(suite).items()}.values():
        if isinstance(run.regularizer, Hier):
            path = ROOT / "runs" / run.name / "metrics.json"
            found.append(json.loads(path.read_text(encoding="utf-8"))["hierarchy"])
    of_all = [of for of in found for _ in PROXIES]
    own = [of[tree] for of in found for tree in PROXIES]
    lines = ["| held against | purer (trees × levels) | higher ρ (trees) |", "|---|---:|---:|"]
    for name, words in RIVALS.items():
        pairs = [(mine, of[name]) for mine, of in zip(own, of_all, strict=True)]
        purer = [
            purity["value"] > other["dendrogram_purity"][level]["value"]
            for mine, other in pairs
            for level, purity in mine["dendrogram_purity"].items()
        ]
        nearer = [mine["lca_spearman"]["value"] > other["lca_spearman"]["value"] for mine, other in pairs]
        lines.append(f"| {words} | {sum(purer)} of {len(purer)} | {sum(nearer)} of {len(nearer)} |")
    return (
        f"The {len(found)} runs with HIER of `{'`, `'.join(suites)}`, two trees of proxies each:\n\n"
        + "\n".join(lines)
        + f"\n\n{of_one_level(found)}\n\n"
    )


def of_one_level(found: list[dict[str, Any]]) -> str:
    """How many trees of ancestors are flat groups, and how pure these are beside the clustering's."""
    lowest, flat = found[0]["levels"][0], [of for of in found if len(of["proxies"]["purity_by_depth"]) == 1]
    if not flat:
        alone = sum(of["groups"] == 1 for of in found)
        rest = f", and is one group in {alone}" if alone else ""
        return f"The tree of ancestors has several levels in {len(found) - alone} of them{rest}."
    mine, rivals = [], []
    for of in (of for of in flat if of["groups"] > 1):
        mine.append(of["proxies"]["purity_by_depth"][0]["purity"][lowest])
        rows = [row for row in of["clustering"]["purity_by_depth"] if row["nodes"] <= of["groups"]]
        rivals.append(max(row["purity"][lowest] for row in rows))
    return (
        f"The tree of ancestors has one level alone in {len(flat)} of them. Where it has several groups, "
        f"{fmean(mine):.1f} % of\nthe images are of the most frequent {lowest} of their group, on average; "
        f"{fmean(rivals):.1f} % in the purest level of the\nclustering that has no more groups."
    )


def recorded(suite: str) -> bool:
    """Whether there is such a suite, and its results are here."""
    return (ROOT / "results" / suite / "table.csv").exists()


def runs_of(suite: str) -> dict[str, Run]:
    return compose([f"suite={suite}"], CONF).runs


def differences(suite: str) -> str:
    """The comparisons of a suite, as its table.md has them, without its sentences."""
    path = ROOT / "results" / suite / "comparisons.csv"
    if not path.exists():
        return NOT_YET
    lines = [line for line in markdown(pd.read_csv(path)) if line.startswith("|")]
    return "\n".join(lines) + "\n\n"


def headline(suite: str) -> str:
    """The comparisons of a suite by R@1."""
    lines = differences(suite).splitlines(keepends=True)
    return "".join(
        line for at, line in enumerate(lines) if at < 2 or f"| {HEADLINE} |" in line or line == "\n"
    )


def settings(suite: str) -> str:
    """Of each method of a suite, as means over its seeds: recall, how much lies on the clip radius, and what
    each tree knows of the classes' levels."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs_of(suite).values():
        path = ROOT / "runs" / run.name / "metrics.json"
        if not path.exists():
            return NOT_YET
        found.setdefault(run.method, []).append(json.loads(path.read_text(encoding="utf-8")))
    lowest = found[next(iter(found))][0]["hierarchy"]["levels"][0]
    heads = ["R@1", "MAP@R", "on the rim", "groups"]
    heads += [f"{tree}: {what}" for tree in TREES.values() for what in ("ρ", lowest)]
    lines = [f"| method | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for method, runs in found.items():
        shown = [f"{100 * fmean(run['recall']['1'] for run in runs):.2f}"]
        shown.append(f"{100 * fmean(run['map_at_r'] for run in runs):.2f}")
        on_rim = [share for run in runs if (share := run.get("clip_share")) is not None]
        shown.append(f"{100 * fmean(on_rim):.0f} %" if on_rim else "–")
        of_runs = [run["hierarchy"] for run in runs]
        shown.append(f"{fmean(of['groups'] for of in of_runs):.0f}" if "groups" in of_runs[0] else "–")
        for tree in TREES:
            if tree not in of_runs[0]:
                shown += ["–", "–"]
                continue
            shown.append(f"{fmean(of[tree]['lca_spearman']['value'] for of in of_runs):.2f}")
            shown.append(f"{fmean(of[tree]['dendrogram_purity'][lowest]['value'] for of in of_runs):.1f}")
        lines.append(f"| {method} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n\n"


def with_tables(text: str) -> str:
    """The page with its tables as they are now."""
    makers = {
        "tuning": tuning,
        "trees": trees,
        "differences": differences,
        "headline": headline,
        "settings": settings,
    }
    return TABLE.sub(lambda found: f"{found[1]}\n{makers[found[2]](found[3])}{found[4]}", text)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
