"""The page, the table and the recipe's file say what was found, escape what came from outside, and need no network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from paretolm.bench.tune.page import render, write
from paretolm.bench.tune.picture import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, picture
from paretolm.bench.tune.recipe_file import save
from paretolm.bench.tune.table import remarks, show, verdict
from paretolm.bench.tune.types import Tuned
from paretolm.errors import StoreError
from paretolm.recipes.recipe import Recipe
from tests.bench.tune.planted import tuned


@pytest.fixture(scope="module")
def found() -> Tuned:
    return tuned()


@pytest.fixture(scope="module")
def impossible() -> Tuned:
    return tuned("0.1%")


def test_the_page_needs_nothing_else_and_escapes(found: Tuned) -> None:
    page = render(found)
    assert not re.search(r"(src|href)=\"(?!#)|@import|url\(|<script", page)
    assert "<b>text</b>" not in page
    assert "&lt;b&gt;text&lt;/b&gt;" in page
    assert "a &lt;cpu&gt;" in page
    assert page.count('class="best"') == 2  # its mark and its row


def test_an_impossible_budget_is_said_first(impossible: Tuned) -> None:
    page = render(impossible)
    assert "<h1>No recipe meets the limits</h1>" in page
    assert "--kv 0.1% binds: the least that any of " in page
    told = verdict(impossible)
    assert told[0] == "no recipe meets --kv 0.1%, kl<0.05 at 1,000 tokens"
    assert told[2].startswith("nearest: ")
    assert told[3].startswith("if --kv 0.1% alone gave way to ")


def test_all_points_lie_in_the_box_and_the_frontier_falls(found: Tuned, impossible: Tuned) -> None:
    for one in (found, impossible):
        drawn = picture(one)
        assert drawn["points"]
        for p in drawn["points"]:
            assert LEFT <= p["x"] <= WIDTH - RIGHT
            assert TOP <= p["y"] <= HEIGHT - BOTTOM
        line = [tuple(map(float, xy.split(","))) for xy in drawn["front"].split()]
        assert line == sorted(line)
        heights = [y for _, y in line]
        assert heights == sorted(heights)  # down in pixels is less loss
        assert len(drawn["x_ticks"]) >= 2
        assert len(drawn["y_ticks"]) >= 2


def test_the_limits_are_drawn_where_they_are(found: Tuned) -> None:
    drawn = picture(found)
    best = next(p for p in drawn["points"] if p["kind"] == "best")
    assert best["x"] <= drawn["limit_x"]
    assert best["y"] >= drawn["limit_y"]


def test_the_terminal_names_unit_interval_count_and_what_was_left_out(
    found: Tuned, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    show(found)
    out = capsys.readouterr().out
    assert "proof of window(window=64) + kv-quant(bits=4)" in out
    assert "10 documents" in out
    assert "met" in out
    assert "best recipe: window(window=64) + kv-quant(bits=4); its proof meets --kv 12%, kl<0.05" in out
    assert "left out, must be fitted first (paretolm fit): learnt" in out
    assert remarks(found)[-1] == "10 items scored, 0 read from results.sqlite, in 1.0 s"


def test_the_recipe_file_is_read_back_and_carries_its_proof(found: Tuned, tmp_path: Path) -> None:
    path = save(found, tmp_path / "new" / "best.toml")
    assert str(Recipe.parse(path)) == "window(window=64) + kv-quant(bits=4)"
    text = path.read_text()
    assert "# found for planted at 1,000 tokens, on <b>text</b>" in text
    assert "# --kv 12%: " in text


def test_json_holds_the_same(found: Tuned, impossible: Tuned) -> None:
    for one in (found, impossible):
        plain = json.loads(json.dumps(one.to_dict(), allow_nan=False))
        assert plain["limits"][0]["text"].startswith("--kv")
    assert json.loads(json.dumps(found.to_dict()))["best"]["line"] == "window(window=64) + kv-quant(bits=4)"


def test_a_place_that_cannot_be_written_is_one_sentence(found: Tuned, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for call, option in ((lambda p: write(found, p), "--report"), (lambda p: save(found, p), "--to")):
        with pytest.raises(StoreError, match=rf"file/x cannot be written \(File exists\); give another {option}$"):
            call(tmp_path / "file" / "x")
