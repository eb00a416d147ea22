"""The report as a folder: pages that agree with the table, open from disk and ask nobody."""

import json
import re
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest

from fakes.content import TABLES, cells_of, content_of, images_of, metrics_of, tree_of
from fakes.reader import read, rows_of
from fakes.views import views_of
from hier.config.compose import compose
from hier.config.settings import Settings
from hier.files.hashing import Hasher
from hier.reporting.site import write_report
from hier.reporting.thumbs import select_thumbnails

from .conftest import CONF

HIER = "smoke-hier-test_resnet-16-s0"
PA = "smoke-pa-test_resnet-16-s0"
UNTRAINED = "smoke-untrained-test_resnet-16-s0"
NAN = float("nan")
NODES = {"proxies": 512, "clustering": 63}  # the most that there can be
ADDRESSES = {
    "href",
    "src",
    "srcset",
    "action",
    "data",
    "poster",
    "formaction",
    "cite",
    "background",
}


def written(suite, folder, **changes):
    (folder / "report").mkdir()
    write_report(folder / "report", content_of(suite, folder, **changes))
    return folder / "report"


def pages(report):
    return sorted(report.rglob("*.html"))


# --- the folder ----------------------------------------------------------------------------------


def test_the_same_content_gives_the_same_bytes(suite, report, tmp_path):
    assert Hasher(deep=True)(written(suite, tmp_path)) == Hasher(deep=True)(report)


def test_other_content_gives_other_bytes(suite, report, tmp_path):
    cells = cells_of(suite)
    cells.loc[0, "value"] += 0.01
    assert Hasher(deep=True)(written(suite, tmp_path, cells=cells)) != Hasher(deep=True)(report)


def test_there_is_a_page_for_the_table_each_run_and_each_datasets_galleries(suite, report):
    names = [page.relative_to(report).as_posix() for page in pages(report)]
    assert names == [
        "galleries/smoke.html",
        "index.html",
        *sorted(f"runs/{n}.html" for n in suite.runs),
    ]
    assert sorted(p.name for p in (report / "tables").iterdir()) == sorted(TABLES)
    figures = sorted(p.name for p in (report / "figures").glob("*-curves.svg"))
    assert figures == [f"{HIER}-curves.svg", f"{PA}-curves.svg"]


def test_every_library_has_its_licence_beside_it(report):
    vendored = {path.name for path in (report / "assets" / "vendor").iterdir()}
    assert vendored == {"d3.min.js", "d3.LICENSE", "plot.umd.min.js", "plot.LICENSE"}


def test_every_address_leads_to_a_file_of_the_folder(report):
    seen = 0
    for page in pages(report):
        root = read(page)
        names = {element.attributes.get("id") for element in root.all()}
        for element in root.all():
            for address in ADDRESSES & element.attributes.keys():
                value = element.attributes[address]
                if value == "data:,":  # an empty icon, so that none is asked for
                    continue
                parts = urlsplit(value)
                assert parts[:2] == ("", ""), (page, value)
                target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
                assert target.is_file(), (page, value)
                assert target.is_relative_to(report.resolve()), (page, value)
                if parts.fragment and target == page:
                    assert parts.fragment in names, (page, value)
                seen += 1
    assert seen > 60


def test_nothing_is_asked_of_the_network(report):
    for page in pages(report):
        root = read(page)
        for tag in ("iframe", "base", "object", "embed"):
            assert not any(root.all(tag))
        for element in root.all():
            assert not any(name.startswith("on") for name in element.attributes), page
        for script in root.all("script"):
            assert script.attributes.keys() in ({"src"}, {"type", "id"})
            assert script.attributes.get("type") in (None, "application/json")
            assert "src" in script.attributes or json.loads(script.text) is not None
    for path in (*report.rglob("*.css"), *(report / "assets").glob("*.js")):
        text = path.read_text()
        assert not re.search(r"@import|url\(", text), path
        assert not re.search(r"\b(fetch|XMLHttpRequest|importScripts|WebSocket|EventSource)\b", text), path
        assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_every_page_has_landmarks_a_language_one_title_and_unique_ids(report):
    for page in pages(report):
        root = read(page)
        assert root.one("html").attributes["lang"] == "en"
        assert root.one("title").words
        assert root.one("h1").words
        assert root.one("main").attributes["id"] == "main"
        ids = [e.attributes["id"] for e in root.all() if "id" in e.attributes]
        assert len(ids) == len(set(ids)), page
        for element in root.all():
            for name in ("aria-labelledby", "aria-describedby"):
                if name in element.attributes:
                    assert element.attributes[name] in ids, (page, element.attributes)
        for picture in root.all("img"):
            assert "alt" in picture.attributes, page
        for region in root.all("div", role="region"):
            assert region.attributes["tabindex"] == "0"


