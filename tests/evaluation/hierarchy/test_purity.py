"""Measures of trees against loops over all pairs, scipy, and trees of which the answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from fakes.trees import below, levels_by, lowest_common, path_up, trees_with_levels
from hier.config.dataset import Generate
from hier.data.demo import leaves
from hier.evaluation.hierarchy import purity as measures
from hier.evaluation.hierarchy.purity import Agreement, purity_by_depth
from hier.evaluation.hierarchy.tree import ROOT, Tree
from hier.results.measures import TREES, computed

DEMO = Generate(seed=0, branching=[4, 4, 4], images_per_class=3, size=64)


def agreement(tree, levels):
    """The measures of a tree, as metrics.json has them."""
    return computed(TREES, Agreement(tree, levels))


def pairs(images):
    return [(i, j) for i in range(images) for j in range(images) if i != j]


def purity_of_loops(tree, codes, weight=None):
    """Dendrogram purity, pair by pair; `weight` says how often a pair counts."""
    total = count = 0.0
    for i, j in pairs(len(codes)):
        if codes[i] == codes[j]:
            members = below(tree, lowest_common(tree, i, j))
            often = 1.0 if weight is None else weight(i, j)
            total += often * sum(codes[m] == codes[i] for m in members) / len(members)
            count += often
    return total / count if count else None


def distances(tree, levels):
    """Distances in the tree and among the levels of all pairs."""
    in_tree, known = [], []
    for i, j in pairs(len(tree.holder)):
        in_tree.append(len(below(tree, lowest_common(tree, i, j))))
        same = [codes[i] == codes[j] for codes in levels.codes]
        known.append(same.index(True) if any(same) else len(same))
    return in_tree, known


@given(trees_with_levels())
@settings(max_examples=60, deadline=None)
def test_dendrogram_purity_is_the_mean_over_pairs(case):
    tree, levels = case
    found = agreement(tree, levels)["dendrogram_purity"]
    assert list(found) == levels.titles
    for title, codes in zip(levels.titles, levels.codes, strict=True):
        expected = 100 * purity_of_loops(tree, codes)
        assert found[title]["value"] == pytest.approx(expected, abs=1e-4)
        assert 0 < found[title]["low"] <= found[title]["high"] <= 100


@given(trees_with_levels())
@settings(max_examples=60, deadline=None)
def test_spearman_is_scipys_over_all_pairs(case):
    tree, levels = case
    found = agreement(tree, levels)
    if len(levels.titles) == 1:
        assert "lca_spearman" not in found
        return
    in_tree, known = distances(tree, levels)
    constant = len(set(in_tree)) == 1 or len(set(known)) == 1
    expected = 0.0 if constant else spearmanr(in_tree, known).statistic
    assert found["lca_spearman"]["value"] == pytest.approx(expected, abs=1e-4)


@given(trees_with_levels())
@settings(max_examples=60, deadline=None)
def test_purity_by_depth_counts_each_nodes_most_frequent_kind(case):
    tree, levels = case
    depths = [len(path_up(tree, image)) for image in range(len(tree.holder))]
    rows = purity_by_depth(tree, levels)
    assert [row["depth"] for row in rows] == list(range(1, max(depths)))
    for row in rows:
        nodes = [n for n in range(len(tree.parent)) if tree.depths()[n] == row["depth"]]
        members = [m for m in (below(tree, node) for node in nodes) if m]
        assert row["nodes"] == len(members)
        assert row["images"] == sum(map(len, members))
        for title, codes in zip(levels.titles, levels.codes, strict=True):
            most = sum(max(np.bincount(codes[m])) for m in members)
            assert row["purity"][title] == pytest.approx(100 * most / row["images"], abs=1e-4)


@given(trees_with_levels(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_other_numbers_for_nodes_images_and_kinds_change_no_value(case, random):
    tree, levels = case
    node = list(range(len(tree.parent)))
    image = list(range(len(tree.holder)))
    random.shuffle(node)
    random.shuffle(image)
    renamed = np.append(np.array(node, np.int64), ROOT)  # the root, −1, stays
    parent = np.empty_like(tree.parent)
    parent[node] = renamed[tree.parent]
    codes = levels.codes.max() - levels.codes[:, image]
    values = [
        {title: interval["value"] for title, interval in found["dendrogram_purity"].items()}
        | {"rho": found.get("lca_spearman", {}).get("value"), "depth": found["purity_by_depth"]}
        for found in (
            agreement(tree, levels),
            agreement(Tree(parent, renamed[tree.holder[image]]), levels_by(codes)),
        )
    ]
    assert values[0] == values[1]


# --- trees of which the answer is known ----------------------------------------------------------


def demo_tree(depth):
    """The demo's own tree down to `depth` levels, and the levels of its images, finest first."""
    paths = [leaf.path for leaf in leaves(DEMO) for _ in range(DEMO.images_per_class)]
    nodes = sorted({path[:k] for path in paths for k in range(1, depth + 1)})
    number = {path: position for position, path in enumerate(nodes)}
    parent = [number.get(path[:-1], ROOT) for path in nodes]
    holder = [number.get(path[:depth], ROOT) for path in paths]
    codes = [[hash(path[:k]) % 10**9 for path in paths] for k in (3, 2, 1)]
    return Tree(np.array(parent, np.int64), np.array(holder)), levels_by(codes)


