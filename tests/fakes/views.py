"""A run's views.json, made up: images around the disk by class, a tree whose counts, names and shares
are those of the images below its nodes, queries with neighbours that are right and wrong.

Row r is image r % each of class r // each.
"""

from typing import Any

import numpy as np

Kinds = list[tuple[str, str]]  # class name and super-class of each class
Views = dict[str, Any]

NASTY = (
    "<script>alert(1)</script>", "a & b", '"quoted" and \'so\'', "</script><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}", "_leading", "$x^2$", "名前", "Ünïcödé 🦉", "a" * 120, "a name with\ttabs", "#%?&=+ .webp",
)  # fmt: skip


def tame(classes: int) -> Kinds:
    """Two classes in each genus of one family."""
    return [(f"A{k // 2}-{k % 2}", f"A/A{k // 2}") for k in range(classes)]


def wide(classes: int) -> Kinds:
    """Four families, as many genera in each as it takes."""
    family = ["ABCD"[4 * k // classes] for k in range(classes)]
    return [(f"{f}{k // 2}-{k % 2}", f"{f}/{f}{k // 2}") for k, f in enumerate(family)]


def nasty(classes: int) -> Kinds:
    """Names that break what does not escape them, in the class and above it."""
    return [
        (f"{NASTY[k % len(NASTY)]}{k // len(NASTY) or ''}", f"{NASTY[k % 5].replace('/', '')}/x")
        for k in range(classes)
    ]


def views_of(
    seed: int,
    classes: int,
    each: int,
    nodes: int = 5,
    most: int = 600,
    kinds: Kinds | None = None,
    tree: str = "proxies",
    rim: bool = False,
) -> Views:
    """A views.json.

    Args:
        seed: of a run; the images drawn and the shared queries are those of every seed.
        classes: of the dataset.
        each: images of a class.
        nodes: of the tree, in which node i hangs below node (i − 1) // 2.
        most: images on the disk.
        kinds: of the classes.
        tree: "proxies" or "clustering", whose nodes have no place.
        rim: all images at one distance from the origin.
    """
    random, n = np.random.default_rng(seed), classes * each
    names = [_levels(*kind) for kind in kinds or tame(classes)]
    of = np.repeat(np.arange(classes), each)
    rows = np.sort(np.random.default_rng(0).permutation(n)[:most])
    angle = 2 * np.pi * (np.arange(n) / n + random.normal(0, 0.3 / classes, n))
    radius = np.ones(n) if rim else random.uniform(0.7, 1.0, n)
    points = radius * np.exp(1j * angle)
    parents = [None, *((i - 1) // 2 for i in range(1, nodes))]
    held = _held(random, n, parents)
    return {
        "levels": ["species", "genus", "family"],
        "samples": {
            "row": rows.tolist(),
            "x": points.real[rows].round(4).tolist(),
            "y": points.imag[rows].round(4).tolist(),
            "parent": held[rows].tolist(),
            "radius": radius[rows].round(4).tolist(),
        },
        "tree": {
            "kind": tree,
            **({"unused": 2} if tree == "proxies" else {}),
            "nodes": _nodes(tree, parents, held, points, [names[k] for k in of]),
        },
        "projection": {"method": "Made up.", "trustworthiness": 0.5},
        "galleries": _galleries(random, [name[0] for name in names], of, each),
    }


def _levels(class_name: str, superclass: str) -> list[str]:
    """As hier.reporting.thumbs.names_of."""
    family = superclass.split("/")[0]
    return [class_name, superclass, family]


def _held(random: np.random.Generator, n: int, parents: list[int | None]) -> np.ndarray:
    """The lowest node above each image: leaves in the order of the rows, now and then any node."""
    leaves = sorted(set(range(len(parents))) - set(parents))
    held = np.array(leaves)[np.arange(n) * len(leaves) // n]
    anywhere = random.random(n) < 0.1
    held[anywhere] = random.integers(0, len(parents), anywhere.sum())
    return held


def _nodes(
    tree: str,
    parents: list[int | None],
    held: np.ndarray,
    points: np.ndarray,
    names: list[list[str]],
) -> dict[str, list[Any]]:
    below: list[list[int]] = [[] for _ in parents]
    for image, node in enumerate(held.tolist()):
        while node is not None:
            below[node].append(image)
            node = parents[node]
    kept = [i for i, images in enumerate(below) if images]
    assert kept == list(range(len(parents))), "more nodes than there are images for"
    depth = [1]
    for parent in parents[1:]:
        depth.append(depth[parent] + 1)
    noun = "proxy" if tree == "proxies" else "cluster"
    found: dict[str, list[Any]] = {
        "name": [f"{noun} {3 * i}" for i in kept],
        "parent": parents,
        "depth": depth,
        "count": [len(images) for images in below],
        "rows": [images[:: max(1, len(images) // 24)][:24] for images in below],
        "label": [],
        "purity": [],
        "x": [None] * len(parents),
        "y": [None] * len(parents),
        "radius": [None] * len(parents),
    }
    for level in range(3):
        counted = [np.unique([names[i][level] for i in b], return_counts=True) for b in below]
        found["label"].append([str(name[count.argmax()]) for name, count in counted])
        shares = [float(count.max() / count.sum()) for _, count in counted]
        found["purity"].append([round(share, 4) for share in shares])
    if tree == "proxies":
        radius = [round(0.15 + 0.7 * d / max(depth), 4) for d in depth]
        toward = [points[images].sum() for images in below]
        spots = [r * t / abs(t) for r, t in zip(radius, toward, strict=True)]
        found["x"] = [round(float(spot.real), 4) for spot in spots]
        found["y"] = [round(float(spot.imag), 4) for spot in spots]
        found["radius"] = radius
    return found


def _galleries(random: np.random.Generator, names: list[str], of: np.ndarray, each: int) -> dict[str, Any]:
    """Queries: half of the neighbours are of the query's class, in some order."""
    n = len(of)
    shared = np.random.default_rng(1).permutation(n)[:24]
    queries = [_query(random, int(row), of, each) for row in shared]
    others = [_query(random, int(row), of, each) for row in random.permutation(n)[:200]]
    worst = [query for query in others if not query["correct"]][:12]
    pairs: dict[tuple[str, str], int] = {}
    for query in worst:
        pair = names[of[query["row"]]], names[of[query["neighbours"][0]["row"]]]
        pairs[pair] = pairs.get(pair, 0) + 1
    confusions = [
        {"class": one, "taken_for": other, "count": count, "of": each}
        for (one, other), count in sorted(pairs.items(), key=lambda item: -item[1])
    ]
    return {"shared": queries, "worst": worst, "confusions": confusions}


def _query(random: np.random.Generator, row: int, of: np.ndarray, each: int) -> dict[str, Any]:
    own = [r for r in np.flatnonzero(of == of[row]) if r != row][:4]
    other = random.permutation(np.flatnonzero(of != of[row]))[: 8 - len(own)]
    found = random.permutation([*own, *other])
    neighbours = [
        {"row": int(r), "distance": round(0.1 * i, 4), "correct": bool(of[r] == of[row])}
        for i, r in enumerate(found, start=1)
    ]
    return {"row": row, "correct": neighbours[0]["correct"], "neighbours": neighbours}
