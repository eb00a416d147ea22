"""The disk's scene: names, colours and places against the views that they come from."""

import numpy as np
import pytest

from fakes.content import images_of
from fakes.views import nasty, tame, views_of, wide
from hier.reporting.disk_scene import COLOURED, Scene, handles


def scene_of(tmp_path, classes=8, each=10, nodes=7, kinds=None, change=None, **views):
    kinds = kinds or wide(classes)
    images = images_of("made", tmp_path, classes, each, kinds)
    made = views_of(0, classes, each, nodes, kinds=kinds, **views)
    if change:
        change(made)
    return Scene(made, images.shown(range(classes * each), "../"))


# --- names ---------------------------------------------------------------------------------------


def test_the_most_frequent_names_come_first_and_have_the_colours(tmp_path):
    def fewer(views):
        samples = views["samples"]
        kept = [i for i, row in enumerate(samples["row"]) if row >= 10 or row % 10 < 2]
        for name in samples:
            samples[name] = [samples[name][i] for i in kept]

    scene = scene_of(tmp_path, change=fewer)
    species, _, family = scene.levels
    assert species.names[-1] == "A0-0"
    assert species.images == [10] * 7 + [2]
    assert species.coloured() == species.names[:6] == ["A0-1", "B1-0", "B1-1", "C2-0", "C2-1", "D3-0"]
    assert species.others() == 2
    assert (family.names, family.images) == (["B", "C", "D", "A"], [20, 20, 20, 12])
    assert (family.coloured(), family.others()) == (["B", "C", "D", "A"], 0)
    assert [scene.mark(0, code) for code in range(8)] == [0, 1, 2, 3, 4, 5, COLOURED, COLOURED]


def test_a_name_of_a_node_alone_has_no_colour(tmp_path):
    def foreign(views):
        views["tree"]["nodes"]["label"][2][0] = "elsewhere"

    scene = scene_of(tmp_path, change=foreign)
    code = scene.codes[2]["elsewhere"]
    assert scene.levels[2].images[code] == 0
    assert scene.mark(2, code) == COLOURED


@pytest.mark.parametrize(("kinds", "by"), [(wide, "family"), (tame, "genus")])
def test_the_coarsest_level_that_tells_images_apart_gives_the_colours(tmp_path, kinds, by):
    scene = scene_of(tmp_path, kinds=kinds(8))
    assert scene.levels[scene.coloured_by].title == by


def test_an_image_with_a_shorter_path_is_at_its_last_name_on_the_levels_above(tmp_path):
    scene = scene_of(tmp_path)
    scene.images[3]["names"] = ["x", "A"]
    assert scene.names[3] == ["x", "A", "A"]


# --- places --------------------------------------------------------------------------------------


def below(scene, node):
    """Positions of the drawn images below a node, from the views alone."""
    parents, nodes = scene.views["samples"]["parent"], scene.views["tree"]["nodes"]["parent"]
    found = []
    for image, parent in enumerate(parents):
        while parent is not None and parent != node:
            parent = nodes[parent]
        if parent == node:
            found.append(image)
    return found


def test_proxies_are_where_the_views_say(tmp_path):
    scene = scene_of(tmp_path)
    nodes = scene.views["tree"]["nodes"]
    assert scene.spots.real.tolist() == nodes["x"]
    assert scene.spots.imag.tolist() == nodes["y"]


def test_clusters_are_toward_their_images_and_nearer_the_centre_the_more_they_hold(tmp_path):
    scene = scene_of(tmp_path, tree="clustering", nodes=15)
    nodes = scene.views["tree"]["nodes"]
    for node, spot in enumerate(scene.spots[1:], start=1):
        mean = scene.points[below(scene, node)].sum()
        assert np.angle(spot / mean) == pytest.approx(0.0, abs=1e-9)
        assert nodes["count"][node] < nodes["count"][nodes["parent"][node]]
        assert abs(spot) > abs(scene.spots[nodes["parent"][node]])
    assert abs(scene.spots).max() < 0.92