# --- the table -----------------------------------------------------------------------------------


def cell(element):
    """Parts of a cell of the table: ours, what is said of the paper, the grade."""
    parts = {c.attributes["class"].split()[0]: c.words for c in element.children}
    return parts["ours"], parts["paper"], parts["grade"]


def test_the_tables_figures_are_the_cells_and_lead_to_their_runs(suite, report):
    rows = rows_of(read(report / "index.html").one("table", id="matrix"))
    assert [[c.words for c in row[:3]] for row in rows] == [
        [name, "test_resnet", "16"] for name in ("PA", "HIER", "untrained")
    ]
    assert [[cell(c) for c in row[3:]] for row in rows] == [
        [(f"{value:.2f}", "not in the paper", "○ no reference") for value in pair]
        for pair in ((51, 61), (52, 62), (50, 60))
    ]
    links = [[c.one("a").attributes["href"] for c in row[3:]] for row in rows]
    assert links == [[f"runs/{run}.html"] * 2 for run in (PA, HIER, UNTRAINED)]
    assert [len(list(row[3].all("strong"))) for row in rows] == [0, 1, 0]


def test_a_row_and_its_cells_can_be_filtered_and_sorted_by_what_they_show(report):
    table = read(report / "index.html").one("table", id="matrix")
    for row in table.one("tbody").all("tr"):
        cells = [c for c in row.children if c.tag in ("td", "th")]
        assert row.attributes["data-backbone"] == cells[1].words
        assert {c.attributes["data-dataset"] for c in cells[3:]} == {"smoke"}
        for c in cells[3:]:
            assert f"{float(c.attributes['data-value']):.2f}" == cell(c)[0]
    options = {
        choice.attributes["name"]: [o.attributes.get("value", o.words) for o in choice.all("option")]
        for choice in read(report / "index.html").all("select")
    }
    assert options == {
        "dataset": ["", "smoke"],
        "backbone": ["", "test_resnet"],
        "method": ["", "pa", "hier", "untrained"],
    }


def test_seeds_are_shown_together_and_each_leads_to_its_run(tmp_path):
    suite = compose(["suite=smoke", "methods=[pa]", "seeds=[0,1]"], CONF)
    cells = cells_of(suite)
    cells.loc[cells["measure"] == "R@1", "value"] = [70.0, 73.0]
    cells.loc[cells["measure"] == "R@1", "paper"] = 72.04
    (row,) = rows_of(read(written(suite, tmp_path, cells=cells) / "index.html").one("table", id="matrix"))
    first = row[3]
    assert cell(first) == ("71.50 ± 2.12", "paper 72.0, -0.54", "○ no reference")
    links = [a.attributes["href"] for a in first.all("a")]
    assert links == [
        f"runs/{PA}.html",
        *(f"runs/smoke-pa-test_resnet-16-s{s}.html" for s in (0, 1)),
    ]


def test_every_run_and_measure_stands_in_the_second_table(suite, report):
    second = [t for t in read(report / "index.html").all("table") if "id" not in t.attributes][-1]
    assert [[c.words for c in row] for row in rows_of(second)] == [
        [
            run.method,
            "○ no reference",
            "smoke",
            "test_resnet",
            "16",
            "0",
            f"{50 + i}.00",
            f"{60 + i}.00",
        ]
        for i, run in enumerate(suite.runs.values())
    ]


