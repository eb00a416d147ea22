"""What a report is made of, made up: results of every run of a suite, and pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hier.config.suite import Suite
from hier.data.store import ImageStore
from hier.reporting.content import Content
from hier.reporting.thumbs import Images

NAN = float("nan")
SIDE = 80  # pixels of an image


def content_of(
    suite: Suite, folder: Path, classes: int = 6, each: int = 5, **changes: Any
) -> Content:
    """Results of every run.

    Args:
        folder: for the stores of images.
        classes: of each dataset, named `A1-0`, …, below genera below families.
        each: images of a class.
        changes: fields of Content to take instead.
    """
    views = {name: views_of(seed, classes, each) for seed, name in enumerate(suite.runs)}
    given = {
        "cells": cells_of(suite),
        "histories": {name: history_of(run) for name, run in suite.runs.items()},
        "metrics": {name: metrics_of(seed) for seed, name in enumerate(suite.runs)},
        "views": views,
        "tables": {name: name.encode() for name in TABLES},
        "lineages": {name: lineage_of(name) for name in suite.runs},
    }
    given |= changes
    if "images" not in given:
        given["images"] = {name: images_of(name, folder, classes, each) for name in suite.datasets}
    return Content(suite, **given)


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
                    "expected": NAN, "tolerance": NAN, "paper": NAN, "grade": "no reference",
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


def lineage_of(run: str) -> dict[str, Any]:
    """A file without a step."""
    return {
        "path": f"runs/{run}/metrics.json", "sha256": "ab" * 32, "size": 12, "state": "as recorded",
        "as_recorded": True, "maker": None, "step": None,
    }  # fmt: skip


def images_of(dataset: str, folder: Path, classes: int, each: int) -> Images:
    """Noise, the same for the same row."""
    number = np.arange(classes * each)
    kind = number // each
    index = pd.DataFrame(
        {
            "image": [f"images/{k}/{n}.jpg" for k, n in zip(kind, number, strict=True)],
            "label": kind,
            "class_name": [f"A{k // 2}-{k % 2}" for k in kind],
            "superclass": [f"A/A{k // 2}" for k in kind],
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


def views_of(seed: int, classes: int, each: int, nodes: int = 5, most: int = 600) -> dict[str, Any]:
    """A views.json: random points, a binary tree, queries with the rows after them."""
    random, n = np.random.default_rng(seed), classes * each
    rows = np.arange(n)[:most]
    point = random.uniform(-0.7, 0.7, (2, len(rows))).round(4).tolist()
    spot = random.uniform(-0.7, 0.7, (2, nodes)).round(4).tolist()
    parents = [None, *((i - 1) // 2 for i in range(1, nodes))]
    depth = [1]
    for parent in parents[1:]:
        depth.append(depth[parent] + 1)
    queries = [
        {
            "row": int(row),
            "correct": True,
            "neighbours": [
                {"row": int((row + i) % n), "distance": round(0.1 * i, 4), "correct": i < each}
                for i in range(1, 9)
            ],
        }
        for row in random.choice(n, min(n, 36), replace=False)
    ]
    return {
        "levels": ["species", "genus", "family"],
        "samples": {
            "row": rows.tolist(), "x": point[0], "y": point[1],
            "parent": [int(i % nodes) for i in range(len(rows))],
            "radius": random.uniform(0, 1, len(rows)).round(4).tolist(),
        },
        "tree": {
            "kind": "proxies", "unused": 2,
            "nodes": {
                "name": [f"proxy {i}" for i in range(nodes)], "parent": parents, "depth": depth,
                "x": spot[0], "y": spot[1], "radius": [0.5] * nodes, "count": [n] * nodes,
                "label": [[f"A{i % 3}-0" for i in range(nodes)], ["A/A1"] * nodes, ["A"] * nodes],
                "purity": [[0.25] * nodes, [0.5] * nodes, [1.0] * nodes],
                "rows": [[int(r) for r in random.choice(n, min(n, 24), replace=False)] for _ in range(nodes)],
            },
        },
        "projection": {"method": "random", "trustworthiness": 0.5},
        "galleries": {
            "shared": queries[:24], "worst": queries[24:],
            "confusions": [{"class": "A0-0", "taken_for": "A0-1", "count": 3, "of": each}],
        },
    }  # fmt: skip
