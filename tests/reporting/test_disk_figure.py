"""The disk as a figure: whole, the same bytes each time, and safe whatever classes are called."""

from xml.etree import ElementTree

import pytest

from fakes.views import nasty
from hier.reporting.disk_figure import COLOURS, disk_svg

from .test_disk_scene import scene_of

SVG = "{http://www.w3.org/2000/svg}"


def drawn(scene, run="run"):
    return ElementTree.fromstring(disk_svg(scene, run))


def test_the_same_scene_gives_the_same_bytes_and_another_gives_others(tmp_path):
    one, same, other = (scene_of(tmp_path, rim=rim) for rim in (False, False, True))
    assert disk_svg(one, "run") == disk_svg(same, "run") != disk_svg(other, "run")


@pytest.mark.parametrize("tree", ["proxies", "clustering"])
def test_the_svg_holds_every_image_node_and_edge(tmp_path, tree):
    scene = scene_of(tmp_path, tree=tree)
    root = drawn(scene)
    places = [
        (int(use.get("x")), int(use.get("y")))
        for group in root.findall(f"{SVG}g")
        for use in group.findall(f"{SVG}use")
    ]
    wanted = [(round(1000 * p.real), round(-1000 * p.imag)) for p in scene.points]
    assert sorted(places) == sorted(wanted)
    circles = [c for g in root.findall(f"{SVG}g") for c in g.findall(f"{SVG}circle")]
    assert len(circles) == 7
    twigs, branches, _ = (path.get("d") for path in root.findall(f"{SVG}path"))
    assert (twigs.count("M"), branches.count("M")) == (80, 7)
    dashes = [path.get("stroke-dasharray") for path in root.findall(f"{SVG}path")]
    assert (dashes[1] is None) == (tree == "proxies")


def test_an_image_has_the_colour_and_shape_of_its_name(tmp_path):
    scene = scene_of(tmp_path)
    for shape, group in enumerate(drawn(scene).findall(f"{SVG}g")[:4]):
        assert group.get("fill") == COLOURS[shape]
        uses = group.findall(f"{SVG}use")
        assert {use.get("{http://www.w3.org/1999/xlink}href") for use in uses} == {f"#m{shape}"}
        assert len(uses) == scene.levels[2].images[shape]


def test_the_path_of_an_edge_leads_to_the_node(tmp_path):
    scene = scene_of(tmp_path)
    first = drawn(scene).findall(f"{SVG}path")[0].get("d").split("M")[1]
    start, steps = first.split("c")
    *_, right, down = (int(number) for number in steps.replace("-", " -").split())
    x, y = (int(number) for number in start.replace("-", " -").split())
    held = scene.views["samples"]["parent"][0]
    spot = scene.spots[held]
    assert (x + right, y + down) == (round(1000 * spot.real), round(-1000 * spot.imag))


def test_legends_hold_any_name_as_it_is(tmp_path):
    kinds = [*nasty(5), ("bell\x07", "x\x00/y")]
    scene = scene_of(tmp_path, classes=6, kinds=kinds)
    root = drawn(scene, "run & <run>")
    texts = [text.text for text in root.findall(f"{SVG}text")]
    named = [name if len(name) <= 32 else name[:31] + "…" for name in scene.levels[2].coloured()]
    assert texts == [*(name.replace("\x00", "�") for name in named), "proxy"]
    assert any("<script>" in text for text in texts)
    assert root.find(f"{SVG}title").text == "Poincaré disk of run & <run>"


def test_a_tree_without_nodes_is_drawn(tmp_path):
    def bare(views):
        nodes = views["tree"]["nodes"]
        for name in nodes:
            nodes[name] = [[] for _ in nodes[name]] if name in ("label", "purity") else []
        views["samples"]["parent"] = [None] * len(views["samples"]["row"])

    scene = scene_of(tmp_path, change=bare)
    assert drawn(scene).findall(f"{SVG}path")[1].get("d") == ""