def test_what_has_no_image_on_the_disk_is_left_out_and_its_children_hang_above_it(tmp_path):
    def gone(views):
        nodes = views["tree"]["nodes"]
        for name in ("x", "y"):
            nodes[name][1] = None
        views["samples"]["parent"] = [0 if p in (1, 3, 4) else p for p in views["samples"]["parent"]]
        nodes["x"][3], nodes["y"][3] = 0.5, 0.25  # below node 1

    scene = scene_of(tmp_path, change=gone)
    assert scene.drawn.tolist() == [True, False, True, True, True, True, True]
    assert scene.node_edges[3][[0, -1]].tolist() == [0.5 + 0.25j, scene.spots[0]]
    assert scene.data()["nodes"]["place"][1] is None
    assert scene.data()["nodes"]["place"][3] == (500, -250)


def test_edges_lead_from_each_image_and_node_to_the_one_above(tmp_path):
    scene = scene_of(tmp_path)
    held, curves = scene.sample_edges
    assert held == scene.views["samples"]["parent"]
    assert curves[:, 0].tolist() == scene.points.tolist()
    assert curves[:, 3].tolist() == scene.spots[held].tolist()
    assert scene.node_edges[0, 3] == 0
    parents = scene.views["tree"]["nodes"]["parent"][1:]
    assert scene.node_edges[1:, 3].tolist() == scene.spots[parents].tolist()
    assert np.stack(handles(curves[:, 0], curves[:, 3]), axis=1).tolist() == curves[:, 1:3].tolist()


# --- for scripts, and in words -------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [wide(8), nasty(8)], ids=["wide", "nasty"])
def test_scripts_find_the_names_of_every_picture(tmp_path, kinds):
    scene = scene_of(tmp_path, kinds=kinds)
    data = scene.data()
    codes = {row: kind["codes"] for kind in data["kinds"] for row in kind["rows"]}
    nodes = scene.views["tree"]["nodes"]
    assert set(codes) == {*data["samples"]["row"], *(row for rows in nodes["rows"] for row in rows)}
    for row, found in codes.items():
        names = [level["names"][code] for level, code in zip(data["levels"], found, strict=True)]
        assert names == scene.images[row]["names"]
    for level, (labels, wanted) in enumerate(zip(data["nodes"]["label"], nodes["label"], strict=True)):
        assert [data["levels"][level]["names"][code] for code in labels] == wanted
    assert data["thumbs"] == "../thumbs/made/"
    assert data["bare"] == []


def test_scripts_know_what_has_no_thumbnail(tmp_path):
    scene = scene_of(tmp_path)
    for row in (3, 5):
        scene.images[row]["thumb"] = None
    assert scene.data()["bare"] == [3, 5]


def test_the_words_count_neighbours_of_the_same_name(tmp_path):
    scene = scene_of(tmp_path)
    points, same = scene.points, []
    for i, point in enumerate(points):
        apart = np.abs(points - point)
        apart[i] = np.inf
        neighbour = scene.rows[int(apart.argmin())]
        same.append(scene.images[scene.rows[i]]["names"][2] == scene.images[neighbour]["names"][2])
    assert 0 < scene.beside(2) == np.mean(same) < 1
    assert f"{100 * np.mean(same):.0f} % by family" in scene.describe()
    assert "rim" not in scene.describe()


def test_the_words_say_when_all_images_are_at_one_distance(tmp_path):
    scene = scene_of(tmp_path, rim=True)
    assert "only their directions on the rim tell them apart" in scene.describe()


@pytest.mark.parametrize("images", [0, 1])
def test_there_may_be_hardly_an_image(tmp_path, images):
    def few(views):
        for name, values in views["samples"].items():
            views["samples"][name] = values[:images]

    scene = scene_of(tmp_path, change=few)
    assert scene.beside(0) is None
    assert len(scene.data()["samples"]["place"]) == images
