"""How good is the tree? The sentences follow from the figures, whichever way these lie."""

import pytest

from fakes.content import content_of, metrics_of
from hier.config.compose import compose
from hier.reporting.quality import held_against, quality

from .conftest import CONF

HIER, PA = "smoke-hier-test_resnet-16-s0", "smoke-pa-test_resnet-16-s0"


def interval(value, half=1.0):
    return {"value": value, "low": value - half, "high": value + half}


def tree(purity, spearman=None):
    found = {"dendrogram_purity": {level: interval(v) for level, v in purity.items()}}
    return found | ({} if spearman is None else {"lca_spearman": interval(spearman, 0.01)})


def hierarchy(clustering, proxies=None, cut=None):
    levels = list(clustering["dendrogram_purity"])
    found = {"images": 30, "levels": levels, "clustering": clustering}
    if proxies:
        found |= {"proxies": proxies, "nearest_proxies": proxies}
        found |= {"groups": 5, "clustering_cut": cut or clustering}
    return found


@pytest.fixture
def content(suite, tmp_path):
    """Proxies worse than PA's clustering by species, better by genus, alike by Spearman."""
    metrics = {name: metrics_of(0) for name in suite.runs}
    metrics[HIER]["hierarchy"] = hierarchy(
        tree({"species": 70.0, "genus": 80.0}, 0.5),
        tree({"species": 40.0, "genus": 90.0}, 0.6),
        tree({"species": 30.0, "genus": 60.0}, 0.4),
    )
    metrics[PA]["hierarchy"] = hierarchy(tree({"species": 71.0, "genus": 70.0}, 0.605))
    for name, share in ((HIER, 0.75), (PA, 0.5)):
        metrics[name]["superclass_recall"] = {"1": share}
    return content_of(suite, tmp_path, metrics=metrics)


def test_there_is_a_row_for_each_tree_with_what_was_measured(content):
    (found,) = quality(content)
    assert (found["dataset"], found["levels"], found["coarse"]) == (
        "smoke",
        ["species", "genus"],
        "genus",
    )
    assert [(row["tree"], row["run"]) for row in found["rows"]] == [
        ("proxies of HIER", HIER),
        ("nearest proxies of HIER", HIER),
        ("clustering of the embeddings of HIER, cut to as many groups", HIER),
        ("clustering of the embeddings of HIER", HIER),
        ("clustering of the embeddings of PA", PA),
    ]
    assert [row["values"]["purity by species"]["value"] for row in found["rows"]] == [
        40.0,
        40.0,
        30.0,
        70.0,
        71.0,
    ]
    assert [row["values"]["LCA Spearman"]["value"] for row in found["rows"]] == [0.6, 0.6, 0.4, 0.5, 0.605]
    assert [row["values"].get("coarse R@1", {}).get("value") for row in found["rows"]] == [
        None,
        None,
        None,
        75.0,
        50.0,
    ]


def test_the_interval_of_coarse_recall_is_wilsons(content):
    """Against statistics' textbook case: 1031 queries, half of them right."""
    low, high = (quality(content)[0]["rows"][-1]["values"]["coarse R@1"][side] for side in ("low", "high"))
    assert (low, high) == pytest.approx((46.953, 53.047), abs=2e-3)


def test_sentences_say_what_is_better_worse_and_not_told_apart(content):
    against_pa, against_own, against_cut, embeddings = quality(content)[0]["sentences"]
    assert against_pa == (
        "test_resnet, D 16, seed 0: proxies of HIER against clustering of the embeddings of PA: "
        "higher in purity by genus (90.0 against 70.0); lower in purity by species (40.0 against "
        "71.0); not told apart in LCA Spearman (0.60 against 0.60), where the intervals overlap. "
        "The former is better in some respects and worse in others."
    )
    assert "proxies of HIER against clustering of the embeddings of HIER" in against_own
    assert "HIER, cut to as many groups: higher in purity by species (40.0 against 30.0)" in against_cut
    assert "The former is better throughout." in against_cut
    assert "higher in purity by genus (80.0 against 70.0) and coarse R@1 (75.0 against 50.0)" in embeddings


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ((90, 90), (70, 70), "better throughout"),
        ((70, 70), (90, 90), "worse throughout"),
        ((90, 70), (70, 70), "better in part"),
        ((70, 70), (90, 70), "worse in part"),
        ((90, 70), (70, 90), "better in some respects and worse in others"),
        ((70, 70), (71, 69), "neither shown to be better nor to be worse"),
        ((70, 70), (72, 68), "neither shown to be better nor to be worse"),  # intervals that touch
    ],
)
def test_the_verdict_is_of_intervals_not_of_values(one, other, verdict):
    def row(name, values):
        names = ("purity by species", "purity by genus")
        return {"tree": name, "values": dict(zip(names, map(interval, values), strict=True))}

    said = held_against(row("one", one), row("other", other))
    assert said.endswith(f"The former is {verdict}.")
    assert "Spearman" not in said


def test_a_hier_run_alone_is_held_against_its_own_embeddings(content):
    metrics = {name: of for name, of in content.metrics.items() if name != PA}
    suite = compose(["suite=smoke", "methods=[hier]"], CONF)
    (found,) = quality(type(content)(suite, content.cells, content.comparisons, {}, metrics))
    assert len(found["rows"]) == 4
    assert "no run with the same metric loss" in found["sentences"][0]
    assert "against clustering of the embeddings of HIER" in found["sentences"][1]


def test_each_hier_run_is_held_against_its_own_metric_loss(tmp_path):
    """Not against whichever run comes first."""
    small = ["dataset=demo", "backbone=test_resnet", "recipe=demo", "dim=16"]
    suite = compose(["suite=ablation-losses", *small], CONF)
    metrics = {}
    for number, name in enumerate(suite.runs):
        trees = (tree({"class": number}), tree({"class": number + 0.5}))
        metrics[name] = metrics_of(0) | {"hierarchy": hierarchy(*trees)}
    (found,) = quality(content_of(suite, tmp_path, metrics=metrics))
    assert found["coarse"] is None
    sentences = [s for s in found["sentences"] if ": proxies of" in s]
    assert any("proxies of hier_ms against clustering of the embeddings of MS:" in s for s in sentences)
    assert any("proxies of HIER against clustering of the embeddings of PA:" in s for s in sentences)
    assert not any("proxies of HIER against clustering of the embeddings of MS:" in s for s in sentences)


def test_nothing_is_said_where_nothing_was_measured(suite, tmp_path):
    assert quality(content_of(suite, tmp_path)) == []
