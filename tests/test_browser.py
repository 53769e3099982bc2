"""The browser of tests hears what goes wrong in a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import Pages


def page(folder: Path, body: str) -> str:
    file = folder / "page.html"
    file.write_text(f"<!doctype html><title>a page</title><link rel=icon href='data:,'>{body}", encoding="utf-8")
    return file.as_uri()


def test_a_quiet_page_passes(browser, tmp_path):
    assert browser(page(tmp_path, "<p>hello")).title() == "a page"


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        ("<script>console.error('it broke')</script>", "console error: it broke"),
        ("<script>throw new Error('uncaught one')</script>", "uncaught one"),
        ("<img src='http://somewhere.invalid/a.png'>", "another machine: http://somewhere.invalid/a.png"),
        (
            "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'\"><script>1</script>",
            "Content Security Policy",
        ),
    ],
)
def test_trouble_is_heard(chromium, tmp_path, body, trouble):
    pages = Pages(chromium)
    pages(page(tmp_path, body)).wait_for_load_state("networkidle")
    pages.close()
    assert any(trouble in told for told in pages.troubles), pages.troubles


def test_what_a_test_provokes_is_let_pass(browser, tmp_path):
    browser(page(tmp_path, "<script>console.error('it broke')</script>"), expected="broke")
