"""Small trees of images with known levels, and the same found the slow way."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from hier.evaluation.hierarchy.levels import Levels
from hier.evaluation.hierarchy.tree import ROOT, Tree


def index_of(classes, superclasses, splits=None):
    """An index with the columns that evaluation reads; classes and super-classes by image."""
    return pd.DataFrame(
        {
            "label": np.unique(np.array(classes, dtype=str), return_inverse=True)[1],
            "class_name": pd.Series(classes, dtype=object),
            "superclass": pd.Series(superclasses, dtype=object),
            "split": splits if splits is not None else "test",
        }
    )


def levels_by(codes):
    """Levels from L×N numbers, the finest first; titles and names are made up."""
    codes = np.array(codes, np.int64)
    dense = [np.unique(row, return_inverse=True)[1] for row in codes]
    names = [[f"{i}.{n}" for n in range(row.max() + 1)] for i, row in enumerate(dense)]
    return Levels([f"level {i}" for i in range(len(codes))], np.stack(dense), names)


@st.composite
def trees(draw, most_images=14, most_nodes=8):
    """A tree of any shape, nodes without images included, in any order of numbers."""
    nodes = draw(st.integers(0, most_nodes))
    images = draw(st.integers(2, most_images))
    above = [draw(st.integers(ROOT, node - 1)) for node in range(nodes)]
    number = draw(st.permutations(range(nodes)))
    parent = np.full(nodes, ROOT)
    for node, up in enumerate(above):
        parent[number[node]] = ROOT if up == ROOT else number[up]
    holder = [draw(st.integers(ROOT, nodes - 1)) for _ in range(images)]
    return Tree(parent, np.array(holder, np.int64))


@st.composite
def trees_with_levels(draw, most_levels=3):
    """A tree and nested levels of its images, two of which are of one class."""
    tree = draw(trees())
    images = len(tree.holder)
    classes = draw(st.lists(st.integers(0, 5), min_size=images, max_size=images))
    classes[1] = classes[0]
    codes = [classes]
    for _ in range(draw(st.integers(1, most_levels)) - 1):
        above = draw(st.lists(st.integers(0, 3), min_size=6, max_size=6))
        codes.append([above[code] for code in codes[-1]])
    return tree, levels_by(codes)


def path_up(tree, image):
    """The nodes above an image, the lowest first, and the root as the number of nodes."""
    path, node = [], tree.holder[image]
    while node != ROOT:
        path.append(int(node))
        node = tree.parent[node]
    return [*path, len(tree.parent)]


def below(tree, node):
    """The images below a node, or below the root as the number of nodes."""
    return [image for image in range(len(tree.holder)) if node in path_up(tree, image)]


def lowest_common(tree, one, other):
    """The first node above an image that is above another one, too."""
    others = path_up(tree, other)
    return next(node for node in path_up(tree, one) if node in others)
