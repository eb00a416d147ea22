"""Write the tables of results into README.md and docs/results.md, from expected/<suite>.csv, and the steps of
Table 1 into docs/official.md.

    python docs/tables.py

A table stands between `<!-- table: SUITE -->`, or `<!-- steps -->`, and `<!-- end -->`, and is replaced.
"""

import csv
import json
import re
from collections import Counter
from pathlib import Path

from hier.config.compose import compose
from hier.data.sampling import steps_per_epoch

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "official.md")
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
    "hier": "HIER (PA + regulariser)",
}
MEASURES = ("R@1", "R@2", "R@4", "R@8", "super-class R@1", "MAP@R")


def table(suite: str) -> str:
    """Percentages of a suite's reference runs in Markdown: means over the seeds, with the sample standard
    deviation where there are several, the best of each measure in bold."""
    with (ROOT / "expected" / f"{suite}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    values: dict[str, dict[str, tuple[float, str]]] = {}
    for row in rows:
        mean, sd = round(float(row["mean"]), 2), f" ± {float(row['sd']):.2f}" if row["sd"] else ""
        values.setdefault(row["run"].split("-")[1], {})[row["measure"]] = mean, sd
    best = {name: max(found[name][0] for found in values.values()) for name in MEASURES}

    def cell(name: str, mean: float, sd: str) -> str:
        return (f"**{mean:.2f}**" if mean == best[name] else f"{mean:.2f}") + sd

    lines = [
        "| method | " + " | ".join(MEASURES) + " |",
        "|---|" + "---:|" * len(MEASURES),
        *(
            f"| {METHODS[method]} | " + " | ".join(cell(n, *found[n]) for n in MEASURES) + " |"
            for method, found in values.items()
        ),
    ]
    machine = "; ".join(sorted({row["environment"] for row in rows}))
    seeds = " and ".join(map(str, sorted({int(row["n"]) for row in rows}, reverse=True)))
    made = (
        f"<sub>`make reproduce SUITE={suite}-seeds`, in percent: means ± standard deviations over {seeds} "
        f"seed(s).\n{machine}.</sub>"
    )
    return "\n".join(lines) + f"\n\n{made}\n\n"


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
    return TABLE.sub(lambda found: found[1] + "\n" + table(found[2]) + found[3], text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
