"""The outline: every node once, below the one above it, the larger ones first."""

import pytest

from fakes.content import content_of
from fakes.reader import read
from fakes.views import views_of, wide
from hier.reporting.disk_scene import DEEPEST, outline
from hier.reporting.site import write_report

from .test_disk_scene import scene_of


def nested(entries):
    """Each node's parent as the lists are nested."""
    above, parents, last = [], {}, None
    for entry in entries:
        parents[entry.node] = above[-1] if above else None
        last = entry.node
        if entry.opens:
            above.append(last)
        for _ in range(entry.closes):
            above.pop()
    assert above == []
    return parents


@pytest.mark.parametrize("nodes", [1, 2, 7, 20])
def test_the_lists_are_nested_as_the_tree_is(tmp_path, nodes):
    scene = scene_of(tmp_path, nodes=nodes)
    entries = outline(scene)
    assert nested(entries) == dict(enumerate(scene.views["tree"]["nodes"]["parent"]))
    assert [entry.depth for entry in entries] == [
        scene.views["tree"]["nodes"]["depth"][entry.node] for entry in entries
    ]


def test_of_the_nodes_below_one_the_larger_come_first(tmp_path):
    scene = scene_of(tmp_path, nodes=20)
    entries, counts = outline(scene), scene.views["tree"]["nodes"]["count"]
    siblings = {}
    for node, parent in nested(entries).items():
        siblings.setdefault(parent, []).append(counts[node])
    assert all(found == sorted(found, reverse=True) for found in siblings.values())
    assert max(len(found) for found in siblings.values()) > 1


def test_a_chain_is_nested_only_so_deep(tmp_path):
    """HTML parsers and eyes give up; Python's recursion would, too."""

    def chain(views):
        nodes = views["tree"]["nodes"]
        nodes["parent"] = [None, *range(len(nodes["parent"]) - 1)]
        nodes["depth"] = [n + 1 for n in range(len(nodes["parent"]))]

    scene = scene_of(tmp_path, each=200, nodes=500, change=chain)
    entries = outline(scene)
    assert [entry.node for entry in entries] == list(range(500))
    assert [entry.depth for entry in entries] == list(range(1, 501))
    assert sum(entry.opens for entry in entries) == DEEPEST - 1
    nested(entries)


def test_a_tree_may_have_several_roots_or_none(tmp_path):
    def flat(views):
        views["tree"]["nodes"]["parent"] = [None] * 7

    entries = outline(scene_of(tmp_path, change=flat))
    assert sorted(nested(entries).items()) == [(n, None) for n in range(7)]


def test_the_page_shows_it_with_counts_and_shares(suite, tmp_path):
    kinds = wide(6)
    report = tmp_path / "report"
    report.mkdir()
    write_report(report, content_of(suite, tmp_path, kinds=kinds))
    run = "smoke-hier-test_resnet-16-s0"
    number = list(suite.runs).index(run)
    nodes = views_of(number, 6, 5, kinds=kinds)["tree"]["nodes"]
    page = read(report / "runs" / f"{run}.html")
    (top,) = page.one("section", aria_labelledby="hierarchy").all("ul", class_="tree opens")
    seen = {}
    for item in top.all("li"):
        n = int(item.attributes["data-n"])
        (details,) = item.children
        seen[n] = details.children[0].words
        for inner in details.children[1:]:
            for child in inner.children:
                assert nodes["parent"][int(child.attributes["data-n"])] == n
    assert seen == {
        n: f"{name} {nodes['count'][n]} images "
        + ", ".join(
            f"{nodes['label'][level][n]} {100 * nodes['purity'][level][n]:.0f} %" for level in (2, 1, 0)
        )
        for n, name in enumerate(nodes["name"])
    }
