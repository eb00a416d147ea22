"""What a report is made of, made up: results of every run of a suite, and pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fakes.views import Kinds, tame, views_of
from hier.audit.lineage import File, Input
from hier.config.run import Run
from hier.config.suite import Suite
from hier.data.store import ImageStore
from hier.reporting.content import Content
from hier.reporting.thumbs import Images
from hier.results.comparisons import COLUMNS

NAN = float("nan")
SIDE = 80  # pixels of an image


def content_of(
    suite: Suite,
    folder: Path,
    classes: int = 6,
    each: int = 5,
    kinds: Kinds | None = None,
    **changes: Any,
) -> Content:
    """Results of every run.

    Args:
        folder: for the stores of images.
        classes: of each dataset, named `A1-0`, …, below genera below families.
        each: images of a class.
        kinds: of the classes, instead.
        changes: fields of Content to take instead.
    """
    views = {
        name: views_of(seed, classes, each, kinds=kinds, tree=tree_of(run))
        for seed, (name, run) in enumerate(suite.runs.items())
    }
    given = {
        "cells": cells_of(suite),
        "comparisons": pd.DataFrame(columns=COLUMNS),
        "histories": {name: history_of(run) for name, run in suite.runs.items()},
        "metrics": {name: metrics_of(seed) for seed, name in enumerate(suite.runs)},
        "views": views,
        "tables": {name: name.encode() for name in TABLES},
        "lineages": {name: lineage_of(name) for name in suite.runs},
    }
    given |= changes
    if "images" not in given:
        given["images"] = {name: images_of(name, folder, classes, each, kinds) for name in suite.datasets}
    return Content(suite, **given)


def tree_of(run: Run) -> str:
    """What a run's tree is made of."""
    return "proxies" if run.regularizer.name == "hier" else "clustering"


TABLES = ("table.csv", "paper_layout.csv", "paper_layout.tex")


def cells_of(suite: Suite) -> pd.DataFrame:
    """R@1 and R@2 of the runs: 50 percent and a point more for each run."""
    rows = []
    for number, run in enumerate(suite.runs.values()):
        for measure, more in (("R@1", 0), ("R@2", 10)):
            rows.append(
                {
                    "run": run.name, "dataset": run.dataset, "method": run.method,
                    "backbone": run.backbone.name, "dim": run.dim, "seed": run.seed,
                    "measure": measure, "value": 50.0 + number + more, "best_on_test": NAN,
                    "expected": NAN, "mean": NAN, "tolerance": NAN, "paper": NAN, "grade": "no reference",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def history_of(run: Any) -> pd.DataFrame:
    """Two epochs; none of a run that is not trained."""
    if not run.schedule.epochs:
        return pd.DataFrame(columns=["epoch", "loss", "rate"])
    columns = {"epoch": [1, 2], "loss": [3.0, 2.0], "metric": [2.0, 1.5], "rate": [1.0, 0.5]}
    if run.regularizer.name == "hier":
        columns["hier"] = [1.0, 0.5]
    return pd.DataFrame(columns)


def metrics_of(seed: int) -> dict[str, Any]:
    return {
        "recall": {"1": 0.5, "2": 0.6}, "map_at_r": 0.25, "clip_share": 0.125,
        "queries": 1031, "gallery": 1032 + seed,
    }  # fmt: skip


def lineage_of(run: str) -> Input:
    """A file without a step."""
    digest = {"sha256": "ab" * 32, "size": 12}
    return Input(File(f"runs/{run}/metrics.json", digest, "as recorded"), None)


def images_of(dataset: str, folder: Path, classes: int, each: int, kinds: Kinds | None = None) -> Images:
    """Noise, the same for the same row."""
    names = kinds or tame(classes)
    number = np.arange(classes * each)
    kind = number // each
    index = pd.DataFrame(
        {
            "image": [f"images/{k}/{n}.jpg" for k, n in zip(kind, number, strict=True)],
            "label": kind,
            "class_name": [names[k][0] for k in kind],
            "superclass": [names[k][1] for k in kind],
            "split": "test",
            "height": np.int32(SIDE),
            "width": np.int32(SIDE),
            "offset": number * SIDE * SIDE * 3,
        }
    )
    path = folder / f"{dataset}.npy"
    coarse = np.random.default_rng(0).integers(0, 256, (len(number), 4, 4, 3), dtype=np.uint8)
    pixels = coarse.repeat(SIDE // 4, 1).repeat(SIDE // 4, 2)
    np.save(path, pixels.reshape(-1))
    return Images(dataset, index, ImageStore(path, index), number.tolist())
