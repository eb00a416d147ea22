"""Queries that can never be right, since no item of their class is searched, against plain counting."""

# ruff: noqa: F811

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hier.errors import ConfigError
from hier.evaluation.hierarchy.levels import levels_of
from hier.evaluation.retrieval.queries_and_gallery import Retrieval, require_matches
from hier.evaluation.retrieval.recall import recall_at_k
from hier.evaluation.views.galleries import galleries
from hier.stages import evaluate as stage

from ..evaluation.retrieval.test_recall import METRICS, C, exact_ranks, retrieval_sets, tensors
from .test_evaluate import (  # noqa: F401
    KS,
    brute_force,
    cosine,
    data,
    index_of,
    measured,
    poincare,
    run_of,
    suite,
)  # fmt: skip

DISTANCES = pytest.mark.parametrize(("method", "distance"), [("hier", poincare), ("pa", cosine)])


def leaving_out(run, unmatched="leave_out"):
    evaluate = run.evaluate.model_copy(update={"unmatched": unmatched})
    return run.model_copy(update={"evaluate": evaluate})


@pytest.fixture
def lone(data):
    """60 embeddings; three classes have one image, two of them in a super-class of their own."""
    points, labels = data
    labels = labels.copy()
    labels[[4, 17, 40]] = [20, 21, 22]
    kinds = np.array([f"kind {label % 3}" for label in labels], dtype=object)
    kinds[[4, 17]] = ["odd", "strange"]
    return points, labels, kinds


# --- recall_at_k ---------------------------------------------------------------------------------


@METRICS
@settings(max_examples=60, deadline=None)
@given(drawn=st.data())
def test_leaving_out_divides_by_those_that_have_an_item_of_their_class(metric, drawn):
    same = drawn.draw(st.booleans())
    case = drawn.draw(retrieval_sets(same=same))
    own = [ranks for ranks in exact_ranks(case, metric, same) if ranks]
    arguments = (*tensors(case), [1, 2, 5], metric, C if metric == "poincare" else None, same)
    if not own:
        with pytest.raises(ValueError, match="no query has an item of its class"):
            recall_at_k(*arguments, leave_out_unmatched=True)
        return
    expected = {k: sum(ranks[0] <= k for ranks in own) / len(own) for k in (1, 2, 5)}
    assert recall_at_k(*arguments, leave_out_unmatched=True) == expected


def test_an_item_that_only_the_flag_hides_is_a_miss_whatever_is_left_out():
    x, y = torch.eye(2), torch.tensor([0, 1])
    found = recall_at_k(x, y, x, y, [1], "cosine", None, False, True, leave_out_unmatched=True)
    assert found == {1: 0.0}


# --- the stage -----------------------------------------------------------------------------------


@DISTANCES
@pytest.mark.parametrize("unmatched", ["count_as_misses", "leave_out"])
def test_where_all_search_all(suite, lone, method, distance, unmatched):
    points, labels, kinds = lone
    index = index_of(labels, ["test"] * 60, kinds)
    metrics = measured(points, index, leaving_out(run_of(suite, method), unmatched))
    others = [i for i in range(60) if i not in (4, 17, 40)]
    with_kind = [i for i in range(60) if i not in (4, 17)]
    counts = unmatched == "count_as_misses"
    recall, _ = brute_force(points, labels, range(60) if counts else others, range(60), distance)
    coarse, _ = brute_force(points, kinds, range(60) if counts else with_kind, range(60), distance)
    _, map_at_r = brute_force(points, labels, others, range(60), distance)
    assert metrics["recall"] == recall
    assert metrics["superclass_recall"] == coarse
    assert metrics["map_at_r"] == pytest.approx(map_at_r, rel=1e-12)
    assert metrics["queries"] == (60 if counts else 57)
    assert metrics["queries_without_match"] == 3
    assert metrics["superclass_queries_without_match"] == 2


