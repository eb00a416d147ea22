"""evaluate: the measures of a run's embeddings, class by class too, and of the trees over them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hier.config.run import Run
from hier.config.suite import Suite
from hier.evaluation.classes import by_class
from hier.evaluation.hierarchy.levels import levels_of
from hier.evaluation.hierarchy.space import clip_share
from hier.evaluation.hierarchy.trees import Trees
from hier.evaluation.retrieval.queries_and_gallery import Retrieval, require_matches
from hier.files.atomic import atomic_file
from hier.jobs import Job
from hier.ledger.artifacts import read_embeddings, read_features, read_proxies, reading
from hier.results.measures import HEADLINE, MEASURES, RECALL, computed, unmatched_in_words


@dataclass(frozen=True)
class Evaluation:
    """What the measures of hier.results.measures are computed of."""

    run: Run
    ks: list[int]  # the K of Recall@K
    retrieval: Retrieval
    features: Retrieval | None = None  # the same among what the backbone gives, if that was kept
    trees: Trees | None = None  # over some of the embeddings; None measures retrieval alone
    best_on_test: dict[str, Any] | None = None  # the best epoch there, if training looked at them

    def clip_share(self) -> float | None:
        """The share of embeddings on the clip radius; None outside the ball."""
        head = self.run.head
        if not head or not head.curvature:
            return None
        return clip_share(self.retrieval.embeddings, head.curvature, head.clip_radius)


def run(job: Job, suite: Suite, content_key: str) -> None:
    """Write runs/<run>/metrics.json and classes.csv. Raises ConfigError: no query can be right;
    DamagedInputError: an input is not what an earlier stage writes."""
    run, dataset = suite.run(job.key), suite.dataset(suite.run(job.key).dataset)
    index_path, embeddings_path, history_path, proxies_path = map(Path, job.inputs)
    torch.set_num_threads(run.runtime.threads)
    index, rows, embeddings = read_embeddings(index_path, embeddings_path, run)
    levels = levels_of(index, dataset.levels, dataset.name)
    require_matches(index, run)
    with reading(history_path):
        best = best_on_test(pd.read_csv(history_path))
    trees = Trees(embeddings, rows, levels, run, read_proxies(proxies_path, run))
    retrieval, features = Retrieval(embeddings, index, run), None
    if (kept := read_features(embeddings_path, run, len(rows))) is not None:
        by_cosine = run.evaluate.model_copy(update={"metric": "cosine"})
        features = Retrieval(kept, index, run.model_copy(update={"evaluate": by_cosine}))
    evaluation = Evaluation(run, dataset.ks, retrieval, features, trees, best)
    say_unmatched(evaluation)
    metrics_path, classes_path = map(Path, job.outputs)
    metrics = json.dumps(computed(MEASURES, evaluation), indent=2) + "\n"
    classes = by_class(retrieval, {measure.key: measure.name(1) for measure in MEASURES})
    with atomic_file(metrics_path) as new_metrics, atomic_file(classes_path) as new_classes:
        new_metrics.write_text(metrics, encoding="utf-8")
        classes.to_csv(new_classes, index=False, float_format="%.4f", lineterminator="\n")


def say_unmatched(evaluation: Evaluation) -> None:
    """One line where queries have no match: how many, and what becomes of them."""
    counts, run = evaluation.retrieval.counts(), evaluation.run
    if without := counts["queries_without_match"]:
        left_out = run.evaluate.unmatched == "leave_out"
        every = counts["queries"] + without * left_out
        print(f"{run.name}: {unmatched_in_words(RECALL, without, every, left_out)}", flush=True)


def best_on_test(history: pd.DataFrame) -> dict[str, Any] | None:
    """The epoch with the best R@1 on the test classes, to be shown beside the result and marked.

    It is a choice made on the test set, which flatters. None where no epoch was looked at.
    """
    columns = {k: name for name in history if (k := RECALL.member(name.removeprefix("test ")))}
    if not columns or history[next(iter(columns.values()))].isna().all():
        return None
    best = history.loc[history[f"test {HEADLINE}"].idxmax()]
    recall = {k: float(best[name]) for k, name in columns.items()}
    assert not any(map(math.isnan, recall.values()))
    return {"epoch": int(best["epoch"]), RECALL.key: recall}
