"""The static site in Chromium: on a phone and on a desk, with search, filters, and titles that nobody should run."""

from __future__ import annotations

import pytest

from paretolm import catalogue
from paretolm.catalogue.page import write_site
from tests.browser import Pages, browser, chromium  # noqa: F401

from .made import entry, record

HOSTILE = '<script>document.title = "ran"</script><img src=x onerror="document.title = 1">'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The whole catalogue, a listed paper, and titles of every kind."""
    odd = [
        entry("hostile", HOSTILE, title=HOSTILE, date="2999-01-01"),
        entry("long", title="W" * 300, date="2999-01-01"),
        entry(
            "2401.00001",
            title="مرحبا 👩‍🔬",
            kind="listed",
            family="",
            arxiv="2401.00001",
            authors=("נועה <b>", "A" * 200),
        ),
    ]
    place = tmp_path_factory.mktemp("site")
    return write_site(place, [*odd, *catalogue.entries()], {"think": record("think", "partly", "not")}).as_uri()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_beyond_the_edge_and_nothing_runs(browser: Pages, site: str, width: int, scheme: str) -> None:  # noqa: F811
    page = browser(site, width=width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title() == "Papers"
    assert page.locator("#hostile h3").inner_text() == f"hostile {HOSTILE}"
    assert page.evaluate("document.documentElement.dataset.theme") == scheme


def test_words_and_filters_narrow_what_is_shown(browser: Pages, site: str) -> None:  # noqa: F811
    page = browser(site)
    shown = page.locator(".paper:visible")
    assert shown.count() == 235
    page.fill("#words", "attention SINKS")
    assert page.locator("#streaming-llm").is_visible()
    assert 0 < shown.count() < 30
    assert page.locator("#shown").inner_text() == f"{shown.count()} shown"
    page.fill("#words", "zyzzyva")
    assert shown.count() == page.locator(".day:visible").count() == 0
    page.fill("#words", "")
    page.select_option("#kind", "listed")
    assert shown.count() == 1
    page.select_option("#kind", "")
    page.select_option("#verdict", "partly")
    assert [shown.nth(i).get_attribute("id") for i in range(shown.count())] == ["think"]
    page.select_option("#slot", "decode")
    assert shown.count() == 0
    page.select_option("#slot", "store")
    page.check("#runs")
    assert shown.count() == 1
    page.locator("#think summary").click()
    assert "measured: speed" in page.locator("#think").inner_text()


def test_the_theme_is_switched_by_a_key(browser: Pages, site: str) -> None:  # noqa: F811
    page = browser(site, color_scheme="light")
    page.focus("#theme")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
