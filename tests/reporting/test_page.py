"""The page from made-up results: figures, escaping, sections, and no request to anywhere."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from hier.config.compose import compose
from hier.config.suite import parse
from hier.reporting.curves import training_curves
from hier.reporting.page import render

CONF = Path(__file__).parents[2] / "conf"
METHODS = ["untrained", "pa", "hier"]
R1 = {"untrained": 12.5, "pa": 50.0, "hier": 62.256}
NAN = float("nan")
VOID = {"meta", "br", "img", "link", "input", "hr", "path", "use", "rect", "image"}


@pytest.fixture(scope="module")
def suite():
    return compose(["suite=smoke", f"methods=[{','.join(METHODS)}]"], CONF)


def cells_of(suite):
    rows = []
    for run in suite.runs.values():
        for measure, value in (("R@1", R1[run.method]), ("MAP@R", R1[run.method] / 2)):
            rows.append(
                {
                    "run": run.name, "dataset": run.dataset, "method": run.method,
                    "backbone": run.backbone.name, "dim": run.dim, "seed": run.seed,
                    "measure": measure, "value": value, "expected": NAN, "tolerance": NAN,
                    "paper": NAN, "grade": "no reference",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def histories_of(suite):
    trained = pd.DataFrame(
        {"epoch": [1, 2], "loss": [3.0, 2.0], "metric": [2.0, 1.5], "hier": [1.0, 0.5]}
    )
    untrained = pd.DataFrame(columns=["epoch", "loss", "rate"])
    return {
        name: {"untrained": untrained, "pa": trained.drop(columns="hier")}.get(run.method, trained)
        for name, run in suite.runs.items()
    }


def metrics_of(suite):
    return {name: {"queries": 31, "gallery": 32, "clip_share": 0.125} for name in suite.runs}


def page_of(suite, cells=None, **changes):
    given = {"histories": histories_of(suite), "metrics": metrics_of(suite)} | changes
    cells = cells_of(suite) if cells is None else cells
    return render(suite, cells, given["histories"], given["metrics"])


@pytest.fixture(scope="module")
def page(suite):
    return page_of(suite)


class Reader(HTMLParser):
    """Elements with their attributes and the text in them; checks that each is closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.text = [], [], {}
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)