def test_what_was_not_run_is_a_dash_and_has_no_page_to_lead_to(suite, tmp_path):
    cells = cells_of(suite)
    cells.loc[cells["run"] == PA, ["value", "grade"]] = [NAN, "no data"]
    there = [name for name in suite.runs if name != PA]
    content = content_of(suite, tmp_path, cells=cells)
    changes = {
        field: {name: getattr(content, field)[name] for name in there}
        for field in ("histories", "metrics", "views", "lineages")
    }
    report = written(suite, tmp_path, cells=cells, **changes)
    rows = rows_of(read(report / "index.html").one("table", id="matrix"))
    assert [cell(c) for c in rows[0][3:]] == [("–", "not in the paper", "∅ no data")] * 2
    assert not any(rows[0][3].all("a"))
    assert not (report / "runs" / f"{PA}.html").exists()


def test_every_grade_is_explained_by_more_than_a_colour(report):
    grades = read(report / "index.html").one("dl", class_="grades")
    marks = [dt.words.split()[0] for dt in grades.all("dt")]
    assert len(set(marks)) == len(marks) == 7
    assert all(dd.words for dd in grades.all("dd"))


# --- a run ---------------------------------------------------------------------------------------


def test_a_run_shows_its_cells_and_its_share_on_the_clip_radius(report):
    page = read(report / "runs" / f"{PA}.html")
    table = next(iter(page.all("table")))
    assert [[c.words for c in row] for row in rows_of(table)] == [
        ["R@1", "51.00", "○ no reference", "–", "–", "–"],
        ["R@2", "61.00", "○ no reference", "–", "–", "–"],
    ]  # fmt: skip
    assert page.one("meter").attributes["value"] == "0.125"
    assert "PA on smoke, backbone test_resnet, 16 dimensions, seed 0. 1,031 queries" in page.one("main").words


@pytest.mark.parametrize(
    ("kernels", "says"),
    [
        ("portable kernels", "every x86-64 processor with AVX2 must give these bytes"),
        ("native kernels", "one kind of machine must give these bytes"),
        ("the GPU's kernels with driver 5", "one kind of machine must give these bytes"),
        ("", None),
    ],
)
def test_the_page_says_which_promise_holds(suite, tmp_path, kernels, says):
    given = dict.fromkeys(suite.runs, kernels)
    text = read(written(suite, tmp_path, kernels=given) / "runs" / f"{PA}.html").one("main").words
    assert ("must give these bytes" in text) is bool(says)
    assert not says or f"Made with {kernels}: {says}" in text


@pytest.mark.parametrize(
    ("share", "says"),
    [
        (1.0, "rank alike, so the ball adds nothing"),
        (0.5, "for the others"),
        (0.0, "None of them"),
        (None, ""),
    ],
)
def test_the_page_says_what_the_clip_radius_means(suite, tmp_path, share, says):
    metrics = {name: metrics_of(0) | {"clip_share": share} for name in suite.runs}
    if share is None:
        for each in metrics.values():
            del each["clip_share"]
    text = read(written(suite, tmp_path, metrics=metrics) / "runs" / f"{PA}.html").one("main").words
    assert says in text
    assert ("clip radius" in text) == (share is not None)


def test_the_curves_data_are_the_history(report):
    data = json.loads(read(report / "runs" / f"{HIER}.html").one("script", id="curves").text)
    assert data[0]["lines"] == {"loss": [3.0, 2.0], "metric": [2.0, 1.5], "hier": [1.0, 0.5]}
    assert [panel["title"] for panel in data] == ["Loss", "Learning rate"]
    page = read(report / "runs" / f"{HIER}.html")
    (picture,) = (i for i in page.all("img") if "curves.svg" in i.attributes["src"])
    assert "loss: falls from 3 at epoch 1 to 2 at epoch 2." in picture.attributes["alt"]


