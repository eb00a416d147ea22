"""Nothing that counts is cut: on a phone, a tablet, a desk and on paper, by the boxes of a browser."""

import re

import pandas as pd
import pytest

from fakes.browser import started, visiting
from fakes.content import cells_of, content_of, images_of, metrics_of, tree_of
from fakes.views import nasty, views_of, wide
from hier.reporting.page import Pages
from hier.reporting.site import put, write_report
from hier.results.compare import VERDICTS

from .test_quality import HIER, PA, hierarchy, tree

CLASSES, EACH = 12, 20
LONG = "efficientnet_lite0"
WIDTHS = {"phone": 390, "tablet": 768, "desk": 1300}
PAPER = 703  # pixels between the margins of an A4 sheet
LEVELS = {"species": 70.0, "genus": 80.0, "family": 90.0}
MEASURES = [
    *(f"R@{k}" for k in (1, 2, 4, 8)),
    *(f"super-class R@{k}" for k in (1, 2, 4, 8)),
    "MAP@R",
]


def full_cells(suite):
    """Nine measures of each run, with every column filled; and on four datasets, as in Table 1."""
    one = cells_of(suite).query("measure == 'R@1'")
    parts = [
        one.assign(measure=m, dataset=d, run=one["run"].str.replace("smoke", d))
        for d in ("smoke", "cub", "cars", "sop", "inshop")
        for m in MEASURES
    ]
    cells = pd.concat(parts, ignore_index=True)
    again = cells.assign(seed=1, value=cells["value"] + 3.33, run=cells["run"].str.replace("-s0", "-s1"))
    cells = pd.concat([cells, again], ignore_index=True)
    return cells.assign(
        backbone=LONG, dim=512, best_on_test=55.55, expected=51.0, mean=50.5, tolerance=5.0, paper=50.5,
        grade="out of tolerance",
    )  # fmt: skip


@pytest.fixture(scope="module", params=["usual", "long names"])
def pages(request, suite, tmp_path_factory):
    """Every kind of page."""
    folder = tmp_path_factory.mktemp("report")
    kinds = (wide if request.param == "usual" else nasty)(CLASSES)
    metrics = {name: metrics_of(0) for name in suite.runs}
    metrics[HIER]["hierarchy"] = hierarchy(tree(LEVELS, 0.5), tree(LEVELS, 0.6))
    metrics[PA]["hierarchy"] = hierarchy(tree(LEVELS, 0.6))
    for name in (HIER, PA):
        metrics[name]["superclass_recall"] = {"1": 0.75}
    views = {
        name: views_of(n, CLASSES, EACH, 9, 600, kinds, tree_of(run))
        for n, (name, run) in enumerate(suite.runs.items())
    }
    images = {"smoke": images_of("smoke", folder, CLASSES, EACH, kinds)}
    report = folder / "report"
    report.mkdir()
    content = {"views": views, "images": images, "metrics": metrics, "cells": full_cells(suite)}
    write_report(report, content_of(suite, folder, **content))
    write_others(report)
    return [
        report / name
        for name in (
            "index.html", f"runs/{HIER}.html", f"runs/{PA}.html", "galleries/smoke.html",
            "compare.html", "runs.html", "times.html",
        )
    ]  # fmt: skip


def write_others(report):
    """The pages that are no part of a report."""
    written = Pages(suite="smoke", with_galleries=[])
    figures = {"here": 61.25, "there": 60.5, "moved": 0.75, "spread": 2.5}
    rows = [
        {"dataset": "inshop", "method": "hier", "name": "HIER", "backbone": LONG, "dim": 512,
         "measure": measure, "verdict": verdict, "grades": ["identical", "within tolerance"], **figures}
        for measure in MEASURES for verdict in VERDICTS
    ]  # fmt: skip
    values = {"rows": rows, "verdicts": VERDICTS, "there": "a/table.csv", "words": "Much moved."}
    put(report / "compare.html", written.render("compare.html.j2", "", "compare", **values))
    found = {"one": HIER, "other": PA, "notes": []}
    values |= {"found": found, "kinds": [], "panels": [], "curves": None}
    put(report / "runs.html", written.render("compare_runs.html.j2", "", "compare", **values))
    stages = ["prepare", "train", "embed", "evaluate"]
    machine = "Intel(R) Xeon(R) Processor (family 6, model 207) × 2; Python 3.11.7; torch 2.13.0"
    rows = [{"run": HIER, "rate": 611.1, "seconds": dict.fromkeys(stages, 1234.56), "memory": 9e9,
             "started": "the beginning", "machine": machine}]  # fmt: skip
    values = {"rows": rows, "stages": stages}
    put(report / "times.html", written.render("times.html.j2", "", "times", **values))


