"""evaluate: Recall@K, super-class recall and MAP@R of a run's embeddings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hier.config.run import Run
from hier.config.suite import Suite
from hier.data.index import read_index
from hier.evaluation.diagnostics import clip_share
from hier.evaluation.recall import map_at_r, recall_at_k
from hier.pipeline import Job
from hier.provenance.atomic import write_text
from hier.stages.inputs import read_tensors, reading


def run(job: Job, suite: Suite, identity: str) -> None:
    """Write runs/<run>/metrics.json."""
    run = suite.run(job.key)
    index_path, embeddings_path = map(Path, job.inputs)
    torch.set_num_threads(run.runtime.threads)
    stored = read_tensors(embeddings_path)
    with reading(index_path):
        index = read_index(index_path).iloc[stored["row"].numpy()]
    metrics = evaluate(stored["embedding"], index, run, suite.dataset(run.dataset).ks)
    write_text(Path(job.outputs[0]), json.dumps(metrics, indent=2) + "\n")


def evaluate(embeddings: Tensor, index: pd.DataFrame, run: Run, ks: list[int]) -> dict[str, Any]:
    """Compare embeddings (N×D) by the run's metric; `index` holds their N rows.

    Where the index has queries, they search the gallery; else every test image searches the others.
    """
    split = index["split"].to_numpy()
    apart = bool((split == "query").any())
    query, gallery = split != "gallery", split != "query"
    search: dict[str, Any] = {
        "metric": run.evaluate.metric,
        "c": run.head.curvature if run.head and run.evaluate.metric == "poincare" else None,
        "exclude_self": not apart,
    }

    def recall(labels: np.ndarray) -> dict[str, float]:
        shares = recall_at_k(
            embeddings[query], labels[query], embeddings[gallery], labels[gallery], ks, **search
        )
        return {str(k): shares[k] for k in ks}

    labels = index["label"].to_numpy()
    metrics: dict[str, Any] = {"recall": recall(labels)}
    if index["superclass"].notna().all():
        metrics["superclass_recall"] = recall(pd.factorize(index["superclass"])[0])
    metrics["map_at_r"] = map_at_r(
        embeddings[query], labels[query], embeddings[gallery], labels[gallery], **search
    )
    if run.head and run.head.curvature:
        metrics["clip_share"] = clip_share(embeddings, run.head.curvature, run.head.clip_radius)
    return metrics | {"queries": int(query.sum()), "gallery": int(gallery.sum())}
