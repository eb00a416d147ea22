"""Trees against walks from image to image, and against scipy's own cophenetic distances."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cophenet, fcluster, linkage
from scipy.spatial.distance import pdist, squareform

from fakes.trees import below, lowest_common, path_up, trees
from hier.evaluation.hierarchy.space import Space
from hier.evaluation.hierarchy.tree import (
    ROOT,
    Tree,
    clustering,
    cut,
    tree_of_nearest_proxies,
    tree_of_proxies,
)
from hier.losses.triplets import reciprocal_neighbours


@given(trees())
def test_depths_sizes_and_counts_are_those_of_a_walk(tree):
    nodes, images = len(tree.parent), len(tree.holder)
    depths = tree.depths()
    for node in range(nodes):
        up = tree.parent[node]
        assert depths[node] == 1 + (depths[up] if up != ROOT else 0)
    assert depths[nodes] == 0
    codes = np.arange(images) % 3
    counts = tree.counts(codes, 3)
    for node in range(nodes + 1):
        members = below(tree, node)
        assert tree.sizes()[node] == len(members)
        assert counts[node].tolist() == [sum(codes[i] == kind for i in members) for kind in range(3)]


@given(trees())
def test_images_below_a_node_stand_together(tree):
    images, start, end = tree.order()
    assert sorted(images) == list(range(len(tree.holder)))
    for node in range(len(tree.parent) + 1):
        assert sorted(images[start[node] : end[node]]) == below(tree, node)


@given(trees())
def test_the_lowest_common_ancestor_is_the_first_that_two_images_share(tree):
    found = tree.lowest_common()
    for one in range(len(found)):
        for other in range(len(found)):
            expected = path_up(tree, one)[0] if one == other else lowest_common(tree, one, other)
            assert found[one, other] == expected


def test_a_chain_of_thousands_is_no_deeper_than_it_is():
    nodes = 2000
    tree = Tree(np.arange(-1, nodes - 1), np.arange(nodes))
    assert tree.depths().tolist() == [*range(1, nodes + 1), 0]
    ancestor = tree.lowest_common()
    assert (ancestor == np.minimum.outer(np.arange(nodes), np.arange(nodes))).all()


# --- clustering ----------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [3, 4, 30])
def test_the_clustering_is_average_linkage(images):
    distances = pdist(np.random.default_rng(images).normal(size=(images, 3)))
    merges = linkage(distances, "average")
    tree = clustering(squareform(distances))
    height = merges[tree.lowest_common(), 2]  # the last merge, number N − 2, is the root
    expected = squareform(cophenet(merges))
    off = ~np.eye(images, dtype=bool)
    assert np.array_equal(height[off], expected[off])


@pytest.mark.parametrize("images", [1, 2])
def test_one_or_two_images_hang_on_the_root(images):
    tree = clustering(np.ones((images, images)) - np.eye(images))
    assert (tree.parent.tolist(), tree.holder.tolist()) == ([], [ROOT] * images)


@pytest.mark.parametrize("images", [1, 2, 3, 7, 30])
def test_the_clustering_that_is_cut_has_the_groups_of_scipy_and_is_flat_below_them(images):
    points = np.random.default_rng(images).normal(size=(images, 3))
    merges = linkage(points, "average") if images > 1 else np.empty((0, 4))
    whole = clustering(squareform(pdist(points)))
    for groups in range(1, images + 2):
        tree, common = cut(whole, groups), whole.lowest_common()
        number = fcluster(merges, groups, "maxclust") if images > 1 else np.ones(1)
        together = number[:, None] == number[None, :]
        among = tree.lowest_common()
        assert np.array_equal(among[~together], common[~together])
        for group in np.unique(number):
            [top] = np.unique(among[np.ix_(number == group, number == group)])
            assert (number == group).sum() == 1 or top == common[
                np.ix_(number == group, number == group)
            ].max()


# --- proxies -------------------------------------------------------------------------------------


def space_of(images, proxies, radius):
    def between(x, y):
        return np.linalg.norm(x[:, None] - y[None], axis=2)

    return Space(
        between(images, images), between(images, proxies), between(proxies, proxies),
        np.ones(len(images)), radius,
    )  # fmt: skip


def groups(distances):
    """Each point with its reciprocal neighbours, as the loss finds them."""
    related = reciprocal_neighbours(torch.from_numpy(-distances), 2).numpy()
    return [[i, *np.flatnonzero(related[i])] for i in range(len(distances))]


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 9), st.booleans())
def test_ancestors_by_the_rule_of_the_loss(seed, images, proxies, same_radius):
    rng = np.random.default_rng(seed)
    radius = np.ones(proxies) if same_radius else rng.integers(1, 5, proxies) / 5  # with ties
    space = space_of(rng.normal(size=(images, 2)), rng.normal(size=(proxies, 2)), radius)
    tree = tree_of_proxies(space)
    for image, group in enumerate(groups(space.between_images)):
        farthest = [max(space.to_proxies[i, p] for i in group) for p in range(proxies)]
        assert tree.holder[image] == farthest.index(min(farthest))
    for proxy, group in enumerate(groups(space.between_proxies)):
        nearer = [p for p in range(proxies) if radius[p] < radius[proxy]]
        if not nearer:
            assert tree.parent[proxy] == ROOT
            continue
        farthest = {p: max(space.between_proxies[i, p] for i in group) for p in nearer}
        assert tree.parent[proxy] == min(farthest, key=farthest.__getitem__)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 9))
def test_without_the_rule_each_hangs_on_its_nearest(seed, images, proxies):
    rng = np.random.default_rng(seed)
    radius = rng.integers(1, 5, proxies) / 5
    space = space_of(rng.normal(size=(images, 2)), rng.normal(size=(proxies, 2)), radius)
    tree = tree_of_nearest_proxies(space)
    for image in range(images):
        assert space.to_proxies[image, tree.holder[image]] == min(space.to_proxies[image])
    for proxy in range(proxies):
        nearer = {p: space.between_proxies[proxy, p] for p in range(proxies) if radius[p] < radius[proxy]}
        expected = min(nearer, key=nearer.__getitem__) if nearer else ROOT
        assert tree.parent[proxy] == expected


@given(st.integers(0, 10**6), st.integers(1, 40))
@settings(max_examples=30)
def test_every_proxy_leads_to_the_root_and_radii_shrink_on_the_way(seed, proxies):
    rng = np.random.default_rng(seed)
    radius = rng.integers(0, 4, proxies) / 4
    tree = tree_of_proxies(space_of(rng.normal(size=(3, 2)), rng.normal(size=(proxies, 2)), radius))
    for proxy in range(proxies):
        node, steps = proxy, 0
        while tree.parent[node] != ROOT:
            assert radius[tree.parent[node]] < radius[node]
            node, steps = tree.parent[node], steps + 1
        assert steps < 4


def test_proxies_that_share_one_radius_make_a_flat_tree():
    rng = np.random.default_rng(0)
    space = space_of(rng.normal(size=(9, 2)), rng.normal(size=(5, 2)), np.full(5, 0.7))
    tree = tree_of_proxies(space)
    assert (tree.parent == ROOT).all()
    assert tree.depths().max() == 1
