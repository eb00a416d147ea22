"""views.json and the hierarchy of metrics.json: their shape, and cases that are easily forgotten."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes.trees import index_of
from hier.config.compose import compose
from hier.config.dataset import Generate
from hier.data.demo import leaves
from hier.evaluation.hierarchy import trees
from hier.evaluation.hierarchy.levels import levels_of
from hier.evaluation.hierarchy.trees import Trees
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.evaluation.views import views as module
from hier.geometry.poincare import exp0
from hier.results.measures import TREES, computed
from hier.stages.views import compact

CONF = Path(__file__).parents[3] / "conf"
C, CLIP = 0.1, 2.3
TITLES = ["class", "genus", "family"]
FLAT = ["head.curvature=0.0", "evaluate.metric=cosine"]
SETTINGS = {
    "pa": [],
    "hier": [],
    "euclidean": [*FLAT, "regularizer.geometry=euclidean"],
    "spherical": [*FLAT, "regularizer.geometry=spherical"],
}


def run_of(kind):
    method = "pa" if kind == "pa" else "hier"
    suite = compose(["suite=smoke", f"methods=[{method}]", *SETTINGS[kind]], CONF)
    return next(iter(suite.runs.values()))


def names(classes):
    return [f"A/A{label % 2}" if label < 4 else f"B/B{label % 2}" for label in classes]


def made(images=48, classes=8, dim=16, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    points = rng.normal(size=(images, dim)) + 2 * rng.normal(size=(classes, dim))[labels]
    return torch.tensor(points).float(), [f"class {label}" for label in labels], names(labels)


def proxies(number=8, dim=16):
    return torch.randn(number, dim, generator=torch.Generator().manual_seed(0)) * 0.5


class Views:
    """What is drawn of a run, and what is measured of its trees."""

    def __init__(self, points, index, rows, levels, run, tangents):
        self.retrieval, self.rows, self.levels = Retrieval(points, index, run), rows, levels
        self.trees = Trees(points, rows, levels, run, tangents)

    def views(self):
        return module.views(self.retrieval, self.rows, self.levels, self.trees)

    def hierarchy(self):
        return self.trees.metrics(lambda tree: computed(TREES, tree))


def views_of(kind, points, classes, superclasses, titles=TITLES):
    run = run_of(kind)
    if run.head.curvature:
        points = exp0(points, C, CLIP)
    index = index_of(classes, superclasses)
    levels = levels_of(index, titles, "made")
    rows = np.arange(len(index)) + 100
    tangents = None if kind == "pa" else proxies(dim=points.shape[1])
    return Views(points, index, rows, levels, run, tangents)


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_views_are_as_agreed(kind):
    seen = views_of(kind, *made()).views()
    assert set(seen) == {"levels", "samples", "tree", "projection", "galleries"}
    assert seen["levels"] == TITLES
    samples, tree = seen["samples"], seen["tree"]
    assert sorted(samples["row"]) == list(range(100, 148))
    assert {len(samples[name]) for name in ("x", "y", "parent", "radius")} == {48}
    drawn = np.hypot(samples["x"], samples["y"])
    assert drawn == pytest.approx(np.array(samples["radius"]), abs=2e-4)
    assert drawn.max() <= 1 + 1e-4
    nodes = tree["nodes"]
    number = len(nodes["name"])
    assert len(set(nodes["name"])) == number > 0
    for name in ("parent", "depth", "x", "y", "radius", "count", "rows"):
        assert len(nodes[name]) == number, name
    for name in ("label", "purity"):
        assert [len(each) for each in nodes[name]] == [number] * 3, name
    assert all(0 < share <= 1 for shares in nodes["purity"] for share in shares)
    assert all(place is None or 0 <= place < number for place in samples["parent"])
    assert set().union(*nodes["rows"]) <= set(samples["row"])
    if kind == "pa":
        assert (tree["kind"], set(tree)) == ("clustering", {"kind", "nodes"})
        assert nodes["x"] == nodes["y"] == nodes["radius"] == [None] * number
    else:
        assert tree["kind"] == "proxies"
        assert number + tree["unused"] == 8
        at = np.hypot(nodes["x"], nodes["y"])
        assert at == pytest.approx(np.array(nodes["radius"]), abs=2e-4)
        for child, parent in enumerate(nodes["parent"]):
            assert parent is None or nodes["radius"][parent] <= nodes["radius"][child]
    assert 0 < seen["projection"]["trustworthiness"] <= 1


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_counts_and_parents_agree(kind):
    """Every image shown hangs on a node, whose count and whose ancestors' counts hold it."""
    seen = views_of(kind, *made()).views()
    nodes, held = seen["tree"]["nodes"], [0] * len(seen["tree"]["nodes"]["name"])
    for place in seen["samples"]["parent"]:
        steps = 0
        while place is not None:
            held[place] += 1
            place, steps = nodes["parent"][place], steps + 1
            assert steps <= len(held)
    assert held == nodes["count"]


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_the_same_run_gives_the_same_bytes(kind):
    one, other = (views_of(kind, *made()) for _ in range(2))
    assert compact(one.views()) == compact(other.views())
    assert json.dumps(one.hierarchy()) == json.dumps(other.hierarchy())


