"""Nodes as a page shows them, against walks through the tree."""

import numpy as np
import pytest
from hypothesis import given, settings

from fakes.trees import below, levels_by, path_up, trees_with_levels
from hier.evaluation.hierarchy.tree import ROOT, Tree, clustering
from hier.evaluation.views import views as module
from hier.evaluation.views.views import described, of_merges, of_proxies, placed


@given(trees_with_levels())
@settings(deadline=None)
def test_proxies_with_images_are_described(case):
    tree, levels = case
    outline = of_proxies(tree)
    rows = np.arange(len(tree.holder)) * 10
    shown = np.arange(0, len(rows), 2)
    found = described(outline, levels, rows, shown)
    used = [n for n in range(len(tree.parent)) if below(tree, n)]
    assert found["name"] == [f"proxy {node}" for node in used]
    for position, node in enumerate(used):
        members = below(tree, node)
        up = tree.parent[node]
        assert found["parent"][position] == (None if up == ROOT else used.index(up))
        assert (
            found["depth"][position]
            == len(path_up(tree, members[0])) - path_up(tree, members[0]).index(node) - 1
        )
        assert found["count"][position] == len(members)
        for level, codes in enumerate(levels.codes):
            often = np.bincount(codes[members])
            assert levels.names[level].index(found["label"][level][position]) == often.argmax()
            share = often.max() / len(members)
            assert found["purity"][level][position] == pytest.approx(share, abs=1e-4)
        thumbnails = [row // 10 for row in found["rows"][position]]
        assert sorted(thumbnails) == members
        first = [image for image in thumbnails if image in shown]
        assert thumbnails[: len(first)] == first  # what is shown anyway comes first


def test_thumbnails_are_spread_over_classes():
    codes = np.repeat(np.arange(5), 20)
    tree = Tree(np.array([ROOT]), np.zeros(100, np.int64))
    found = described(of_proxies(tree), levels_by([codes]), np.arange(100), np.arange(0))
    assert len(found["rows"][0]) == 24
    assert np.bincount(codes[found["rows"][0]]).tolist() == [5, 5, 5, 5, 4]


def test_merges_are_cut_at_the_top_and_images_hang_on_the_lowest_that_is_left(monkeypatch):
    monkeypatch.setattr(module, "MOST_MERGES", 7)
    points = np.random.default_rng(0).normal(size=(40, 2))
    tree = clustering(np.linalg.norm(points[:, None] - points[None], axis=2))
    outline = of_merges(tree)
    assert outline.names == [f"cluster {i}" for i in range(1, 8)]
    assert outline.nodes.tolist() == list(range(37, 30, -1))  # N − 2 merges below the root
    for image, position in enumerate(outline.positions()[tree.holder]):
        kept = [n for n in path_up(tree, image) if n in outline.nodes]
        assert position == (list(outline.nodes).index(kept[0]) if kept else ROOT)
    up = described(outline, levels_by([np.zeros(40)]), np.arange(40), np.arange(0))["parent"]
    assert all(parent is None or parent < child for child, parent in enumerate(up))


def test_of_too_many_proxies_those_with_most_images_stay_and_their_parents_too(monkeypatch):
    monkeypatch.setattr(module, "MOST_PROXIES", 3)
    # 0 ← 1 ← 2 ← 3, a chain with all images at its end, and two more nodes with one image each
    tree = Tree(np.array([ROOT, 0, 1, 2, 0, ROOT]), np.array([3, 3, 3, 4, 5]))
    outline = of_proxies(tree)
    assert outline.nodes.tolist() == [0, 1, 2]
    assert outline.positions()[tree.holder].tolist() == [2, 2, 2, 0, ROOT]


def test_a_node_is_drawn_at_its_radius_and_the_mean_angle_of_its_images():
    tree = Tree(np.array([ROOT, 0, 0]), np.array([1, 1, 2, 2]))
    angle = np.array([np.pi - 0.3, -np.pi + 0.1, 0.5])  # of images 0, 1, 2; image 3 is not drawn
    found = placed(of_proxies(tree), np.array([0.2, 0.5, 0.8]), np.arange(3), angle)
    mean = np.pi - 0.1
    assert found["radius"] == [0.2, 0.5, 0.8]
    assert (found["x"][1], found["y"][1]) == pytest.approx((0.5 * np.cos(mean), 0.5 * np.sin(mean)), abs=1e-4)
    assert (found["x"][2], found["y"][2]) == pytest.approx((0.8 * np.cos(0.5), 0.8 * np.sin(0.5)), abs=1e-4)
    nowhere = placed(of_proxies(tree), np.array([0.2, 0.5, 0.8]), np.arange(2), angle[:2])
    assert (nowhere["x"][2], nowhere["y"][2]) == (None, None)
    assert nowhere["radius"] == [0.2, 0.5, 0.8]