def test_a_run_that_was_not_trained_says_so(report):
    page = read(report / "runs" / f"{UNTRAINED}.html")
    assert "Not trained." in page.one("main").words
    assert not any("curves" in i.attributes["src"] for i in page.all("img"))


def test_settings_are_shown_in_full(report):
    text = read(report / "runs" / f"{HIER}.html").one("pre").text
    for line in ("weight: 0.5", "neighbours: 4", "lr: 0.005", "precision: float32"):
        assert line in text
    assert "workers" not in text


def test_a_hash_is_shortened_and_copied_in_full(report):
    (button,) = read(report / "runs" / f"{PA}.html").all("button", class_="hash")
    assert button.words == "abababababab"
    assert button.attributes["title"] == "ab" * 32


def test_a_run_without_views_has_neither_hierarchy_nor_galleries(suite, tmp_path):
    report = written(suite, tmp_path, views={})
    page = read(report / "runs" / f"{PA}.html")
    assert not any(page.all(id="hierarchy"))
    assert not any(page.all(id="galleries"))
    assert not (report / "galleries").exists()


# --- names are data ------------------------------------------------------------------------------


def test_names_from_archives_and_settings_are_escaped_everywhere(suite, tmp_path):
    evil = "<script>alert(1)</script>&\"'</script>"
    settings = Settings.of(suite)
    for run in settings.runs.values():
        run["backbone"]["timm"] = evil
    hurt = settings.suite("smoke")
    views = {name: views_of(seed, 6, 5) for seed, name in enumerate(hurt.runs)}
    for each in views.values():
        each["tree"]["nodes"]["name"] = [evil] * 5
        each["tree"]["nodes"]["label"] = [[evil] * 5] * 3
        each["galleries"]["confusions"][0] |= {"class": evil, "taken_for": evil}
    images = {"smoke": images_of("smoke", tmp_path, 6, 5)}
    images["smoke"].known = [(evil, [evil, evil, evil])] * 30
    cells = cells_of(hurt).assign(backbone=evil)
    report = written(hurt, tmp_path, cells=cells, views=views, images=images)
    for page in pages(report):
        root = read(page)
        for script in root.all("script"):
            assert "alert(1)" not in script.text or script.attributes["type"] == "application/json"
        assert not any("<script>alert" in line for line in page.read_text().splitlines()), page
    shown = read(report / "index.html").one("table", id="matrix").words
    assert "<script>alert(1)</script>&" in shown


# --- size ----------------------------------------------------------------------------------------


@pytest.mark.large
def test_table_1_with_its_138_runs_stays_below_40_megabytes(tmp_path):
    """Trees of 512 proxies, 3,000 images in each dataset, 100 epochs; one run's curves are drawn."""
    suite = compose(["suite=table1"], CONF)
    assert len(suite.runs) == 138
    trained = next(name for name, run in suite.runs.items() if run.schedule.epochs)
    content = content_of(suite, tmp_path)
    long = pd.concat([content.histories[trained]] * 50, ignore_index=True)
    short = {name: long if name == trained else history[:0] for name, history in content.histories.items()}
    classes, each = 125, 24
    views = {
        name: views_of(seed, classes, each, NODES[tree_of(run)], tree=tree_of(run))
        for seed, (name, run) in enumerate(suite.runs.items())
    }
    images = {name: images_of(name, tmp_path, classes, each) for name in suite.datasets}
    for dataset, of in images.items():
        own = [views[name] for name, run in suite.runs.items() if run.dataset == dataset]
        of.rows = sorted(select_thumbnails(own, len(images)))
        assert len(of.rows) == 1500
    report = written(suite, tmp_path, histories=short, views=views, images=images)
    sizes = {path: path.stat().st_size for path in report.rglob("*") if path.is_file()}
    one = {path.parent.name: size for path, size in sizes.items() if f"{trained}-curves" in path.name}
    whole = sum(sizes.values()) + 123 * (one["figures"] + 10_000)  # each epoch in numbers, and the trace
    assert whole < 40e6
    assert len(list((report / "thumbs").rglob("*.webp"))) <= 6000
