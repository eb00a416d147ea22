"""views: what pages draw of a run: the disk, the tree's nodes, neighbours. No number comes from it."""

import json
from pathlib import Path
from typing import Any

import torch

from hier.config.suite import Suite
from hier.evaluation.hierarchy.levels import levels_of
from hier.evaluation.hierarchy.trees import Trees
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.evaluation.views.views import views
from hier.files.atomic import write_text
from hier.jobs import Job
from hier.ledger.artifacts import read_embeddings, read_proxies


def run(job: Job, suite: Suite, content_key: str) -> None:
    """Write runs/<run>/views.json."""
    run, dataset = suite.run(job.key), suite.dataset(suite.run(job.key).dataset)
    index_path, embeddings_path, proxies_path = map(Path, job.inputs)
    torch.set_num_threads(run.runtime.threads)
    index, rows, embeddings = read_embeddings(index_path, embeddings_path, run)
    levels = levels_of(index, dataset.levels, dataset.name)
    trees = Trees(embeddings, rows, levels, run, read_proxies(proxies_path, run))
    shown = views(Retrieval(embeddings, index, run), rows, levels, trees)
    write_text(Path(job.outputs[0]), compact(shown))


def compact(content: dict[str, Any]) -> str:
    """JSON on one line, without a number that JSON does not know."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"
