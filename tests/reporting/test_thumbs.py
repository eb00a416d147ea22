"""Thumbnails: the images themselves, small, once each, and the most important where there are too many."""

import numpy as np
from PIL import Image

from fakes.content import images_of
from fakes.views import views_of
from hier.reporting.thumbs import MOST, SIDE, by_importance, names_of, select_thumbnails


def test_a_thumbnail_is_its_image_made_small(tmp_path):
    images = images_of("made", tmp_path, classes=2, each=3)
    images.rows = [0, 4]
    images.write(tmp_path)
    files = sorted((tmp_path / "thumbs" / "made").iterdir())
    assert [file.name for file in files] == ["0.webp", "4.webp"]
    for file in files:
        shown = Image.open(file)
        assert shown.format == "WEBP"
        assert shown.size == (SIDE, SIDE)
        row = int(file.stem)
        own, other = (
            np.asarray(Image.fromarray(images.store[r]).resize(shown.size), dtype=float) for r in (row, 5)
        )
        off = np.abs(np.asarray(shown.convert("RGB"), dtype=float) - own).mean()
        assert off < 12 < np.abs(other - own).mean()


def test_the_same_pixels_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        images_of("made", tmp_path, 2, 3).write(tmp_path / name)
    files = [sorted((tmp_path / name / "thumbs" / "made").iterdir()) for name in ("a", "b")]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


def test_a_page_finds_its_picture_path_and_names(tmp_path):
    images = images_of("made", tmp_path, classes=2, each=3)
    images.rows = [4]
    assert images.shown([4, 0, 4], "../") == {
        0: {"thumb": None, "image": "images/0/0.jpg", "names": ["A0-0", "A/A0", "A"]},
        4: {
            "thumb": "../thumbs/made/4.webp",
            "image": "images/1/4.jpg",
            "names": ["A0-1", "A/A0", "A"],
        },
    }


def test_names_go_from_the_class_up():
    assert names_of("A1-2", "A/A1") == ["A1-2", "A/A1", "A"]
    assert names_of("owl", "bird") == ["owl", "bird"]
    assert names_of("owl", None) == ["owl"]


def test_all_rows_are_shown_where_there_is_room_and_else_the_most_important():
    views = [views_of(seed, classes=100, each=10, nodes=64, most=100) for seed in range(3)]
    every = set(by_importance(views))
    assert set(select_thumbnails(views, 1)) == every
    of = views[0]
    queries = {q["row"] for each in views for kind in ("shared", "worst") for q in each["galleries"][kind]}
    nearest = {
        q["neighbours"][0]["row"]
        for each in views
        for kind in ("shared", "worst")
        for q in each["galleries"][kind]
    }
    most = 500
    few = select_thumbnails(views, MOST // most)
    assert len(few) == len(set(few)) == most
    assert queries | nearest | set(of["samples"]["row"]) <= set(few)
    assert set(few) < every
    assert few == select_thumbnails(views, MOST // most)