def test_every_run_of_a_dataset_shows_the_same_rows(monkeypatch):
    monkeypatch.setattr(trees, "MEASURED", 30)
    monkeypatch.setattr(module, "SHOWN", 20)
    points, *named = made()
    one, other = views_of("pa", points, *named), views_of("hier", -2 * points.flip(0), *named)
    rows = one.views()["samples"]["row"]
    assert rows == other.views()["samples"]["row"]
    assert sorted(np.bincount([(row - 100) % 8 for row in rows], minlength=8).tolist())[:3] == [
        0,
        0,
        0,
    ]
    assert len(rows) == 20  # of 5 classes, 4 of each
    assert other.hierarchy()["images"] == 30


def test_what_is_known_only_of_classes_has_no_correlation():
    points, classes, _ = made()
    views = views_of("hier", points, classes, [None] * 48, ["class"])
    hierarchy = views.hierarchy()
    for kind in ("proxies", "clustering"):
        assert set(hierarchy[kind]) == {"dendrogram_purity", "purity_by_depth"}
        assert list(hierarchy[kind]["dendrogram_purity"]) == ["class"]
    nodes = views.views()["tree"]["nodes"]
    assert len(nodes["label"]) == len(nodes["purity"]) == 1


@pytest.mark.parametrize("kind", ["pa", "hier"])
def test_one_class_has_no_hierarchy_and_can_be_seen(kind):
    points, _, _ = made(12)
    views = views_of(kind, points, ["only"] * 12, ["A/A1"] * 12)
    assert views.hierarchy() is None
    seen = views.views()
    assert seen["galleries"]["worst"] == seen["galleries"]["confusions"] == []
    assert {share for shares in seen["tree"]["nodes"]["purity"] for share in shares} == {1.0}


@pytest.mark.parametrize("kind", ["pa", "hier"])
@pytest.mark.parametrize("images", [1, 2, 3])
def test_a_handful_of_images(kind, images):
    points, classes, superclasses = made(images)
    views = views_of(kind, points, classes, superclasses)
    assert views.hierarchy() is None  # no two are of one class
    seen = views.views()
    assert len(seen["samples"]["row"]) == images
    assert (seen["projection"]["trustworthiness"] is None) == (images < 3)
    json.loads(compact(seen))


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_equal_embeddings_are_no_trouble(kind):
    points, classes, superclasses = made()
    views = views_of(kind, points[:1].repeat(48, 1), classes, superclasses)
    found = views.hierarchy()
    json.loads(compact(views.views()))
    for tree in found.keys() & {"proxies", "clustering"}:
        assert found[tree]["dendrogram_purity"]["class"]["value"] < 60
    if kind != "pa":  # all images have one ancestor
        assert found["proxies"]["lca_spearman"]["value"] == 0.0
        assert found["proxies"]["dendrogram_purity"]["class"]["value"] == pytest.approx(12.5)


def test_a_class_named_like_a_tag_keeps_its_name():
    points, classes, _ = made()
    tag = "<script>alert('ä')</script>"
    classes = [tag if name == "class 0" else name for name in classes]
    text = compact(views_of("hier", points, classes, [None] * 48, ["class"]).views())
    seen = json.loads(text)
    assert tag in seen["tree"]["nodes"]["label"][0]
    assert tag in text  # as it is: who shows it escapes it


def test_proxies_that_are_the_demos_own_tree_are_found_to_be_it():
    """Each node a step from its parent in a direction of its own; images close to their species."""
    generate = Generate(seed=0, branching=[4, 4, 4], images_per_class=4, size=64)
    paths = [leaf.path for leaf in leaves(generate)]
    nodes = sorted({path[:k] for path in paths for k in (1, 2, 3)})
    steps = np.eye(len(nodes)) * [1.5 * 0.62 ** (len(path) - 1) for path in nodes]
    place = {p: sum(steps[nodes.index(p[:k])] for k in range(1, len(p) + 1)) for p in nodes}
    rng = np.random.default_rng(0)
    images = np.array([place[path] for path in paths for _ in range(4)])
    images += 0.01 * rng.normal(size=images.shape)
    named = [leaf for leaf in leaves(generate) for _ in range(4)]
    index = index_of([leaf.names[-1] for leaf in named], [leaf.superclass for leaf in named])
    run = run_of("hier")
    points = exp0(torch.tensor(images), C, CLIP)
    views = Views(
        points, index, np.arange(256), levels_of(index, TITLES, "demo"), run,
        torch.tensor(np.array([place[path] for path in nodes])),
    )  # fmt: skip
    found = views.hierarchy()
    perfect = {"value": 100.0, "low": 100.0, "high": 100.0}
    for kind in ("proxies", "clustering"):
        assert list(found[kind]["dendrogram_purity"].values()) == [perfect] * 3
    assert found["proxies"]["lca_spearman"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert [row["nodes"] for row in found["proxies"]["purity_by_depth"]] == [4, 16, 64]
    seen = views.views()["tree"]["nodes"]
    parent = [None if len(path) == 1 else nodes.index(path[:-1]) for path in nodes]
    assert seen["parent"] == parent
