"""The report: everything in one file, nothing from outside unescaped, legible without colour."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from paretolm.bench.report import charts
from paretolm.bench.report.render import render, shade, write
from paretolm.bench.results.types import Comparison
from paretolm.errors import StoreError
from tests.bench.synthetic import comparison

ASSETS = Path(charts.__file__).parent / "assets"


class Page(HTMLParser):
    """Tags with their attributes, the text outside of scripts and styles, and the embedded data."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._data, self._inside = "", "", ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "data":
            self._data += data
        elif not self._inside:
            self.text += data

    @property
    def data(self) -> dict[str, list[dict]]:
        return json.loads(self._data, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(comparison()))


def test_it_needs_no_network(page: Page) -> None:
    assert not any("src" in a or "srcset" in a for _, a in page.tags)
    assert not page.of("link") + page.of("iframe") + page.of("object")
    assert not re.search(r"url\(|@import", (ASSETS / "report.css").read_text())
    policy = next(a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_it_says_what_was_measured(page: Page) -> None:
    for words in (
        "window(window=512)",
        "out of memory asking for 2.0 GiB",  # why a cell failed
        "the task cannot see any place where the recipe acts",  # n/a, explained
        "did not act",
        "200 items from 50 documents",
        "0000000000000000",  # a recipe's hash
        "Example CPU",
        "torch 2.13.0",
        "perplexity 64",  # a chunk
    ):
        assert words in page.text, words


@pytest.mark.parametrize(
    "evil", ["</script><script>alert(1)</script>", "<img onerror=alert(1)>", "שלום עולם", "🦊", "{{ 7*7 }}", "\"'`"]
)
def test_names_from_outside_are_text(evil: str) -> None:
    plain = Page(render(comparison()))
    recipes = list(comparison().recipes)
    recipes[1] = replace(recipes[1], typed=evil, line=evil)
    page = Page(render(comparison(title=evil, model=evil, text=evil, recipes=tuple(recipes))))
    assert Counter(tag for tag, _ in page.tags) - Counter(tag for tag, _ in plain.tags) == Counter()
    assert page.text.count(evil) >= 4
    assert evil in {p["name"] for t in page.data["trades"] for c in t["axes"].values() for p in c["points"]}


def test_what_a_reader_of_another_script_wrote_keeps_its_direction(page: Page) -> None:
    assert len(page.of("bdi")) > 2 * len(comparison().recipes)


def test_every_chart_has_its_words_and_its_table(page: Page) -> None:
    drawn = [a for a in page.of("div") if a.get("role") == "img"]
    assert len(drawn) == 2 + len(page.data["curves"])
    assert all(a["aria-label"] for a in drawn)
    assert len(page.of("details")) >= len(page.data["curves"]) + 1
    identities = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identities) == len(set(identities))


def test_the_table_can_be_sorted_by_every_column(page: Page) -> None:
    rows = re.findall(r"<tr class=.*?</tr>", render(comparison()), flags=re.DOTALL)
    assert len(rows) == len(comparison().recipes)
    assert {row.count("data-v=") for row in rows} == {6 + len(comparison().tasks)}


def test_it_shrinks_to_what_there_is() -> None:
    bare = replace(comparison().recipes[0], cells=(), kv_bytes=None, weight_bytes=None)
    for few in (comparison(1), comparison(2), comparison(recipes=(bare,), tasks=())):
        assert "How it was measured" in Page(render(few)).text


def test_it_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "report.html"
    write(comparison(2), target)
    assert target.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert list(target.parent.iterdir()) == [target]
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written .* give another --report"):
        write(comparison(2), tmp_path / "file" / "report.html")


# --- what is drawn ---


def trade(axis: str, found: Comparison | None = None) -> dict:
    return charts.trades(found or comparison())[0]["axes"][axis]


def test_the_frontier_is_drawn_among_what_was_measured() -> None:
    points = {p["number"]: p for p in trade("cache")["points"]}
    assert 11 not in points, "a cell without a number is no point"
    assert 12 not in points, "nor is one that did not act"
    assert {n for n, p in points.items() if p["frontier"]} == {5, 6, 7, 10, 13}


def test_a_far_outlier_is_put_at_the_edge() -> None:
    chart = trade("cache")
    beyond = [p["number"] for p in chart["points"] if p["beyond"]]
    assert beyond == [1]
    assert max(p["y"] for p in chart["points"] if not p["beyond"]) <= chart["limit"] < 540


@pytest.mark.parametrize(
    ("values", "higher", "limit"),
    [
        ([0, 1, 2, 3, 500], False, 3 * 1.15),
        ([0, -1, -2, -3, -500], True, -3 * 1.15),
        ([0, 1, 2, 3, 4], False, None),
        ([0, 0, 0, 0, 9], False, None),
        ([0, 900], False, None),
    ],
)
def test_where_the_axis_ends(values: list[float], higher: bool, limit: float | None) -> None:
    assert charts.worst_drawn(values, higher) == pytest.approx(limit)


def test_buckets_stand_in_their_middle() -> None:
    assert charts.places([0, 128, 256]) == pytest.approx([64, 181.02, 362.04], abs=0.01)
    assert charts.places([0]) == [1.0]


def test_a_grid_has_a_panel_a_recipe() -> None:
    (grid,) = charts.grids(comparison())
    assert (grid["x_name"], grid["y_name"]) == ("length", "depth")
    assert [p["number"] for p in grid["panels"]] == [i for i in range(15) if i not in (3, 11)]
    assert all(len(row["cells"]) == 4 for p in grid["panels"] for row in p["rows"])


def test_shades() -> None:
    assert [shade(v) for v in (-1, 0, 0.26, 1, 2)] == [0, 0, 3, 10, 10]


# --- legibility ---


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("theme", "card", "mark"), [("light", "#ffffff", "#ffffff"), ("dark", "#181c22", "#101317")])
def test_marks_stand_out_from_the_page_and_their_numbers_from_them(theme: str, card: str, mark: str) -> None:
    code = (ASSETS / "report.js").read_text()
    colours = re.search(rf"{theme}: {{(.*?)}}", code, flags=re.DOTALL)
    assert colours is not None
    palette = dict(re.findall(r'(\w+): "(#\w{6})"', colours[1]))
    assert palette.keys() == charts.FAMILIES.keys()
    assert card in (ASSETS / "report.css").read_text()
    assert all(contrast(c, card) >= 4.5 and contrast(c, mark) >= 4.5 for c in palette.values()), palette
