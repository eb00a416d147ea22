"""Write the tables of results into README.md and docs/results.md, from expected/<suite>.csv, those of trees
into docs/hierarchy.md, from runs/*/metrics.json, and the steps of Table 1 into docs/official.md.

    python docs/tables.py

A table stands between `<!-- table: SUITE -->`, `<!-- hierarchy -->` or `<!-- steps -->` and `<!-- end -->`,
and is replaced.
"""

import csv
import json
import re
import textwrap
from collections import Counter
from pathlib import Path
from statistics import fmean, stdev

from hier.config.compose import compose
from hier.data.sampling import steps_per_epoch

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("results", "hierarchy", "official")))
HIERARCHY = re.compile(r"(<!-- hierarchy -->\n).*?(<!-- end -->)", re.DOTALL)
STEPS = re.compile(r"(<!-- steps -->\n).*?(<!-- end -->)", re.DOTALL)
SAMPLERS = ROOT / "tests" / "golden" / "steps" / "samplers.json"
NAMES = {"cub": "CUB", "cars": "Cars", "sop": "SOP", "inshop": "Inshop"}  # as that file has them
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
METHODS = {
    "untrained": "untrained",
    "pretrained": "frozen features",
    "pa": "PA",
    "ms": "MS",
    "hyp": "Hyp",
    "hier": "HIER (on PA)",
}
TREES = (
    ("HIER's proxies", "hier", "proxies"),
    ("HIER's nearest proxies", "hier", "nearest_proxies"),
    ("clustering of HIER's embeddings, cut to as many groups", "hier", "clustering_cut"),
    ("clustering of HIER's embeddings", "hier", "clustering"),
    ("clustering of PA's embeddings", "pa", "clustering"),
)
"""In words, method, and its name in metrics.json."""
SPREAD = "means ± standard deviations over 5 seeds, or one seed where no deviation stands"
MEASURES = ("R@1", "R@2", "R@4", "R@8", "super-class R@1", "MAP@R")


def table(suite: str) -> str:
    """Percentages of a suite's reference runs in Markdown: means over the seeds, with the sample standard
    deviation where there are several; of these the best of each measure in bold."""
    with (ROOT / "expected" / f"{suite}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    values: dict[str, dict[str, tuple[float, str]]] = {}
    for row in rows:
        mean, sd = round(float(row["mean"]), 2), f" ± {float(row['sd']):.2f}" if row["sd"] else ""
        values.setdefault(row["run"].split("-")[1], {})[row["measure"]] = mean, sd
    spread = [found for found in values.values() if found["R@1"][1]] or [*values.values()]
    best = {name: max(found[name][0] for found in spread) for name in MEASURES}

    def cell(name: str, mean: float, sd: str) -> str:
        return (f"**{mean:.2f}**" if mean == best[name] and sd else f"{mean:.2f}") + sd

    lines = [
        "| method | " + " | ".join(MEASURES) + " |",
        "|---|" + "---:|" * len(MEASURES),
        *(
            f"| {METHODS[method]} | " + " | ".join(cell(n, *found[n]) for n in MEASURES) + " |"
            for method, found in values.items()
        ),
    ]
    machine = "; ".join(sorted({row["environment"] for row in rows}))
    made = f"`make reproduce SUITE={suite}-seeds`, in percent: {SPREAD}. Made on: {machine}."
    return "\n".join(lines) + f"\n\n{wrapped(f'<sub>{made}</sub>')}\n\n"


def hierarchy() -> str:
    """Purity and Spearman of the trees over each suite's test images, from the metrics files of its seeds."""
    lines = [
        "| suite | tree | class | one level up | two levels up | Spearman of distances |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for suite in ("demo", "grocery", "omniglot"):
        for what, method, tree in TREES:
            paths = sorted(ROOT.glob(f"runs/{suite}-{method}-*/metrics.json"))
            found = [json.loads(path.read_text(encoding="utf-8"))["hierarchy"] for path in paths]
            levels = found[0]["levels"]
            figures = [
                mean_and_sd([of[tree]["dendrogram_purity"][level]["value"] for of in found], 1)
                for level in levels
            ]
            figures += ["–"] * (3 - len(levels))
            figures.append(mean_and_sd([of[tree]["lca_spearman"]["value"] for of in found], 2))
            first = f"{suite}, {found[0]['images']:,} images" if what == TREES[0][0] else ""
            lines.append("| " + " | ".join([first, what, *figures]) + " |")
    return "\n".join(lines) + "\n\n"


def mean_and_sd(values: list[float], digits: int) -> str:
    return f"{fmean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def wrapped(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def steps() -> str:
    """Steps of the rows of HIER and Hyp and of the pretrained ones, beside those of the released samplers."""
    suite = compose(["suite=table1", "protocol=official"], ROOT / "conf")
    official = json.loads(SAMPLERS.read_text(encoding="utf-8"))["datasets"]
    rows: Counter[tuple[str, ...]] = Counter()
    for run in suite.runs.values():
        if run.method in ("hier", "hyp", "pretrained"):
            counts, epochs = suite.datasets[run.dataset].counts, run.schedule.epochs
            ours = steps_per_epoch(counts.images["train"], counts.train_classes, run.sampler)
            sampler = "hyp" if run.sampler.epoch == "classes" else "hier"
            theirs = official[NAMES[run.dataset]][sampler]["steps_per_epoch"]
            figures = [f"{n:,}" for n in (epochs, ours, theirs, ours * epochs, theirs * epochs)]
            shown = figures if epochs else ["0", "–", "–", "0", "0"]
            rows[run.method, sampler if epochs else "–", run.dataset, *shown] += 1
    heads = [
        "method",
        "sampler",
        "data",
        "rows",
        "epochs",
        "steps per epoch",
        "official",
        "in all",
        "official",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|---|" + "---:|" * 6]
    lines += [f"| {' | '.join([*key[:3], str(n), *key[3:]])} |" for key, n in sorted(rows.items())]
    return "\n".join(lines) + "\n\n"


def with_tables(text: str) -> str:
    """A page with its tables as they are now."""
    text = STEPS.sub(lambda found: found[1] + "\n" + steps() + found[2], text)
    text = HIERARCHY.sub(lambda found: found[1] + "\n" + hierarchy() + found[2], text)
    return TABLE.sub(lambda found: found[1] + "\n" + table(found[2]) + found[3], text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