BOXES = """() => {
    const open = document.querySelectorAll("details");
    for (const each of open) each.open = true;
    const fits = (box) => box.left >= -0.5 && box.right <= innerWidth + 0.5;
    const found = { cut: [], unnamed: [], numberless: [], ungraded: [], spilt: [] };
    for (const table of document.querySelectorAll("table")) {
        const place = table.closest(".wide");
        const said = place && place.previousElementSibling;
        const scrolls = said && said.matches(".more") && said.getBoundingClientRect().height > 0
            && /scrolls/.test(said.innerText) && getComputedStyle(place).overflowX === "auto";
        const name = table.tHead.innerText.replace(/\\s+/g, " ").slice(0, 60);
        const add = (list, cell) => list.push(`${name}: ${cell.innerText.slice(0, 30)}`);
        for (const cell of table.querySelectorAll("th, td")) {
            const box = cell.getBoundingClientRect();
            if (box.width === 0) continue;
            if (!fits(box) && !scrolls) add(found.cut, cell);
            if (cell.scrollWidth > cell.clientWidth + 1) add(found.spilt, cell);
        }
        for (const row of table.tBodies[0].rows) {
            if (row.hidden) continue;
            const [first] = row.cells;
            if (first.tagName !== "TH" || !fits(first.getBoundingClientRect())) add(found.unnamed, row);
            const number = [...row.cells].find((cell) => cell.matches("td.n:not(.setting)"));
            if (!fits(number.getBoundingClientRect())) add(found.numberless, row);
            for (const grade of row.querySelectorAll("td:not(.cell) > .grade")) {
                if (!fits(grade.getBoundingClientRect())) add(found.ungraded, row);
            }
        }
    }
    return found;
}"""


@pytest.fixture(scope="module")
def browser():
    with started() as browser:
        yield browser


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_each_cell_is_in_sight_or_in_a_place_that_says_that_it_scrolls(browser, pages, width):
    """Name and main figure are in sight without scrolling, and where there is room for it the grade."""
    for path in pages:
        with visiting(browser, path.as_uri(), viewport={"width": width, "height": 900}) as visit:
            assert not visit.is_wider_than_the_screen(), path
            visit.page.evaluate(BOXES)  # opens what is folded
            visit.page.wait_for_timeout(100)
            found = visit.page.evaluate(BOXES)
            if width < WIDTHS["tablet"]:
                found.pop("ungraded")
            assert not any(found.values()), (path, found)


def test_a_table_that_fits_does_not_say_that_it_scrolls(browser, pages):
    with visiting(browser, pages[1].as_uri(), viewport={"width": 1300, "height": 900}) as visit:
        assert visit.page.locator(".more").count() > 0
        assert [line for line in visit.page.locator(".more").all() if line.is_visible()] == []


def test_on_paper_no_cell_is_cut_and_what_is_folded_is_open(browser, pages):
    for path in pages:
        with visiting(browser, path.as_uri(), viewport={"width": PAPER, "height": 1030}) as visit:
            page = visit.page
            page.emulate_media(media="print")
            hidden = page.evaluate(
                """() => [...document.querySelectorAll("details > :not(summary, .more)")]
                    .filter((each) => !each.checkVisibility() || !each.getBoundingClientRect().height)
                    .map((each) => each.outerHTML.slice(0, 60))"""
            )
            assert hidden == [], path
            found = page.evaluate(BOXES)
            assert not any(found.values()), (path, found)


SHEETS = {"index": 6, HIER: 7, "galleries": 12, "compare": 3, "times": 1}


@pytest.mark.parametrize("name", SHEETS)
def test_a_page_prints_on_few_sheets(browser, pages, name):
    (path,) = (path for path in pages if name in (path.stem, path.parent.name))
    with visiting(browser, path.as_uri()) as visit:
        pdf = visit.page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) <= SHEETS[name]
