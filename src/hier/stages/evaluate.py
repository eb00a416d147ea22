"""evaluate: Recall@K, super-class recall and MAP@R of a run's embeddings, and the trees over them."""

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
from hier.evaluation.levels import levels_of
from hier.evaluation.protocol import Retrieval, require_matches
from hier.evaluation.views import Views
from hier.pipeline import Job
from hier.provenance.atomic import write_text
from hier.stages.inputs import read_tensors, reading

HIERARCHICAL_PROXIES = "regularizer.proxies"
"""Their name in proxies.safetensors, which holds the metric loss's proxies as well, if any."""


def run(job: Job, suite: Suite, identity: str) -> None:
    """Write runs/<run>/metrics.json and views.json."""
    run, dataset = suite.run(job.key), suite.dataset(suite.run(job.key).dataset)
    index_path, embeddings_path, history_path, proxies_path = map(Path, job.inputs)
    torch.set_num_threads(run.runtime.threads)
    stored = read_tensors(embeddings_path)
    rows = stored["row"].numpy()
    with reading(index_path):
        index = read_index(index_path).iloc[rows]
    levels = levels_of(index, dataset.levels, dataset.name)
    metrics = evaluate(stored["embedding"], index, run, dataset.ks)
    say_unmatched(metrics, run)
    with reading(history_path):
        metrics |= best_on_test(pd.read_csv(history_path))
    proxies = read_tensors(proxies_path).get(HIERARCHICAL_PROXIES)
    views = Views(Retrieval(stored["embedding"], index, run), rows, levels, run, proxies)
    metrics_path, views_path = map(Path, job.outputs)
    write_text(views_path, compact(views.views()))
    write_text(metrics_path, json.dumps(metrics | views.hierarchy(), indent=2) + "\n")


def evaluate(embeddings: Tensor, index: pd.DataFrame, run: Run, ks: list[int]) -> dict[str, Any]:
    """Compare embeddings (N×D) by the run's metric; `index` holds their N rows.

    Raises:
        ConfigError: no query can be right.
    """
    require_matches(index, run)
    retrieval = Retrieval(embeddings, index, run)
    metrics: dict[str, Any] = {"recall": retrieval.class_recall(ks)}
    if (superclass := retrieval.superclass_recall(ks)) is not None:
        metrics["superclass_recall"] = superclass
    metrics["map_at_r"] = retrieval.map_at_r()
    if run.head and run.head.curvature:
        metrics["clip_share"] = clip_share(embeddings, run.head.curvature, run.head.clip_radius)
    return metrics | retrieval.counts()


def say_unmatched(metrics: dict[str, Any], run: Run) -> None:
    """One line where queries have no match: how many, and what becomes of them."""
    without, queries = metrics["queries_without_match"], metrics["queries"]
    if not without:
        return
    if run.evaluate.unmatched == "leave_out":
        queries, fate = queries + without, "are left out of R@K and MAP@R"
    else:
        fate = "count as misses in R@K and are left out of MAP@R"
    print(
        f"{run.name}: {without} of {queries} queries can never be right, having no other image of "
        f"their class to find: they {fate} (evaluate.unmatched)",
        flush=True,
    )


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


def compact(value: Any) -> str:
    """JSON on one line, without a number that JSON does not know."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"
