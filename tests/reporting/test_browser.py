"""The pages in a browser: every view opens and can be used by pointer and by keyboard, asks nobody, and
passes axe-core's rules in light, in dark and on a phone; classes may be called whatever they like."""

import numpy as np
import pytest

from fakes.browser import CONTRAST, EVERY_RULE, NOT_CONTRAST, PHONE, started, visiting
from fakes.content import content_of, images_of, tree_of
from fakes.views import NASTY, nasty, views_of, wide
from hier.reporting.disk_scene import handles
from hier.reporting.galleries import Comparison
from hier.reporting.site import write_report

HIER, PA = "smoke-hier-test_resnet-16-s0", "smoke-pa-test_resnet-16-s0"
CLASSES, EACH, NODES = 12, 20, 9


@pytest.fixture(scope="module")
def browser():
    with started() as browser:
        yield browser


def made(suite, folder, kinds, most=600):
    """A report of a suite, and its views."""
    views = {
        name: views_of(n, CLASSES, EACH, NODES, most, kinds, tree_of(run), rim=n == 0)
        for n, (name, run) in enumerate(suite.runs.items())
    }
    images = {"smoke": images_of("smoke", folder, CLASSES, EACH, kinds)}
    report = folder / "report"
    report.mkdir()
    write_report(report, content_of(suite, folder, views=views, images=images))
    return report, views


@pytest.fixture(scope="module")
def usual(suite, tmp_path_factory):
    return made(suite, tmp_path_factory.mktemp("usual"), wide(CLASSES))


@pytest.fixture(scope="module")
def evil(suite, tmp_path_factory):
    """Names that break what does not escape them."""
    return made(suite, tmp_path_factory.mktemp("evil"), nasty(CLASSES))


@pytest.fixture
def disk(browser, usual):
    """The page of the HIER run."""
    with visiting(browser, (usual[0] / "runs" / f"{HIER}.html").as_uri()) as visit:
        yield visit.page


@pytest.fixture
def nodes(usual):
    return usual[1][HIER]["tree"]["nodes"]


@pytest.fixture
def samples(usual):
    return usual[1][HIER]["samples"]


# --- every page ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "rules"),
    [
        ({"color_scheme": "light"}, EVERY_RULE),
        ({"color_scheme": "dark"}, CONTRAST),
        ({"viewport": PHONE, "has_touch": True}, NOT_CONTRAST),
    ],
    ids=["light", "dark", "phone"],
)
def test_every_page_opens_and_anyone_can_read_it(browser, evil, look, rules):
    report, _ = evil
    # PA's has nothing that neither HIER's (curves) nor the untrained run's (clusters) has.
    pages = sorted(path for path in report.rglob("*.html") if path.stem != PA)
    assert len(pages) >= 4
    for path in pages:
        with visiting(browser, path.as_uri(), **look) as visit:
            if path.parent.name == "runs":
                # What is chosen stands beside the disk, and what is pointed at above it.
                visit.page.locator("[data-stage] .nodes circle[data-n='0']").click(force=True)
                for n in (1, 2):
                    visit.page.locator(f"[data-outline] li[data-n='{n}'] > details > summary").click()
            assert visit.violations(rules) == [], path
            assert not visit.is_wider_than_the_screen(), path


def test_without_scripts_there_is_all_but_the_play(browser, usual):
    report, views = usual
    address = (report / "runs" / f"{HIER}.html").as_uri()
    with visiting(browser, address, java_script_enabled=False) as visit:
        page = visit.page
        picture = page.locator("[data-stage] img")
        assert picture.evaluate("image => image.naturalWidth") > 0
        assert f"{len(views[HIER]['samples']['row'])} images" in picture.get_attribute("alt")
        assert not page.locator("form.controls").first.is_visible()
        item = page.locator("[data-outline] li")
        assert item.nth(1).is_visible()
        assert not item.nth(2).is_visible()
        item.nth(1).locator("summary").first.click()
        assert item.nth(2).is_visible()
        assert page.locator(".query img").count() > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_moves_by_itself(browser, usual, scheme):
    address = (usual[0] / "runs" / f"{HIER}.html").as_uri()
    with visiting(browser, address, color_scheme=scheme, reduced_motion="reduce") as visit:
        visit.page.locator("[data-zoom='2']").click()
        assert visit.page.evaluate("document.getAnimations().length") == 0