def test_the_demos_own_tree_is_perfect():
    found = agreement(*demo_tree(3))
    perfect = {"value": 100.0, "low": 100.0, "high": 100.0}
    assert list(found["dendrogram_purity"].values()) == [perfect] * 3
    assert found["lca_spearman"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert [(row["nodes"], row["images"]) for row in found["purity_by_depth"]] == [
        (4, 192), (16, 192), (64, 192),
    ]  # fmt: skip
    assert [list(row["purity"].values()) for row in found["purity_by_depth"]] == [
        [6.25, 25.0, 100.0],
        [25.0, 100.0, 100.0],
        [100.0, 100.0, 100.0],
    ]


def test_a_tree_that_stops_above_the_classes_is_as_good_as_its_level():
    """Genera of 4 equal species: a pair of one species shares a subtree of which it is a quarter."""
    found = agreement(*demo_tree(2))["dendrogram_purity"]
    assert [found[f"level {level}"]["value"] for level in range(3)] == [25.0, 100.0, 100.0]


def test_a_flat_tree_says_nothing():
    tree, levels = demo_tree(0)
    found = agreement(tree, levels)
    assert found["dendrogram_purity"]["level 0"]["value"] == pytest.approx(100 / 64, abs=1e-4)
    assert found["dendrogram_purity"]["level 2"]["value"] == 25.0
    assert found["lca_spearman"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert found["purity_by_depth"] == []


# --- intervals -----------------------------------------------------------------------------------


@given(trees_with_levels())
@settings(max_examples=10, deadline=None)
def test_a_draw_weighs_pairs_by_how_often_their_classes_were_drawn(case):
    tree, levels = case
    classes = len(levels.names[0])
    draws = np.vstack([np.ones(classes), np.random.default_rng(0).integers(0, 3, (20, classes))])
    of = levels.codes[0]
    expected = []
    for draw in draws:

        def often(i, j, draw=draw):
            return draw[of[i]] * (1 if of[i] == of[j] else draw[of[j]])

        value = purity_of_loops(tree, levels.codes[-1], often)
        expected.append(np.nan if value is None else value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "_draws", lambda _: draws)
        patch.setattr(measures, "_interval", lambda drawn, _: drawn)
        found = measures.Agreement(tree, levels).dendrogram_purity(len(levels.titles) - 1)
    assert found == pytest.approx(expected, nan_ok=True)


def test_intervals_hold_the_value_and_are_wider_for_fewer_classes():
    """Classes alike: half of each class is pure and half is mixed into one subtree."""
    rng = np.random.default_rng(0)
    widths = []
    for classes in (4, 64):
        codes = np.repeat(np.arange(classes), 8)
        away = rng.random(len(codes)) < rng.random(classes)[codes]
        holder = np.where(away, classes, codes)
        tree = Tree(np.full(classes + 1, ROOT), holder)
        interval = agreement(tree, levels_by([codes]))["dendrogram_purity"]["level 0"]
        assert interval["low"] <= interval["value"] <= interval["high"]
        widths.append(interval["high"] - interval["low"])
    assert widths[0] > 2 * widths[1] > 0
