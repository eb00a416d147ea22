"""A headless Chromium that tells what a page complains of and what it asks of others.

`make browser` installs it. Where there is none, tests are skipped; with CI=true they fail.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@contextmanager
def started() -> Iterator[Browser]:
    """The browser of this machine."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing = "there is no Chromium on this machine; install it with: make browser"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


EVERY_RULE: dict = {}
CONTRAST = {"runOnly": ["color-contrast"]}
NOT_CONTRAST = {"rules": {"color-contrast": {"enabled": False}}}  # most of the time


class Visit:
    """A page with everything that went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page, self.complaints = page, list[str]()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._on_request)
        page.on("requestfailed", lambda request: self.complaints.append(f"missing: {request.url}"))
        page.on("dialog", self._on_dialog)

    def _on_console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text}")

    def _on_request(self, request) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.complaints.append(f"asks the network: {request.url}")

    def _on_dialog(self, dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def violations(self, rules: dict) -> list[str]:
        """Serious and critical ones of some of axe-core's rules, with the elements."""
        # Preloading reads style sheets anew, which a page from disk may not.
        options = {"resultTypes": ["violations"], "preload": False} | rules
        found = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]

    def is_wider_than_the_screen(self) -> bool:
        return self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


@contextmanager
def visiting(browser: Browser, address: str, **context) -> Iterator[Visit]:
    """A page in a window of its own; it may complain of nothing."""
    window = browser.new_context(**({"viewport": DESK} | context))
    window.set_default_timeout(5_000)
    visit = Visit(window.new_page())
    visit.page.goto(address)
    yield visit
    complaints = list(visit.complaints)  # closing breaks off what is still being loaded
    window.close()
    assert not complaints, complaints