def test_the_table_can_be_filtered(browser, usual):
    with visiting(browser, (usual[0] / "index.html").as_uri()) as visit:
        rows = visit.page.locator("#matrix tbody tr")
        visit.page.get_by_role("combobox", name="Method").select_option("hier")
        assert [row.get_attribute("data-method") for row in rows.all() if row.is_visible()] == ["hier"]
        visit.page.get_by_role("button", name="Show all").click()
        visit.page.wait_for_function("!document.querySelector('#matrix tbody tr[hidden]')")


# --- the disk: by pointer ------------------------------------------------------------------------


def middle(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_pointing_at_an_image_shows_its_photo_its_names_and_its_way_to_the_centre(disk, samples, nodes):
    tip = disk.locator(".tip")
    for image in (0, 57, 113):
        mark = disk.locator("[data-stage] .images path").nth(image)
        mark.scroll_into_view_if_needed()
        disk.mouse.move(*middle(mark))
        row, parent = samples["row"][image], samples["parent"][image]
        name, genus = wide(CLASSES)[row // EACH]
        assert tip.locator("img").get_attribute("src") == f"../thumbs/smoke/{row}.webp"
        assert tip.locator("img").evaluate("image => image.naturalWidth") > 0
        assert tip.locator("strong").inner_text() == f"{name} in {genus}"
        assert nodes["name"][parent] in tip.inner_text()
        steps = disk.locator(".way").get_attribute("d").count("M")
        assert steps == 1 + nodes["depth"][parent]
    disk.mouse.move(2, 2)
    assert not tip.is_visible()


def below(nodes, node):
    found = {node}
    for child, parent in enumerate(nodes["parent"]):  # a parent comes before its children
        if parent in found:
            found.add(child)
    return found


def test_pressing_a_proxy_shows_what_is_below_it(disk, samples, nodes):
    disk.locator("[data-stage] .nodes circle[data-n='1']").click()
    part = below(nodes, 1)
    lit = {int(c.get_attribute("data-n")) for c in disk.locator("[data-stage] .nodes circle.in").all()}
    assert lit == part
    images = disk.locator("[data-stage] .images path")
    classes = images.evaluate_all("all => all.map(each => each.classList.contains('in'))")
    assert classes == [parent in part for parent in samples["parent"]]

    panel = disk.locator("[data-chosen]")
    assert panel.locator("h3").inner_text() == nodes["name"][1]
    shown = panel.locator(".thumbs img").evaluate_all("all => all.map(each => each.getAttribute('src'))")
    assert shown == [f"../thumbs/smoke/{row}.webp" for row in nodes["rows"][1]]
    alts = panel.locator(".thumbs img").evaluate_all("all => all.map(each => each.alt)")
    assert alts == [" in ".join(wide(CLASSES)[row // EACH]) for row in nodes["rows"][1]]
    assert f"{nodes['count'][1]} images" in panel.inner_text()
    marked = disk.locator("[data-outline] summary[aria-current]")
    assert marked.inner_text().startswith(nodes["name"][1])

    child = next(c for c, parent in enumerate(nodes["parent"]) if parent == 1)
    panel.get_by_role("button", name=nodes["name"][child]).click()
    assert panel.locator("h3").inner_text() == nodes["name"][child]
    panel.get_by_role("button", name="Let go").click()
    assert disk.locator(".partial").count() == 0
    assert "Nothing is chosen" in panel.inner_text()


def test_pressing_an_image_leaves_it_and_its_ancestors(disk, samples, nodes):
    mark = disk.locator("[data-stage] .images path").nth(20)
    mark.scroll_into_view_if_needed()
    disk.mouse.click(*middle(mark))
    assert disk.locator("[data-stage] .images path.in").count() == 1
    assert disk.locator("[data-stage] .nodes circle.in").count() == nodes["depth"][samples["parent"][20]]
    photo = disk.locator("[data-chosen] .large img")
    assert photo.get_attribute("src") == f"../thumbs/smoke/{samples['row'][20]}.webp"


def test_an_opened_part_of_the_outline_is_chosen_and_shows_photos(disk, nodes):
    item = disk.locator("[data-outline] li[data-n='1']")
    item.locator("summary").first.click()
    photos = item.locator("> details > .thumbs img")
    sources = photos.evaluate_all("all => all.map(each => each.getAttribute('src'))")
    assert sources == [f"../thumbs/smoke/{row}.webp" for row in nodes["rows"][1][:12]]
    assert disk.locator("[data-chosen] h3").inner_text() == nodes["name"][1]
    disk.get_by_role("button", name="Open all").click()
    assert disk.locator("[data-outline] details:not([open])").count() == 0
    disk.get_by_role("button", name="Close all").click()
    assert disk.locator("[data-outline] details[open]").count() == 0


def test_colours_follow_the_level_and_a_name_can_be_shown_alone(disk, samples):
    kinds = wide(CLASSES)
    for level, names in (("species", 0), ("family", 2)):
        disk.get_by_role("combobox", name="Colour by").select_option(level)
        marks = disk.locator("[data-stage] .images path").evaluate_all(
            "all => all.map(each => each.classList[0])"
        )
        of = [(*kinds[row // EACH], kinds[row // EACH][1].split("/")[0])[names] for row in samples["row"]]
        coloured = {name: mark for name, mark in zip(of, marks, strict=True) if mark != "c6"}
        assert [coloured.get(name, "c6") for name in of] == marks
        assert len(set(coloured.values())) == len(coloured) == min(6, len(set(of)))
        legend = disk.locator("figure.disk .legend li").all_inner_texts()
        assert legend[: len(coloured)] == sorted(coloured, key=coloured.get)
        assert ("others (6)" in legend) == (level == "species")
    disk.get_by_role("combobox", name="Show only").select_option("B")
    assert disk.locator("[data-stage] .images path.in").count() == of.count("B")
    disk.get_by_role("combobox", name="Show only").select_option("all")
    assert disk.locator(".partial").count() == 0


def test_the_disk_can_be_enlarged_but_does_not_catch_the_wheel(disk):
    view = disk.locator("[data-stage] > svg > g")
    disk.locator("[data-stage]").scroll_into_view_if_needed()
    disk.mouse.move(*middle(disk.locator("[data-stage] > svg")))
    before = disk.evaluate("scrollY")
    disk.mouse.wheel(0, 120)
    disk.wait_for_function(f"scrollY !== {before}")
    assert view.get_attribute("transform") is None
    disk.get_by_role("button", name="Zoom in").click()
    assert "scale(2)" in view.get_attribute("transform")
    disk.get_by_role("button", name="Whole disk").click()
    assert "scale(1)" in view.get_attribute("transform")


def test_the_drawn_edges_are_those_of_the_figure(disk, samples, nodes):
    """The scripts draw arcs where Python draws Bézier curves."""
    for image in (3, 40, 90):
        start = samples["x"][image] + 1j * samples["y"][image]
        parent = samples["parent"][image]
        end = nodes["x"][parent] + 1j * nodes["y"][parent]
        (one,), (other,) = handles(np.array([start]), np.array([end]))
        t = np.linspace(0, 1, 400)
        curve = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * one
        curve += 3 * (1 - t) * t**2 * other + t**3 * end
        mark = disk.locator("[data-stage] .images path").nth(image)
        mark.scroll_into_view_if_needed()
        disk.mouse.move(*middle(mark))
        points = disk.locator(".way").evaluate(
            """way => {
                const part = document.createElementNS(way.namespaceURI, "path");
                part.setAttribute("d", "M" + way.getAttribute("d").split("M")[1]);
                const length = part.getTotalLength();
                return [0, 0.25, 0.5, 0.75, 1].map(at => part.getPointAtLength(at * length))
                    .map(({ x, y }) => [x, y]);
            }"""
        )
        for x, y in points:
            assert np.abs(curve - (x - 1j * y) / 1000).min() < 0.004


# --- the disk: by keyboard -----------------------------------------------------------------------


def test_the_keyboard_reaches_everything_on_the_disk(disk, samples, nodes):
    svg, tip, said = (disk.locator(f"[data-stage] {part}") for part in ("> svg", ".tip", "[role=status]"))
    disk.get_by_role("button", name="Whole disk").focus()
    disk.keyboard.press("Tab")
    assert svg.evaluate("svg => svg === document.activeElement")
    assert tip.locator("strong").inner_text() == nodes["name"][0]  # of the most images
    disk.keyboard.press("ArrowDown")
    child = tip.locator("strong").inner_text()
    assert nodes["parent"][nodes["name"].index(child)] == 0
    assert said.inner_text().startswith(f"{child}; ")
    disk.keyboard.press("ArrowUp")
    assert tip.locator("strong").inner_text() == nodes["name"][0]
    for _ in range(10):
        disk.keyboard.press("ArrowDown")
    assert " in " in tip.locator("strong").inner_text()  # an image
    photo = tip.locator("img").get_attribute("src")
    disk.keyboard.press("ArrowRight")
    assert tip.locator("img").get_attribute("src") != photo
    disk.keyboard.press("ArrowLeft")
    assert tip.locator("img").get_attribute("src") == photo
    disk.keyboard.press("Enter")
    assert disk.locator("[data-chosen] .large img").get_attribute("src") == photo
    disk.keyboard.press("+")
    assert "scale(2)" in disk.locator("[data-stage] > svg > g").get_attribute("transform")
    disk.keyboard.press("Escape")
    assert not tip.is_visible()
    assert disk.locator(".partial").count() == 0


def test_once_around_passes_every_image_once(disk, samples):
    disk.locator("[data-stage] > svg").focus()
    for _ in range(10):
        disk.keyboard.press("ArrowDown")
    photo = disk.locator(".tip img")
    seen = []
    for _ in samples["row"]:
        disk.keyboard.press("ArrowRight")
        seen.append(int(photo.get_attribute("src").split("/")[-1].removesuffix(".webp")))
    assert sorted(seen) == samples["row"]


# --- galleries -----------------------------------------------------------------------------------


def test_queries_can_be_filtered_by_what_hier_changed(browser, suite, usual):
    report, views = usual
    duel = Comparison(views, suite.runs).duels()[1]
    hier, pa = ([query["correct"] for query in views[run]["galleries"]["shared"]] for run in (HIER, PA))
    won = [one and not other for one, other in zip(hier, pa, strict=True)]
    assert sum(won) == duel.won > 0
    with visiting(browser, (report / "galleries" / "smoke.html").as_uri()) as visit:
        page = visit.page
        page.get_by_role("combobox", name="Queries").select_option("HIER right, PA wrong")
        assert [article.is_visible() for article in page.locator("article").all()] == won
        assert page.locator("output").inner_text() == f"{duel.won} of 24 queries"
        page.get_by_role("combobox", name="Queries").select_option("PA right, HIER wrong")
        assert page.locator("output").inner_text() == f"{duel.lost} of 24 queries"
        page.get_by_role("button", name="Show all").click()
        page.wait_for_function("document.querySelector('output').textContent === '24 of 24 queries'")


# --- names are data ------------------------------------------------------------------------------


def test_a_class_may_be_called_anything(browser, evil):
    report, _ = evil
    with visiting(browser, (report / "runs" / f"{HIER}.html").as_uri()) as visit:
        page = visit.page
        page.get_by_role("combobox", name="Colour by").select_option("species")
        options = page.get_by_role("combobox", name="Show only").locator("option").all_inner_texts()
        plain = {" ".join(name.split()) for name in NASTY}
        assert plain <= {" ".join(option.split()) for option in options}
        page.locator("[data-stage] .nodes circle[data-n='0']").click()
        page.locator("[data-outline] summary").nth(1).click()
        for text in ("[data-chosen] .thumbs", "[data-outline]", "[aria-labelledby=galleries]"):
            assert "<script>alert(1)</script>" in page.locator(text).first.inner_text()
        assert page.locator("img[src='x']").count() == 0
    for address in (report / "galleries" / "smoke.html", report / "figures" / f"{HIER}-disk.svg"):
        with visiting(browser, address.as_uri()):
            pass


# --- size ----------------------------------------------------------------------------------------


def test_the_largest_disk_opens(browser, suite, tmp_path):
    """600 images and 512 proxies."""
    classes, each = 100, 24
    kinds = wide(classes)
    content = content_of(
        suite,
        tmp_path,
        views={HIER: views_of(0, classes, each, nodes=512, kinds=kinds)},
        images={"smoke": images_of("smoke", tmp_path, classes, each, kinds)},
    )
    report = tmp_path / "report"
    report.mkdir()
    write_report(report, content)
    with visiting(browser, (report / "runs" / f"{HIER}.html").as_uri()) as visit:
        assert visit.page.locator("[data-stage] .nodes circle").count() == 512
        assert visit.page.locator("[data-stage] .images path").count() == 600
