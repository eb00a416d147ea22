"""Trees with images as leaves, of any number of branches."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from hier.evaluation.hierarchy.levels import Integers
from hier.evaluation.hierarchy.space import Array, Space

ROOT = -1  # the parent of what hangs on the root, which is itself no node


class Tree(NamedTuple):
    """M nodes below a root, and N images that hang on nodes or on the root."""

    parent: Integers  # M, each the number of a node or ROOT
    holder: Integers  # N, the node that each image hangs on, or ROOT

    def depths(self) -> Integers:
        """Depth of each node, and of the root as the last (M + 1); 1 for a child of the root."""
        depth = np.zeros(len(self.parent) + 1, np.int64)
        above = np.append(self.parent, ROOT)
        while (above != ROOT).any():
            depth[above != ROOT] += 1
            above = np.where(above == ROOT, ROOT, self.parent[above])
        depth[:-1] += 1
        return depth

    def downwards(self) -> Integers:
        """All nodes, each after its parent."""
        return np.argsort(self.depths()[:-1], kind="stable")

    def counts(self, codes: Integers, kinds: int) -> Integers:
        """How many images of each kind are below each node, and the root as the last (M + 1 × kinds)."""
        counts = np.zeros((len(self.parent) + 1, kinds), np.int64)
        np.add.at(counts, (self.holder, codes), 1)
        for node in self.downwards()[::-1]:
            counts[self.parent[node]] += counts[node]
        return counts

    def sizes(self) -> Integers:
        """How many images are below each node, and the root as the last (M + 1)."""
        return self.counts(np.zeros_like(self.holder), 1)[:, 0]

    def order(self) -> tuple[Integers, Integers, Integers]:
        """The images (N) in an order in which those below any node stand together, and where those of
        each node, and of the root as the last, begin and end (M + 1). A node's own come before those
        of its children.
        """
        size = self.sizes()
        own = np.bincount(self.holder + 1, minlength=len(size))
        start = np.zeros(len(size), np.int64)
        following = start + np.roll(own, -1)  # where the next child of each begins
        for node in self.downwards():
            above = self.parent[node]
            start[node] = following[above]
            following[above] += size[node]
            following[node] += start[node]
        by_holder = np.argsort(self.holder, kind="stable")
        images = np.empty_like(by_holder)
        holder = self.holder[by_holder]
        rank = np.arange(len(holder)) - np.searchsorted(holder, holder)
        images[start[holder] + rank] = by_holder
        return images, start, start + size

    def lowest_common(self) -> NDArray[np.int32]:
        """The lowest common ancestor of every two images, M where it is the root (N×N)."""
        images, start, end = self.order()
        found = np.full((len(images), len(images)), len(self.parent), np.int32)
        for node in self.downwards():
            found[start[node] : end[node], start[node] : end[node]] = node
        place = np.argsort(images)
        return found[np.ix_(place, place)]


def tree_of_proxies(space: Space) -> Tree:
    """The tree that hierarchical proxies span, by the rule of the loss (paper, section 3), without noise.

    The ancestor of an image is the lowest common one of it and its reciprocal nearest neighbour: the
    proxy that the farther of the two is nearest to. The parent of a proxy is found alike among the
    proxies strictly nearer to the centre, so that there is no circle; where there are none, it is
    the root.
    """
    reach = _reach(space.between_images, space.to_proxies)
    return _hung(reach, _reach(space.between_proxies, space.between_proxies), space)


def tree_of_nearest_proxies(space: Space) -> Tree:
    """The tree without the loss's rule: each image hangs on the proxy that is nearest to it, each proxy on
    the nearest of those strictly nearer to the centre, or on the root."""
    return _hung(space.to_proxies, space.between_proxies, space)


def _hung(of_images: Array, of_proxies: Array, space: Space) -> Tree:
    """Each image and each proxy on the proxy of its row that is least (N×P, P×P)."""
    nearer = space.proxy_radius[None, :] < space.proxy_radius[:, None]
    above = np.where(nearer, of_proxies, np.inf)
    return Tree(np.where(nearer.any(1), above.argmin(1), ROOT), of_images.argmin(1))


def clustering(distances: Array) -> Tree:
    """Average linkage of N images by their distances (N×N): the last merge is the root.

    The other N − 2 merges are nodes, numbered by height, the lowest first.
    """
    images = len(distances)
    if images < 3:
        return Tree(np.full(0, ROOT), np.full(images, ROOT))
    above = np.full(2 * images - 2, ROOT)  # of the images, then of the merges
    merges = linkage(squareform(distances, checks=False), "average")[:-1, :2].astype(int)
    above[merges] = np.arange(len(merges))[:, None]
    return Tree(above[images:], above[:images])


def cut(tree: Tree, groups: int) -> Tree:
    """A clustering (see above) that is divided no further than into so many groups, or as many as it has:
    the images of a group of several all hang on its node. What lies below is left, and bears none."""
    if groups < 2:
        return Tree(tree.parent, np.full_like(tree.holder, ROOT))
    divided = len(tree.parent) - (groups - 2)  # the first of the merges that are undone, but for the root
    top = np.arange(len(tree.parent))
    for node in top[::-1]:
        if 0 <= tree.parent[node] < divided:
            top[node] = top[tree.parent[node]]
    return Tree(tree.parent, np.append(top, ROOT)[tree.holder])


def _reach(between: Array, to_candidates: Array) -> Array:
    """For N points the distance of each candidate to the farther one of point and partner (N×P).

    The partner is the nearest of the other points by `between` (N×N), if it is mutual.
    """
    if len(between) < 2:
        return to_candidates
    others = between.copy()
    np.fill_diagonal(others, np.inf)
    nearest, itself = others.argmin(1), np.arange(len(others))
    partner = np.where(nearest[nearest] == itself, nearest, itself)
    reach: Array = np.maximum(to_candidates, to_candidates[partner])
    return reach
