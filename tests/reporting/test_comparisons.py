"""The forest plot and the curves of recall: what is drawn is what the figures say, for every reader."""

import re

import numpy as np
import pandas as pd
import pytest

from fakes.browser import DESK, EVERY_RULE, PHONE, started, visiting
from fakes.content import content_of
from fakes.reader import read
from hier.config.compose import compose
from hier.reporting.comparisons import forests, recall_curves
from hier.reporting.site import write_report
from hier.results.comparisons import COLUMNS, in_words, verdict
from hier.results.measures import HEADLINE

from .conftest import CONF

PAPER = {"width": 703, "height": 1030}
NAN = float("nan")


def comparisons_of(*rows):
    """Rows of (method, measure, mean, low, high, classes_low, classes_high, corrected p)."""
    return pd.DataFrame(
        [
            dict.fromkeys(COLUMNS, 0.0)
            | {"dataset": "smoke", "backbone": "test_resnet", "dim": 16, "against": "pa", "pairs": 3}
            | dict(zip(["method", "measure", "mean", "low", "high"], row, strict=False))
            | dict(zip(["classes_low", "classes_high", "p_holm"], row[5:], strict=True))
            | {"detectable": 1.25}
            for row in rows
        ],
        columns=COLUMNS,
    ).assign(verdict=lambda table: [verdict(row) for row in table.to_dict("records")])


ROWS = comparisons_of(
    ("hier", "R@1", 1.0, 0.5, 1.5, -0.5, 2.5, 0.03),
    ("hier", "super-class R@1", -3.0, -4.0, -2.0, -4.5, -1.5, 0.0004),
    ("hier", "MAP@R", 0.25, -1.0, 1.5, NAN, NAN, 1.0),
)


@pytest.fixture(scope="module")
def suite():
    return compose(["suite=smoke", "methods=[pa,hier]", "seeds=[0,1,2]", "schedule.epochs=3"], CONF)


@pytest.fixture(scope="module")
def content(suite, tmp_path_factory):
    histories = {}
    for name, run in suite.runs.items():
        looked = np.array([0.1, NAN, 0.3]) + run.seed / 100 + (run.method == "hier") / 10
        columns = {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "rate": 1.0, f"test {HEADLINE}": looked}
        histories[name] = pd.DataFrame(columns)
    folder = tmp_path_factory.mktemp("stores")
    return content_of(suite, folder, comparisons=ROWS, histories=histories)


@pytest.fixture(scope="module")
def page(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, content)
    return folder / "index.html"


def test_an_interval_is_drawn_where_its_figures_are(content):
    (forest,) = forests(content)
    assert forest["limit"] == 5  # the round number beyond 4.5
    for row, drawn in zip(ROWS.to_dict("records"), forest["rows"], strict=True):
        for name, place in drawn["at"].items():
            if np.isnan(row[name]):
                assert place is None
            else:
                assert place == pytest.approx(50 + 47 * row[name] / 5, abs=0.01)
    assert [row["verdict"] for row in forest["rows"]] == ["higher for other seeds", "lower", "not told apart"]


def test_every_drawn_figure_stands_there_as_text(page):
    text = read(page).words
    for words in (
        "HIER − PA R@1 +1.00, seeds +0.50 to +1.50, classes -0.50 to +2.50, p 0.030",
        "super-class R@1 -3.00, seeds -4.00 to -2.00, classes -4.50 to -1.50, p < 0.001: lower",
        "MAP@R +0.25, seeds -1.00 to +1.50, classes –, p 1.000: not told apart",
    ):
        assert words in text
    for sentence in in_words(ROWS):
        assert sentence in text


def test_lines_are_means_of_seeds_and_bands_their_range(content, page):
    ((name, curves),) = recall_curves(content).items()
    line = curves["lines"]["HIER"]
    assert line.index.tolist() == [1, 3]
    np.testing.assert_allclose(line.to_numpy(), [[21, 20, 22], [41, 40, 42]])
    assert curves["words"][1] == (
        "HIER: 21.00 after epoch 1, 41.00 after epoch 3 (seeds from 40.00 to 42.00)."
    )
    figure = (page.parent / "figures" / f"recall-{name}.svg").read_text()
    assert re.search("HIER", figure)


def test_a_suite_without_pairs_has_neither(suite, tmp_path):
    content = content_of(suite, tmp_path)
    assert (forests(content), recall_curves(content)) == ([], {})
    (tmp_path / "report").mkdir()
    write_report(tmp_path / "report", content)
    assert "Differences of pairs" not in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize("screen", [PHONE, DESK, PAPER], ids=["phone", "desk", "paper"])
def test_the_plot_is_readable_on_every_screen_and_on_paper(page, screen):
    """Nothing is wider than the screen or cut, and no rule of accessibility is broken."""
    with started() as browser, visiting(browser, page.as_uri(), viewport=screen) as visit:
        if screen is PAPER:
            visit.page.emulate_media(media="print")
        assert not visit.is_wider_than_the_screen()
        for item in visit.page.locator(".forest li").all():
            outer = item.bounding_box()
            for part in item.locator("strong, svg, span").all():
                box = part.bounding_box()
                assert box["x"] >= outer["x"] - 1
                assert box["x"] + box["width"] <= outer["x"] + outer["width"] + 1
        for plot in visit.page.locator(".forest svg").all():
            width = plot.bounding_box()["width"]
            assert width >= 200
            left, right = (plot.locator(".seeds").get_attribute(x) for x in ("x1", "x2"))
            drawn = plot.locator(".seeds").bounding_box()["width"]
            share = (float(right.rstrip("%")) - float(left.rstrip("%"))) / 100
            assert drawn == pytest.approx(share * width, abs=4)
        assert screen is PAPER or visit.violations(EVERY_RULE) == []