def table_of(page):
    """The first table's rows as lists of cells (inner HTML)."""
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    return [
        [cell.strip() for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    ]


def test_the_page_is_the_same_twice(suite, page):
    assert page_of(suite) == page
    assert page.startswith("<!doctype html>")


def test_the_tables_figures_are_the_cells(suite, page):
    rows = table_of(page)
    assert [[row[0], *row[2:]] for row in rows] == [
        ["smoke", "test_resnet", "16", "0", "12.50", "6.25", "no reference"],
        ["smoke", "test_resnet", "16", "0", "50.00", "25.00", "no reference"],
        ["smoke", "test_resnet", "16", "0", "<strong>62.26</strong>", "<strong>31.13</strong>",
         "no reference"],
    ]  # fmt: skip
    links = [re.fullmatch(r'<a href="#(.*)">(.*)</a>', row[1]).groups() for row in rows]
    assert links == [(name, run.method) for name, run in suite.runs.items()]
    sentence = "hier (seed 0) with 62.26, 12.26 points above pa (50.00)."
    assert sentence in page
    assert "6 cells: 6 no reference" in page


def test_the_page_opens_from_disk_without_any_request(page):
    reader = Reader(page)
    tags = {tag for tag, _ in reader.elements}
    assert tags.isdisjoint({"script", "link", "iframe", "img", "object", "embed", "base", "form"})
    for tag, attributes in reader.elements:
        for name, value in attributes.items():
            if name.startswith(("xmlns", "rdf:")):
                continue
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href", "srcset", "action", "data", "poster"):
                assert value.startswith("#"), (tag, name, value)
            assert "://" not in (value or "") or tag in ("dc:type", "cc:work"), (tag, name, value)
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert "@import" not in page
    # Addresses stand only in names of namespaces and in Matplotlib's signature, which nothing loads.
    addresses = {match.rstrip("\"'") for match in re.findall(r"https?://[^\s<>\"']+", page)}
    hosts = {address.split("/")[2] for address in addresses}
    assert hosts <= {"www.w3.org", "purl.org", "creativecommons.org", "matplotlib.org"}


def test_every_run_has_its_section(suite, page):
    reader = Reader(page)
    sections = [a["id"] for tag, a in reader.elements if tag == "section"]
    assert sections == list(suite.runs)
    assert reader.text["h3"] == list(suite.runs)
    assert page.count("<summary>Settings</summary>") == 3
    assert page.count("31 queries against 32 images.") == 3
    assert page.count("12.5 % of the embeddings lie on the clip radius.") == 3


def section(page, name):
    start = page.index(f'<section id="{name}"')
    return page[start : page.index("</section>", start)]


def test_a_run_that_was_not_trained_says_so(suite, page):
    for name, run in suite.runs.items():
        text = section(page, name)
        trained = run.method != "untrained"
        assert ("<svg" in text) == trained
        assert ("Not trained." in text) == (not trained)


def test_settings_are_shown_in_full(suite, page):
    text = section(page, "smoke-hier-test_resnet-16-s0")
    for line in ("weight: 0.5", "neighbours: 4", "lr: 0.005", "precision: float32"):
        assert line in text


def test_where_all_embeddings_are_clipped_the_page_says_what_that_means(suite):
    metrics = metrics_of(suite)
    metrics["smoke-pa-test_resnet-16-s0"]["clip_share"] = 1.0
    del metrics["smoke-hier-test_resnet-16-s0"]["clip_share"]
    page = page_of(suite, metrics=metrics)
    assert "hyperbolic and cosine distance rank alike" in section(
        page, "smoke-pa-test_resnet-16-s0"
    )
    assert "clip radius" not in section(page, "smoke-hier-test_resnet-16-s0").split("<details>")[0]
    assert page.count("rank alike") == 1


def test_text_is_escaped(suite):
    evil = '<script>alert("1")</script>&'
    data = suite.model_dump()
    for run in data["runs"].values():
        run["backbone"]["timm"] = evil
    hurt = parse(data, "test")
    cells = cells_of(hurt).assign(backbone=evil, grade="no reference")
    cells.loc[0, "measure"] = cells.loc[2, "measure"] = cells.loc[4, "measure"] = "<b>R@1"
    page = page_of(hurt, cells)
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;R@1" in page
    # once in each run's row and once in each run's settings
    assert page.count("&lt;script&gt;alert") == 6
    Reader(page)


def test_what_was_not_run_is_a_dash(suite):
    cells = cells_of(suite)
    cells.loc[0, ["value", "grade"]] = [NAN, "not run"]
    rows = table_of(page_of(suite, cells))
    assert rows[0][5:] == ["–", "6.25", "not run"]


def test_the_papers_figures_stand_beside(suite, page):
    assert "Against the paper" not in page
    cells = cells_of(suite)
    cells.loc[4, "paper"] = 75.2
    text = page_of(suite, cells)
    text = text[text.index("Against the paper") :]
    name = "smoke-hier-test_resnet-16-s0"
    assert table_of(text) == [[name, "R@1", "75.2", "62.26", "-12.94"]]


def curves(**columns):
    return training_curves(pd.DataFrame({"epoch": [1, 2, 3], **columns}))


def test_curves_are_an_svg_with_a_line_per_term():
    both = curves(loss=[3.0, 2.0, 1.0], metric=[2.0, 1.5, 0.75], hier=[1.0, 0.5, 0.25])
    alone = curves(loss=[3.0, 2.0, 1.0], metric=[3.0, 2.0, 1.0])
    assert both.startswith("<svg")
    assert both.rstrip().endswith("</svg>")

    def terms(svg):
        return {term for term in ("loss", "metric", "hier") if svg.count(f">{term}</text>")}

    assert terms(both) == {"loss", "metric", "hier"}
    assert terms(alone) == {"loss"}  # the metric term is the whole loss
    assert both == curves(loss=[3.0, 2.0, 1.0], metric=[2.0, 1.5, 0.75], hier=[1.0, 0.5, 0.25])
    assert both != curves(loss=[3.0, 2.0, 1.5], metric=[2.0, 1.5, 0.75], hier=[1.0, 0.5, 0.25])
    assert "<dc:date>" not in both
