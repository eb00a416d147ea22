"""Draw docs/study.svg: R@1 with HIER minus R@1 without, of each dataset and loss whose results are here.

    python docs/study_picture.py

A row's text gives the mean and the interval for other seeds.
"""

from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hier.reporting.history import STYLES  # and, with it, how SVG is written
from hier.results.measures import HEADLINE

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "study.svg"

Row = dict[str, Any]

DATASETS = {
    "demo": "drawn images",
    "omniglot": "characters",
    "grocery": "photos of groceries",
    "cars_half": "photos of cars",
}
LOSSES = {
    "hier_tuned": "on Proxy-Anchor",
    "hier_ms_tuned": "on Multi-Similarity",
    "hier_hyp_tuned": "on Hyp",
}
OF_SEEDS: Row = {"color": STYLES[0][0], "linewidth": 2.2}
OF_CLASSES: Row = {"color": STYLES[1][0], "linewidth": 1.2, "linestyle": "--"}
ROW, TITLE, MARGINS = 0.27, 0.3, 0.95  # inches


def picture() -> str:
    """A forest plot as SVG, whose text is text."""
    groups = {dataset: rows for dataset in DATASETS if (rows := rows_of(dataset))}
    height = MARGINS + sum(TITLE + ROW * len(rows) for rows in groups.values())
    figure = Figure(figsize=(7.6, height), facecolor="white")
    axes = figure.add_axes((0.2, 0.62 / height, 0.52, 1 - MARGINS / height))
    axes.axvline(0, color="black", linewidth=0.8)
    at, beside = 0.0, axes.get_yaxis_transform()
    for dataset, rows in groups.items():
        at += TITLE
        title = f"{dataset}: {DATASETS[dataset]}, {rows[0]['pairs']} pairs"
        axes.text(-0.36, at, title, transform=beside, weight="bold", fontsize=9, va="center")
        for row in rows:
            at += ROW
            axes.text(-0.34, at, LOSSES[row["method"]], transform=beside, fontsize=9, va="center")
            axes.text(1.02, at, in_words(row), transform=beside, fontsize=9, va="center")
            axes.plot([row["low"], row["high"]], [at, at], **OF_SEEDS)
            axes.plot(row["mean"], at, "o", color=OF_SEEDS["color"], markersize=5)
            bounds = [row["classes_low"], row["classes_high"]]
            axes.plot(bounds, [at + 0.08] * 2, **OF_CLASSES)
    axes.set_ylim(at + 0.6 * ROW, 0.0)
    furthest = max(abs(bound) for bound in axes.get_xlim())
    axes.set_xlim(-furthest, furthest)
    axes.set_yticks([])
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(
        f"{HEADLINE} with HIER minus {HEADLINE} without, points:  ← HIER harms | HIER helps →", fontsize=9
    )
    axes.tick_params(labelsize=9)
    axes.text(1.02, 0.08, "mean (other seeds)", transform=beside, fontsize=9, va="center")
    marks = [
        Line2D([], [], marker="o", markersize=5, label="mean, 95 % for other seeds", **OF_SEEDS),
        Line2D([], [], label="95 % for other classes", **OF_CLASSES),
    ]
    figure.legend(handles=marks, loc="upper left", ncols=2, fontsize=9, frameon=False)
    file = StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(line.rstrip() + "\n" for line in file.getvalue().splitlines())


def rows_of(dataset: str) -> list[Row]:
    """The comparisons of HIER with the loss alone by R@1; none where there are no results yet."""
    path = ROOT / "results" / f"study-{dataset}" / "comparisons.csv"
    if not path.exists():
        return []
    of = pd.read_csv(path)
    of = of[(of["measure"] == HEADLINE) & of["method"].isin(LOSSES)]
    return of.set_index("method").loc[list(LOSSES)].reset_index().to_dict("records")


def in_words(row: Row) -> str:
    """The mean and the interval for other seeds."""
    mean, low, high = (f"{row[name]:+.1f}".replace("-", "−") for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
