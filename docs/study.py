"""Write the tables of the study into docs/study.md, from what its runs and suites gave.

    python docs/study.py

A table stands between `<!-- tuning: DATASET -->` or `<!-- differences: DATASET -->` and `<!-- end -->`; it is
replaced. One whose results are not there yet says so.
"""

import re
from pathlib import Path

import pandas as pd

from hier.config.compose import compose
from hier.config.run import Hier, Run
from hier.results.comparisons import markdown
from hier.results.measures import HEADLINE

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "study.md"
TABLE = re.compile(r"(<!-- (tuning|differences): (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
FACTORS = {"quarter": 0.25, "half": 0.5, "one": 1.0, "two": 2.0, "four": 4.0}
"""Of the learning rate, by the last word of a trial's method."""
NOT_YET = "Not run yet.\n\n"


def trials(dataset: str) -> dict[str, dict[str, tuple[Run, float]]]:
    """The trials of a dataset whose history is here, with R@1 on the held-out classes after the last epoch in
    percent: by method and word of FACTORS."""
    found: dict[str, dict[str, tuple[Run, float]]] = {}
    for run in compose([f"suite=tuning-{dataset}"], ROOT / "conf").runs.values():
        path = ROOT / "runs" / run.name / "history.csv"
        if path.exists():
            method, _, word = run.method.rpartition("_")
            recall = 100 * pd.read_csv(path)[f"held-out {HEADLINE}"].iloc[-1]
            found.setdefault(method, {})[word] = run, recall
    return found


def chosen(of_method: dict[str, tuple[Run, float]]) -> Run:
    """The trial with the highest recall; of equal ones, that whose factor is nearest to 1."""

    def rank(word: str) -> tuple[float, float]:
        factor = FACTORS[word]
        return of_method[word][1], -max(factor, 1 / factor)

    return of_method[max(of_method, key=rank)][0]


def weight(run: Run) -> float | None:
    return run.regularizer.weight if isinstance(run.regularizer, Hier) else None


def tuning(dataset: str) -> str:
    """Held-out R@1 of every trial, the chosen one in bold."""
    if not (found := trials(dataset)):
        return NOT_YET
    lines = [
        f"| method | {' | '.join(f'lr × {factor:g}' for factor in FACTORS.values())} |",
        "|---|" + "---:|" * 5,
    ]
    for method, of_method in found.items():
        best, shown = chosen(of_method), [method]
        for word in FACTORS:
            run, recall = of_method[word]
            text = f"**{recall:.2f}**" if run is best else f"{recall:.2f}"
            shown.append(text if weight(run) is None else f"{text} (λ2 {weight(run):g})")
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines) + "\n\n"


def differences(dataset: str) -> str:
    """The comparisons of a dataset, as its table.md has them."""
    path = ROOT / "results" / f"study-{dataset}" / "comparisons.csv"
    return "\n".join(markdown(pd.read_csv(path))) + "\n" if path.exists() else NOT_YET


def with_tables(text: str) -> str:
    """The page with its tables as they are now."""
    makers = {"tuning": tuning, "differences": differences}
    return TABLE.sub(lambda found: f"{found[1]}\n{makers[found[2]](found[3])}{found[4]}", text)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
