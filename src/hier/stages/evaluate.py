"""evaluate: Recall@K, super-class recall and MAP@R of a run's embeddings."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from hier.config.run import Run
from hier.config.suite import Suite
from hier.data.index import read_index
from hier.evaluation.diagnostics import clip_share
from hier.evaluation.protocol import Retrieval
from hier.pipeline import Job
from hier.provenance.atomic import write_text
from hier.stages.inputs import read_tensors, reading


def run(job: Job, suite: Suite, identity: str) -> None:
    """Write runs/<run>/metrics.json."""
    run = suite.run(job.key)
    index_path, embeddings_path, history_path = map(Path, job.inputs)
    torch.set_num_threads(run.runtime.threads)
    stored = read_tensors(embeddings_path)
    with reading(index_path):
        index = read_index(index_path).iloc[stored["row"].numpy()]
    metrics = evaluate(stored["embedding"], index, run, suite.dataset(run.dataset).ks)
    with reading(history_path):
        metrics |= best_on_test(pd.read_csv(history_path))
    write_text(Path(job.outputs[0]), json.dumps(metrics, indent=2) + "\n")


def evaluate(embeddings: Tensor, index: pd.DataFrame, run: Run, ks: list[int]) -> dict[str, Any]:
    """Compare embeddings (N×D) by the run's metric; `index` holds their N rows."""
    retrieval = Retrieval(embeddings, index, run)
    metrics: dict[str, Any] = {"recall": retrieval.class_recall(ks)}
    if (superclass := retrieval.superclass_recall(ks)) is not None:
        metrics["superclass_recall"] = superclass
    metrics["map_at_r"] = retrieval.map_at_r()
    if run.head and run.head.curvature:
        metrics["clip_share"] = clip_share(embeddings, run.head.curvature, run.head.clip_radius)
    counts = {"queries": int(retrieval.query.sum()), "gallery": int(retrieval.gallery.sum())}
    return metrics | counts


def best_on_test(history: pd.DataFrame) -> dict[str, Any]:
    """The epoch with the best R@1 on the test classes, to be shown beside the result and marked.

    It is a choice made on the test set, which flatters. Empty where no epoch was looked at.
    """
    columns = [name for name in history if name.startswith("test R@")]
    if not columns or history[columns[0]].isna().all():
        return {}
    best = history.loc[history["test R@1"].idxmax()]
    recall = {name.removeprefix("test R@"): float(best[name]) for name in columns}
    assert not any(map(math.isnan, recall.values()))
    return {"best_on_test": {"epoch": int(best["epoch"]), "recall": recall}}
