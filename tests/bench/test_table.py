"""The table in the terminal: one word a recipe, and what the table could not hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paretolm.bench.report.render import render
from paretolm.bench.report.table import remarks, status, table
from paretolm.bench.results.types import CellResult, Estimate, Metric, Runtime
from tests.bench.synthetic import comparison


@pytest.mark.parametrize(
    ("number", "word", "why"),
    [
        (0, "measured", ""),
        (2, "measured", ""),
        (3, "partly failed", "recall: out of memory asking for 2.0 GiB"),
        (5, "on the frontier", ""),
        (11, "n/a", "no task here can see it"),
        (12, "did not act", "perplexity: giraffe changed nothing: every counter is zero"),
    ],
)
def test_one_word_a_recipe(number: int, word: str, why: str) -> None:
    assert status(comparison().recipes[number]) == (word, why)


def test_a_recipe_of_which_a_part_did_nothing_says_so() -> None:
    recipe = replace(
        comparison().recipes[10], acted={"kv-quant": {"tokens_quantized": 0}, "window": {"tokens_evicted": 9}}
    )
    assert status(recipe) == ("partly acted", "kv-quant changed nothing: every counter stayed at zero")
    assert recipe.ranked, "its numbers are its own"


def test_a_task_too_short_for_a_recipe_says_so_and_the_others_rank_it() -> None:
    found = comparison(7)
    recipe = found.recipes[6]
    idle = replace(recipe.cells[1], state="did not act", reason="did not act here: prompts shorter than 160 tokens")
    missed = replace(recipe, cells=(recipe.cells[0], idle))
    assert (missed.ranked, status(missed)[0]) == (False, "did not act"), "nothing foretold it"
    short = replace(recipe, cells=(recipe.cells[0], replace(idle, short=True)))
    assert (short.ranked, status(short)) == (True, ("on the frontier", f"recall: {idle.reason}"))
    shown = replace(found, recipes=(*found.recipes[:6], short))
    columns = {str(c.header): [str(cell) for cell in c.cells] for c in table(shown).columns}
    assert columns["recall\naccuracy"][6] == "did not act", "never the untouched model's number"
    assert f"{short.typed}: recall: {idle.reason}" in remarks(shown)
    assert f'<abbr title="{idle.reason}">did not act</abbr>' in render(shown)
    alone = replace(short, cells=short.cells[1:])
    assert (alone.ranked, status(alone)[0]) == (False, "did not act"), "it acted nowhere"


def test_a_speed_that_cannot_be_true_is_flagged_and_not_printed() -> None:
    found = comparison(3)
    flagged = replace(found.recipes[2], speed=None, runtime=None, flags=("decoding at 9e9 tokens/s is impossible",))
    timed = replace(found.recipes[1], runtime=Runtime(0.5123, 0.0314))
    shown = replace(found, recipes=(found.recipes[0], timed, flagged))
    assert status(flagged) == ("speed flagged", "speed: decoding at 9e9 tokens/s is impossible")
    assert f"{flagged.typed}: speed: decoding at 9e9 tokens/s is impossible" in remarks(shown)
    columns = {str(column.header): [str(cell) for cell in column.cells] for column in table(shown).columns}
    assert columns["speed"][2] == "flagged"
    assert columns["runtime"] == ["–", "0.512 s\nideal 0.0314 s", "–"]
    assert "runtime" not in {str(column.header) for column in table(found).columns}


def test_a_cell_that_failed_keeps_a_recipe_out_of_the_ranking() -> None:
    recipes = comparison().recipes
    assert [r.ranked for r in recipes[:5]] == [True, True, True, False, True]
    assert not recipes[12].ranked, "nor one that did not act"
    failed = replace(recipes[1], cells=(CellResult("recall", "failed", "gone"),))
    assert status(failed) == ("failed", "recall: gone")


def test_audits_are_printed_beside() -> None:
    gap = Metric("audit_nll_gap", False, Estimate(0.0123, 0.0101, 0.0161, "nats/token", 1, 24))
    found = comparison(3)
    cells = (replace(found.recipes[1].cells[0], metrics=(*found.recipes[1].cells[0].metrics, gap)),)
    recipes = (found.recipes[0], replace(found.recipes[1], cells=cells), found.recipes[2])
    lines = remarks(replace(found, recipes=recipes))
    assert "one token at a time minus in chunks, nats/token: window(window=512) +0.0123" in lines
    assert not [line for line in remarks(found) if "in chunks" in line]
