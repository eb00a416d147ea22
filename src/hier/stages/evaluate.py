"""evaluate: Recall@K, super-class recall and MAP@R of a run's embeddings, and the trees over them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hier.config.run import Run
from hier.config.suite import Suite
from hier.data.index import read_index, rows_to_embed
from hier.evaluation.hierarchy.levels import levels_of
from hier.evaluation.retrieval.clipping import clip_share
from hier.evaluation.retrieval.queries_and_gallery import Retrieval, require_matches
from hier.evaluation.views.views import Views
from hier.files.atomic import write_text
from hier.ledger.artifacts import read_tensors, reading
from hier.pipeline import Job

HIERARCHICAL_PROXIES = "regularizer.proxies"
"""Their name in proxies.safetensors, which holds the metric loss's proxies as well, if any."""


def run(job: Job, suite: Suite, identity: str) -> None:
    """Write runs/<run>/metrics.json and views.json."""
    run, dataset = suite.run(job.key), suite.dataset(suite.run(job.key).dataset)
    index_path, embeddings_path, history_path, proxies_path = map(Path, job.inputs)
    torch.set_num_threads(run.runtime.threads)
    with reading(index_path):
        index = read_index(index_path)
    rows = rows_to_embed(index)
    embeddings = read_embeddings(embeddings_path, rows, run)
    index = index.iloc[rows]
    levels = levels_of(index, dataset.levels, dataset.name)
    metrics = evaluate(embeddings, index, run, dataset.ks)
    say_unmatched(metrics, run)
    with reading(history_path):
        metrics |= best_on_test(pd.read_csv(history_path))
    proxies = read_proxies(proxies_path, run)
    views = Views(Retrieval(embeddings, index, run), rows, levels, run, proxies)
    metrics_path, views_path = map(Path, job.outputs)
    write_text(views_path, compact(views.views()))
    write_text(metrics_path, json.dumps(metrics | views.hierarchy(), indent=2) + "\n")


def read_embeddings(path: Path, rows: NDArray[np.int64], run: Run) -> Tensor:
    """Embeddings of the index's `rows`, float32 (N×D).

    Raises:
        DamagedInputError: the file does not hold those.
    """
    stored = read_tensors(path)
    with reading(path):
        found = stored.get("row", torch.empty(0)), stored.get("embedding", torch.empty(0))
        if not np.array_equal(found[0].numpy(), rows):
            raise ValueError("its rows are not those of the index's test images")
        _check_shape(found[1], (len(rows), run.dim), "embedding")
        return found[1]


def read_proxies(path: Path, run: Run) -> Tensor | None:
    """The hierarchical proxies of a run, float32 (P×D), or None where it has none.

    Raises:
        DamagedInputError: the file does not hold those.
    """
    proxies = read_tensors(path).get(HIERARCHICAL_PROXIES)
    if run.regularizer.name != "hier":
        return proxies
    with reading(path):
        found = torch.empty(0) if proxies is None else proxies
        _check_shape(found, (run.regularizer.proxies, run.dim), HIERARCHICAL_PROXIES)
        return found


def _check_shape(tensor: Tensor, shape: tuple[int, int], name: str) -> None:
    if tensor.shape != shape or tensor.dtype != torch.float32:
        kind = str(tensor.dtype).removeprefix("torch.")
        expected, found = (" × ".join(map(str, size)) for size in (shape, tensor.shape))
        raise ValueError(f"{name} should be float32 {expected}, is {kind} {found}")


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
