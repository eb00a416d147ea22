"""Who searches whom, with the protocol's flags, against brute force in plain Python."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hier.config.compose import compose
from hier.evaluation.retrieval.queries_and_gallery import Retrieval

CONF = Path(__file__).parents[3] / "conf"
KS = [1, 2, 5]
C = 0.1


@pytest.fixture(scope="module", params=["hier", "pa"])
def run(request):
    suite = compose(["suite=smoke", f"methods=[{request.param}]"], CONF)
    return next(iter(suite.runs.values()))


def masking(run, masks=True):
    protocol = run.protocol.model_copy(update={"masks_gallery_of_query": masks})
    return run.model_copy(update={"protocol": protocol})


@pytest.fixture(params=[(25, 35), (35, 25), (30, 30)])
def apart(request):
    """Embeddings of queries and a gallery, mixed with each other in the index."""
    queries, gallery = request.param
    rng = np.random.default_rng(queries)
    split = rng.permutation(["query"] * queries + ["gallery"] * gallery)
    labels = rng.integers(0, 6, 60)
    points = rng.normal(size=(60, 3)) + 0.7 * rng.normal(size=(6, 3))[labels]
    points *= 1.5 / np.linalg.norm(points, axis=1, keepdims=True) * rng.uniform(0.2, 1, (60, 1))
    index = pd.DataFrame({"label": labels, "split": split})
    index["superclass"] = [f"kind {label % 2}" for label in labels]
    return torch.from_numpy(points), index


def distance(run, x, y):
    if run.evaluate.metric == "cosine":
        return 1 - float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))
    gap, a, b = ((v * v).sum() for v in (x - y, x, y))
    return math.acosh(1 + 2 * C * gap / ((1 - C * a) * (1 - C * b)))


def brute_force(run, points, labels, queries, gallery, hidden):
    """Recall at each of KS; `hidden(i, j)` says whether query i cannot see gallery item j."""
    hits = dict.fromkeys(KS, 0)
    for i, q in enumerate(queries):
        seen = [g for j, g in enumerate(gallery) if not hidden(i, j)]
        near = sorted(seen, key=lambda g: distance(run, points[q], points[g]))
        for k in KS:
            hits[k] += any(labels[g] == labels[q] for g in near[:k])
    return {str(k): hits[k] / len(queries) for k in KS}


@pytest.mark.parametrize("masks", [False, True])
def test_queries_search_the_gallery_and_the_flag_hides_their_number(run, apart, masks):
    points, index = apart
    retrieval = Retrieval(points, index, masking(run, masks))
    x, split = points.numpy(), index["split"].to_numpy()
    queries, gallery = np.flatnonzero(split == "query"), np.flatnonzero(split == "gallery")
    for labels, found in (
        (index["label"].to_numpy(), retrieval.class_recall(KS)),
        (index["superclass"].to_numpy(), retrieval.superclass_recall(KS)),
    ):
        assert found == brute_force(run, x, labels, queries, gallery, lambda i, j: masks and i == j)
    assert list(np.flatnonzero(retrieval.query)) == list(queries)
    assert list(np.flatnonzero(retrieval.gallery)) == list(gallery)


def test_the_flag_can_cost_a_hit(run):
    """Query 0's only item of its class is gallery item 0, and right beside it."""
    points = torch.tensor([[0.5, 0.0], [0.0, 0.5], [0.5, 0.1], [-0.5, 0.1]])
    index = pd.DataFrame({"label": [0, 1, 0, 1], "split": ["query"] * 2 + ["gallery"] * 2})
    index["superclass"] = None
    assert Retrieval(points, index, masking(run, False)).class_recall([1, 2]) == {
        "1": 0.5,
        "2": 1.0,
    }
    assert Retrieval(points, index, masking(run, True)).class_recall([1, 2]) == {"1": 0.0, "2": 0.0}


@pytest.mark.parametrize("split", ["test", "train"])
def test_where_all_search_all_the_flag_changes_nothing(run, apart, split):
    points, index = apart
    index = index.assign(split=split)
    results = [
        (r.class_recall(KS), r.superclass_recall(KS), r.map_at_r())
        for r in (Retrieval(points, index, masking(run, masks)) for masks in (False, True))
    ]
    assert results[0] == results[1]
    everyone, labels = range(60), index["label"].to_numpy()
    expected = brute_force(run, points.numpy(), labels, everyone, everyone, lambda i, j: i == j)
    assert results[0][0] == expected


def test_map_at_r_is_never_masked(run, apart):
    points, index = apart
    values = [Retrieval(points, index, masking(run, masks)).map_at_r() for masks in (False, True)]
    assert values[0] == values[1]
