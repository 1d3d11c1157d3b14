"""A page in a real browser: the machine's Chromium, driven by Playwright, which brings none of its own.

Playwright is in the group `page`: what opens a browser is marked `page`, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.servers import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The machine's Chromium."""
    from playwright.sync_api import sync_playwright

    binary = next(filter(None, map(shutil.which, NAMES)), None)
    if binary is None:
        missing("no Chromium on this machine")
    with sync_playwright() as playwright:
        # Without its sandbox it also runs as root, as in a container.
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page() -> Iterator[Page]:
    """An empty page; what it complains of fails the test at its end."""
    with open_browser() as browser:
        page = browser.new_page()
        page.set_default_timeout(20_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        assert errors == []
