"""Recall as the official evaluation computes it, query by query (tests/golden/steps)."""

import numpy as np
import pandas as pd
import pytest
import torch

from fakes.steps import ROOT, golden
from hier.config.compose import compose
from hier.config.protocol import Protocol
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.evaluation.retrieval.recall import recall_at_k
from hier.geometry.poincare import exp0


@pytest.fixture(scope="module")
def official():
    """A run of a metric loss alone under the official protocol."""
    (run,) = compose(["suite=smoke", "methods=[pa]", "protocol=official"], ROOT / "conf").runs.values()
    assert (run.evaluate.metric, run.protocol.masks_gallery_of_query) == ("poincare", True)
    return run


def points(u, settings):
    return exp0(u, settings["curvature"], settings["clip_radius"])


def index(*sides):
    frames = [pd.DataFrame({"split": split, "label": labels}) for split, labels in sides]
    return pd.concat(frames, ignore_index=True)


def shares(recall, ks):
    return dict(zip(map(str, ks), recall.tolist(), strict=True))


def test_in_shop_hides_gallery_image_i_from_query_i(official):
    arrays, settings = golden("eval_inshop")
    z = np.concatenate([points(arrays[f"{side}/u"], settings) for side in ("query", "gallery")])
    rows = index(*((side, arrays[f"{side}/labels"]) for side in ("query", "gallery")))
    ks = settings["ks"]
    z = torch.from_numpy(z)
    assert Retrieval(z, rows, official).class_recall(ks) == shares(arrays["recall"], ks)
    right = Protocol(**(official.protocol.model_dump() | {"masks_gallery_of_query": False}))
    unmasked = official.model_copy(update={"protocol": right})
    assert Retrieval(z, rows, unmasked).class_recall(ks) == shares(arrays["recall_unmasked"], ks)


def hits_of(z, labels, gallery, gallery_labels, settings, metric="poincare"):
    """Whether each query hits at each K, one query at a time, the gallery image of its number left out."""
    c, found = settings["curvature"] if metric == "poincare" else None, []
    for number in range(len(z)):
        one, kept = slice(number, number + 1), np.arange(len(gallery)) != number
        sides = z[one], labels[one], gallery[kept], gallery_labels[kept]
        found.append([*recall_at_k(*sides, settings["ks"], metric, c).values()])
    return np.array(found).astype(bool)


def test_each_in_shop_query_hits_as_it_does_there():
    arrays, settings = golden("eval_inshop")
    sides = [
        (points(arrays[f"{s}/u"], settings), arrays[f"{s}/labels"].numpy()) for s in ("query", "gallery")
    ]
    assert np.array_equal(hits_of(*sides[0], *sides[1], settings), arrays["hits"].numpy())


def test_each_query_after_a_metric_loss_hits_as_it_does_there():
    arrays, settings = golden("eval_pa_poincare")
    z, labels = points(arrays["u"], settings), arrays["labels"].numpy()
    for metric, key in (("poincare", "hits"), ("cosine", "hits_cosine")):
        assert np.array_equal(hits_of(z, labels, z, labels, settings, metric), arrays[key].numpy()), key


def test_a_metric_loss_is_evaluated_by_poincare_distance(official):
    arrays, settings = golden("eval_pa_poincare")
    z, labels, ks = points(arrays["u"], settings), arrays["labels"].numpy(), settings["ks"]
    rows = index(("test", labels))
    assert Retrieval(z, rows, official).class_recall(ks) == shares(arrays["recall"], ks)
    by_cosine = official.model_copy(
        update={"evaluate": official.evaluate.model_copy(update={"metric": "cosine"})}
    )
    found = Retrieval(z, rows, by_cosine).class_recall(ks)
    assert found == shares(arrays["recall_cosine"], ks)
    assert found != shares(arrays["recall"], ks)
