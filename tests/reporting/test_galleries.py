"""Galleries: the runs of a dataset beside each other, and the page that shows them."""

import pytest

from fakes.content import content_of
from fakes.reader import read
from fakes.views import views_of, wide
from hier.config.compose import compose
from hier.reporting.galleries import Comparison
from hier.reporting.site import write_report

from .conftest import CONF

RUNS = {method: f"smoke-{method}-test_resnet-16-s0" for method in ("untrained", "pa", "hier")}


@pytest.fixture(scope="module")
def views(suite):
    return {name: views_of(seed, 8, 6, kinds=wide(8)) for seed, name in enumerate(suite.runs)}


@pytest.fixture(scope="module")
def folder(suite, views, tmp_path_factory):
    report = tmp_path_factory.mktemp("galleries")
    stores = tmp_path_factory.mktemp("stores")
    write_report(report, content_of(suite, stores, 8, 6, wide(8), views=views))
    return report


def right(views, run):
    return {query["row"]: query["correct"] for query in views[run]["galleries"]["shared"]}


def test_a_duel_counts_what_one_has_right_and_the_other_wrong(suite, views):
    duels = Comparison(views, suite.runs).duels()
    assert [(duel.hier, duel.other, duel.name) for duel in duels] == [
        (RUNS["hier"], RUNS["untrained"], "untrained"),
        (RUNS["hier"], RUNS["pa"], "PA"),
    ]
    for duel in duels:
        one, other = right(views, duel.hier), right(views, duel.other)
        pairs = [(one[row], other[row]) for row in one]
        assert (duel.won, duel.lost, duel.both, duel.neither) == tuple(
            pairs.count(pair) for pair in ((True, False), (False, True), (True, True), (False, False))
        )
        assert duel.won + duel.lost + duel.both + duel.neither == 24
        assert duel.won > 0 < duel.lost


def test_only_runs_of_one_backbone_dimension_and_seed_are_held_against_each_other():
    suite = compose(["suite=smoke", "methods=[pa,hier]", "seeds=[0,1]"], CONF)
    views = {name: views_of(seed, 8, 6) for seed, name in enumerate(suite.runs)}
    compared = Comparison(views, suite.runs)
    assert sorted((duel.hier[-2:], duel.other[-2:]) for duel in compared.duels()) == [
        ("s0", "s0"),
        ("s1", "s1"),
    ]
    assert {words: [compared.names[n] for n in numbers] for words, numbers in compared.groups().items()} == {
        f"test_resnet, 16 dimensions, seed {seed}": [n for n in suite.runs if n.endswith(f"s{seed}")]
        for seed in (0, 1)
    }


def test_a_query_that_a_run_has_not_got_counts_for_nobody(suite, views):
    fewer = dict(views)
    own = views[RUNS["pa"]]
    shared = own["galleries"]["shared"][1:]
    fewer[RUNS["pa"]] = own | {"galleries": own["galleries"] | {"shared": shared}}
    compared = Comparison(fewer, suite.runs)
    row = own["galleries"]["shared"][0]["row"]
    pa = list(fewer).index(RUNS["pa"])
    assert compared.query(pa, row) is None
    assert compared.right(row)[pa] == "-"
    duel = compared.duels()[1]
    assert duel.won + duel.lost + duel.both + duel.neither == 23


def test_without_hier_there_is_nothing_to_compare(views):
    suite = compose(["suite=smoke", "methods=[untrained,pa]"], CONF)
    assert Comparison({n: views[n] for n in suite.runs}, suite.runs).duels() == []


def shown(item):
    """What stands below a neighbour's picture, and what is said of the picture."""
    (picture,) = item.all("img")
    return item.one("span").words, picture.attributes["alt"], picture.attributes["src"]


def wanted(images, neighbour, root="../"):
    name = images[neighbour["row"] // 6][0]
    mark, word = ("✓", "right") if neighbour["correct"] else ("✗", "wrong")
    below = f"{mark} {neighbour['distance']:#.3g}" + ("" if neighbour["correct"] else f" {name}")
    return below, f"{name}, {word}", f"{root}thumbs/smoke/{neighbour['row']}.webp"


def test_the_page_of_a_dataset_shows_every_query_in_every_run(suite, views, folder):
    page = read(folder / "galleries" / "smoke.html")
    articles = list(page.all("article"))
    assert len(articles) == 24
    for at, article in enumerate(articles):
        answers = list(article.all("div", class_="answer"))
        assert article.attributes["data-right"] == "".join(
            str(int(views[name]["galleries"]["shared"][at]["correct"])) for name in suite.runs
        )
        for answer, name in zip(answers, suite.runs, strict=True):
            query = views[name]["galleries"]["shared"][at]
            items = list(answer.one("ol").all("li"))
            assert [shown(i) for i in items] == [wanted(wide(8), n) for n in query["neighbours"]]
            assert [i.attributes.get("class") for i in items] == [
                None if n["correct"] else "w" for n in query["neighbours"]
            ]
            assert ("✓ right" if query["correct"] else "✗ wrong") in answer.words


def test_the_page_says_what_hier_changed(suite, views, folder):
    duel = Comparison(views, suite.runs).duels()[1]
    words = read(folder / "galleries" / "smoke.html").one("section", aria_labelledby="changed").words
    assert f"HIER right where PA was wrong: {duel.won}; the other way round: {duel.lost}" in words


def test_a_run_shows_its_confusions_and_its_worst_queries(views, folder):
    of = views[RUNS["pa"]]["galleries"]
    section = read(folder / "runs" / f"{RUNS['pa']}.html").one("section", aria_labelledby="galleries")
    rows = [[c.words for c in row.children] for row in section.one("tbody").all("tr")]
    assert rows == [
        [
            p["class"],
            p["taken_for"],
            f"{p['count']} of {p['of']}",
            f"{100 * p['count'] / p['of']:.0f} %",
        ]
        for p in of["confusions"]
    ]
    queries = list(section.all("li", class_="query"))
    assert len(queries) == len(of["worst"])
    for item, query in zip(queries, of["worst"], strict=True):
        near = list(item.one("ol").all("li"))
        assert [shown(i) for i in near] == [wanted(wide(8), n) for n in query["neighbours"]]
    have = sum(query["correct"] for query in of["shared"])
    assert "24 queries, chosen from the index alone" in section.words
    assert f"of them this run has {have} right" in section.words


def test_where_there_is_no_thumbnail_the_name_stands(suite, views, tmp_path):
    content = content_of(suite, tmp_path, 8, 6, wide(8), views=views)
    content.images["smoke"].rows = []
    report = tmp_path / "report"
    report.mkdir()
    write_report(report, content)
    page = read(report / "galleries" / "smoke.html")
    assert not any(page.all("img"))
    article = next(iter(page.all("article")))
    query = views[RUNS["untrained"]]["galleries"]["shared"][0]
    first = next(iter(article.one("div", data_run="0").all("li")))
    assert first.words.startswith(wanted(wide(8), query["neighbours"][0])[1])