@DISTANCES
@pytest.mark.parametrize("unmatched", ["count_as_misses", "leave_out"])
def test_where_queries_search_a_gallery(suite, lone, method, distance, unmatched):
    """Of class 5 the gallery has nothing, and queries do not see each other."""
    points, labels, kinds = lone
    split = np.where(np.random.default_rng(0).random(60) < 0.4, "query", "gallery")
    split[labels == 5] = "query"
    split[[4, 17, 40]] = ["query", "gallery", "query"]
    index = index_of(labels, split, kinds)
    metrics = measured(points, index, leaving_out(run_of(suite, method), unmatched))
    queries, gallery = np.flatnonzero(split == "query"), np.flatnonzero(split == "gallery")
    matched = [q for q in queries if labels[q] in labels[gallery]]
    assert len(queries) - len(matched) == metrics["queries_without_match"] == sum(labels == 5) + 2
    assert metrics["superclass_queries_without_match"] == 1  # "odd"
    judged = queries if unmatched == "count_as_misses" else matched
    recall, _ = brute_force(points, labels, judged, gallery, distance)
    _, map_at_r = brute_force(points, labels, matched, gallery, distance)
    assert metrics["recall"] == recall
    assert metrics["map_at_r"] == pytest.approx(map_at_r, rel=1e-12)
    assert metrics["queries"] == len(judged)


def test_where_each_has_a_match_the_setting_changes_nothing(suite, data):
    points, labels = data
    index = index_of(labels, ["test"] * 60, [f"kind {label % 3}" for label in labels])
    run = run_of(suite, "hier")
    both = [measured(points, index, r) for r in (run, leaving_out(run))]
    assert both[0] == both[1]
    assert both[0]["queries"] == 60
    assert both[0]["queries_without_match"] == both[0]["superclass_queries_without_match"] == 0


@pytest.mark.parametrize("unmatched", ["count_as_misses", "leave_out"])
@pytest.mark.parametrize("apart", [False, True])
def test_where_no_query_can_be_right_it_is_said_in_one_line(suite, unmatched, apart):
    split = np.where(np.arange(60) < 20, "query", "gallery") if apart else ["test"] * 60
    index = index_of(np.arange(60), split, [None] * 60)
    run = leaving_out(run_of(suite, "hier"), unmatched)
    with pytest.raises(ConfigError) as caught:
        require_matches(index, run)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"smoke: none of the {20 if apart else 60} test queries ")


@pytest.mark.parametrize(
    ("unmatched", "what"),
    [
        ("count_as_misses", "they are counted as misses in R@K and left out of MAP@R"),
        ("leave_out", "they are left out of R@K and MAP@R"),
    ],
)
def test_the_stage_says_in_one_line_how_many(suite, lone, capsys, unmatched, what):
    points, labels, kinds = lone
    run = leaving_out(run_of(suite, "hier"), unmatched)
    index = index_of(labels, ["test"] * 60, kinds)
    stage.say_unmatched(stage.Evaluation(run, KS, Retrieval(points, index, run)))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "3 of 60 queries can never be right" in said
    assert what in said
    labels[[4, 17, 40]] = labels[0]
    index = index_of(labels, ["test"] * 60, kinds)
    stage.say_unmatched(stage.Evaluation(run, KS, Retrieval(points, index, run)))
    assert capsys.readouterr().out == ""


def test_confusions_leave_them_out_too(suite, lone, monkeypatch):
    monkeypatch.setattr("hier.evaluation.views.galleries.CONFUSIONS", 1000)
    points, labels, kinds = lone
    index = index_of(labels, ["test"] * 60, kinds)
    levels = levels_of(index, ["class", "kind"], "smoke")

    def found(run):
        return galleries(Retrieval(points, index, run), np.arange(60), levels)

    run = run_of(suite, "hier")
    wrong = {entry["class"] for entry in found(run)["confusions"]}
    assert {"class 20", "class 21", "class 22"} <= wrong
    left = found(leaving_out(run))
    assert not {"class 20", "class 21", "class 22"} & {e["class"] for e in left["confusions"]}
    assert not {4, 17, 40} & {query["row"] for query in left["worst"]}


# --- while training --------------------------------------------------------------------------------


def test_a_side_without_any_match_is_told_before_training(suite):
    run = run_of(suite, "pa")
    index = index_of([0, 0, 1, 2], ["train"] * 4, [None] * 4)
    require_matches(index, run, "held-out")
    with pytest.raises(ConfigError, match=re.escape("none of the 2 held-out queries ")):
        require_matches(index.iloc[2:], run, "held-out")
