"""Photograph the pages of a report for the README: table, run, disk and gallery.

    hier compose suite=grocery && snakemake --cores all && make screenshots

Each is a PNG with a palette, well below 300 kB.
"""

import argparse
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

REPORT, OUT = Path("results/grocery/report"), Path("docs/screenshots")
WIDTH, HEIGHT, TALL = 1200, 900, 1180
COLOURS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, default=REPORT, help="a report's folder")
    parser.add_argument("--out", type=Path, default=OUT, help="where the pictures go")
    args = parser.parse_args()
    if not (args.report / "index.html").exists():
        sys.exit(f"error: there is no report in {args.report}; make it with: hier report")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("error: there is no Chromium on this machine; install it with: make browser")
    args.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser).new_page()
        for name, (photograph, height) in PICTURES.items():
            page.set_viewport_size({"width": WIDTH, "height": height})
            photograph(page, args.report)
            save(page.screenshot(), args.out / f"{name}.png")


def table(page: Page, report: Path) -> None:
    page.goto((report / "index.html").resolve().as_uri())


def run(page: Page, report: Path) -> None:
    page.goto(hier_run(report).as_uri())
    page.locator("[data-curves] svg").first.wait_for()


def disk(page: Page, report: Path) -> None:
    """A proxy below the topmost is chosen, and an image below it is pointed at."""
    page.goto(hier_run(report).as_uri())
    page.locator("#hierarchy").evaluate("heading => heading.scrollIntoView()")
    page.locator("[data-stage] .nodes circle").nth(1).click(force=True)
    page.locator("[data-stage] .images path.in").nth(3).hover(force=True)
    page.locator(".tip img").wait_for()


def gallery(page: Page, report: Path) -> None:
    """The first query on which the runs disagree."""
    (path, *_) = sorted((report / "galleries").glob("*.html"))
    page.goto(path.resolve().as_uri())
    page.locator("select[name=which]").select_option("differ")
    page.locator("#queries").evaluate("heading => heading.scrollIntoView()")
    page.wait_for_load_state("networkidle")


def hier_run(report: Path) -> Path:
    """The page of the first run with hierarchical proxies, else of the first run."""
    pages = sorted((report / "runs").glob("*.html"))
    return next((p for p in pages if "-hier-" in p.name), pages[0]).resolve()


def save(picture: bytes, path: Path) -> None:
    packed = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS)
    packed.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


PICTURES = {
    "table": (table, HEIGHT),
    "run": (run, TALL),
    "disk": (disk, HEIGHT),
    "gallery": (gallery, HEIGHT),
}

if __name__ == "__main__":
    main()
