"""Galleries against a plain search, with the protocol's masks, and errors that agree with Recall@1."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes.trees import index_of
from hier.config.compose import compose
from hier.evaluation.hierarchy.levels import levels_of
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.evaluation.views import galleries as module
from hier.evaluation.views.galleries import galleries

CONF = Path(__file__).parents[3] / "conf"
C = 0.1


@pytest.fixture(scope="module", params=["hier", "pa"])
def run(request):
    suite = compose(["suite=smoke", f"methods=[{request.param}]"], CONF)
    return next(iter(suite.runs.values()))


def masking(run):
    protocol = run.protocol.model_copy(update={"masks_gallery_of_query": True})
    return run.model_copy(update={"protocol": protocol})


def made(images=90, classes=9, apart=False, seed=0):
    """Embeddings on the ball of classes that are hard to tell apart, and their index."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    points = rng.normal(size=(images, 3)) + 0.8 * rng.normal(size=(classes, 3))[labels]
    points *= 1.5 / np.linalg.norm(points, axis=1, keepdims=True) * rng.uniform(0.2, 1, (images, 1))
    split = np.where(rng.random(images) < 0.4, "query", "gallery") if apart else "test"
    index = index_of([f"class {label}" for label in labels], ["all"] * images, split)
    return torch.from_numpy(points), index


def distance(run, x, y):
    if run.evaluate.metric == "cosine":
        return 1 - float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))
    gap, a, b = ((v * v).sum() for v in (x - y, x, y))
    return math.acosh(1 + 2 * C * gap / ((1 - C * a) * (1 - C * b))) / math.sqrt(C)


def found_for(run, points, index, offset=1000):
    """The galleries; row r of the index is image r − offset."""
    levels = levels_of(index, ["class", "kind"], "made")
    rows = np.arange(len(index)) + offset
    return galleries(Retrieval(points, index, run), rows, levels)


def nearest(run, points, index, query, masks):
    """(distance, row) of all items that a query sees, the nearest first."""
    split = index["split"].to_numpy()
    queries = np.flatnonzero(split != "gallery")
    gallery = np.flatnonzero(split != "query")
    number = list(queries).index(query)
    hides = masks or (split == "test").all()
    seen = [g for j, g in enumerate(gallery) if not (hides and j == number)]
    x = points.numpy()
    return sorted((distance(run, x[query], x[g]), g) for g in seen)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("apart", [False, True])
def test_neighbours_are_those_of_a_plain_search(run, apart, masks):
    points, index = made(apart=apart)
    chosen = masking(run) if masks else run
    found = found_for(chosen, points, index)
    labels = index["label"].to_numpy()
    assert len(found["shared"]) == 24
    for shown in [*found["shared"], *found["worst"]]:
        query = shown["row"] - 1000
        expected = nearest(run, points, index, query, masks)[:8]
        assert [n["row"] - 1000 for n in shown["neighbours"]] == [g for _, g in expected]
        assert [n["distance"] for n in shown["neighbours"]] == pytest.approx(
            [d for d, _ in expected], abs=6e-5
        )
        right = [bool(labels[g] == labels[query]) for _, g in expected]
        assert [n["correct"] for n in shown["neighbours"]] == right
        assert shown["correct"] == right[0]


@pytest.mark.parametrize("apart", [False, True])
def test_confusions_are_the_errors_at_rank_one(run, apart, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 500)  # some queries at a time
    points, index = made(apart=apart)
    monkeypatch.setattr(module, "CONFUSIONS", 1000)
    found = found_for(run, points, index)
    names = index["class_name"].to_numpy()
    queries = np.flatnonzero(index["split"] != "gallery")
    wrong = Counter()
    for query in queries:
        _, first = nearest(run, points, index, query, False)[0]
        if names[first] != names[query]:
            wrong[names[query], names[first]] += 1
    assert {(c["class"], c["taken_for"]): c["count"] for c in found["confusions"]} == wrong
    counts = [c["count"] for c in found["confusions"]]
    assert counts == sorted(counts, reverse=True)
    members = Counter(names[queries])
    assert all(c["of"] == members[c["class"]] for c in found["confusions"])
    recall = Retrieval(points, index, run).class_recall([1])["1"]
    assert sum(counts) == round((1 - recall) * len(queries))


def test_the_worst_are_wrong_and_the_most_confused_pairs_come_first(run):
    points, index = made()
    found = found_for(run, points, index)
    names = index["class_name"].to_numpy()
    assert len(found["worst"]) == 12
    pairs = []
    for shown in found["worst"]:
        assert not shown["correct"]
        pairs.append((names[shown["row"] - 1000], names[shown["neighbours"][0]["row"] - 1000]))
    listed = [(c["class"], c["taken_for"]) for c in found["confusions"]]
    assert pairs == listed[:12]  # one of each pair, as there are more than 12 pairs
    worst = [shown["row"] - 1000 for shown in found["worst"]]
    assert worst == [most_wrong(run, points, names, *pair) for pair in pairs]


def most_wrong(run, points, names, name, taken_for):
    """The query of a class whose nearest item, of `taken_for`, is nearer than its own by the most."""
    gaps = {}
    for query in np.flatnonzero(names == name):
        near = nearest(run, points, index_of(names, ["all"] * len(names)), query, False)
        if names[near[0][1]] == taken_for:
            own = next(d for d, item in near if names[item] == name)
            gaps[query] = compared(run, own) - compared(run, near[0][0])
    return max(gaps, key=gaps.__getitem__)


def compared(run, distance):
    """What a product falls by: hyperbolic distances are compared by their cosh."""
    return distance if run.evaluate.metric == "cosine" else math.cosh(math.sqrt(C) * distance)


def test_shared_queries_are_the_same_for_every_run_and_spread_over_classes(run):
    points, index = made()
    one = found_for(run, points, index)["shared"]
    other = found_for(run, points.flip(0), index)["shared"]
    assert [shown["row"] for shown in one] == [shown["row"] for shown in other]
    per_class = Counter(index["label"].to_numpy()[shown["row"] - 1000] for shown in one)
    assert set(per_class.values()) == {2, 3}


def test_equal_embeddings_count_against_the_run_as_in_recall(run):
    points, index = made(30, classes=3)
    found = found_for(run, torch.full_like(points, 0.5), index)
    assert Retrieval(torch.full_like(points, 0.5), index, run).class_recall([1]) == {"1": 0.0}
    assert sum(c["count"] for c in found["confusions"]) == 30
    for shown in [*found["shared"], *found["worst"]]:
        assert [n["correct"] for n in shown["neighbours"]] == [False] * 8
        assert {n["distance"] for n in shown["neighbours"]} == {0.0}


def test_a_gallery_of_one_class_or_of_few_images_is_listed_as_it_is(run):
    points, index = made(5, classes=1)
    found = found_for(run, points, index)
    assert (found["worst"], found["confusions"]) == ([], [])
    assert [len(shown["neighbours"]) for shown in found["shared"]] == [4] * 5
    alone = found_for(run, points[:1], index[:1])
    assert alone["shared"] == [{"row": 1000, "correct": False, "neighbours": []}]
