"""Write the tables of results into README.md and docs/results.md, from expected/<suite>.csv.

    python docs/tables.py

A table stands between `<!-- table: SUITE -->` and `<!-- end -->`; what is between them is replaced.
"""

import csv
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
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
    """Percentages of a suite's reference runs in Markdown, the best of each measure in bold."""
    with (ROOT / "expected" / f"{suite}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        method = row["run"].split("-")[1]
        values.setdefault(method, {})[row["measure"]] = round(float(row["expected"]), 2)
    best = {name: max(found[name] for found in values.values()) for name in MEASURES}

    def cell(name: str, value: float) -> str:
        return f"**{value:.2f}**" if value == best[name] else f"{value:.2f}"

    lines = [
        "| method | " + " | ".join(MEASURES) + " |",
        "|---|" + "---:|" * len(MEASURES),
        *(
            f"| {METHODS[method]} | " + " | ".join(cell(n, found[n]) for n in MEASURES) + " |"
            for method, found in values.items()
        ),
    ]
    machine = "; ".join(sorted({row["environment"] for row in rows}))
    made = f"<sub>`make reproduce SUITE={suite}`, one seed, in percent.\n{machine}.</sub>"
    return "\n".join(lines) + f"\n\n{made}\n\n"


def with_tables(text: str) -> str:
    """A page with its tables as they are now."""
    return TABLE.sub(lambda found: found[1] + "\n" + table(found[2]) + found[3], text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
