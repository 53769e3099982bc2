"""Chromium for tests of pages. A test fails where its page complains or reaches for another machine."""

from __future__ import annotations

import ipaddress
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
)
PATIENCE_MS = 120_000  # machines that test may be busy


@pytest.fixture(scope="module")  # while playwright lives there is a running loop in this thread, so no longer
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = next(filter(None, map(shutil.which, NAMES)), own if Path(own).exists() else None)
        if found is None:
            pytest.skip(f"no browser: none of {', '.join(NAMES)} is here, nor playwright's own")
        with playwright.chromium.launch(executable_path=found, args=FLAGS, timeout=PATIENCE_MS) as launched:
            yield launched


class Pages:
    """Opens pages, each with a storage of its own, and hears what goes wrong in them."""

    def __init__(self, browser: Browser) -> None:
        self.troubles: list[str] = []
        self._browser = browser
        self._contexts: list[BrowserContext] = []

    def __call__(self, url: str = "", *, width: int = 1100, height: int = 800, expected: str = "", **more: Any) -> Page:
        """A page at url (http or file). expected: a pattern of console errors that the test provokes; more: of
        playwright's new_context."""
        context = self._browser.new_context(viewport={"width": width, "height": height}, **more)
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()

        def hear(message: ConsoleMessage) -> None:
            known = expected and re.search(expected, message.text)
            if message.type in ("error", "warning") and not known:
                self.troubles.append(f"console {message.type}: {message.text}")

        page.on("console", hear)
        page.on("pageerror", lambda error: self.troubles.append(f"uncaught: {error}"))
        context.on("request", self._look_at)
        if url:
            page.goto(url)
        return page

    def close(self) -> None:
        while self._contexts:
            self._contexts.pop().close()

    def _look_at(self, request: Request) -> None:
        if not _local(urlsplit(request.url).hostname):
            self.troubles.append(f"a request to another machine: {request.url}")


def _local(host: str | None) -> bool:
    """None, for file: and data:, is."""
    if host in (None, "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Pages]:
    """browser(url) -> a playwright Page."""
    pages = Pages(chromium)
    yield pages
    pages.close()
    assert not pages.troubles
