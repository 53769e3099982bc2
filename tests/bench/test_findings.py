"""The few sentences a reader wants first."""

from __future__ import annotations

from dataclasses import replace

from paretolm.bench.results.findings import Finding, findings
from paretolm.bench.results.types import CellResult, Estimate, Metric
from tests.bench.synthetic import comparison


def with_losses(**losses: float) -> list[Finding]:
    """Findings where only these recipes differ from the untouched model, by percent of perplexity."""
    found = comparison()
    recipes = [found.recipes[0]]
    for recipe in found.recipes[1:]:
        loss = losses.get(recipe.typed.partition("(")[0].replace("-", "_"))
        if loss is not None:
            e = Estimate(20, 19, 21, "", 40, 40)
            metric = Metric("perplexity", False, e, Estimate(loss, loss - 1, loss + 1, "%", 40, 40))
            recipes.append(replace(recipe, cells=(CellResult("perplexity", "done", metrics=(metric,)),)))
    return findings(replace(found, recipes=tuple(recipes)))


def test_the_least_cache_the_fastest_and_the_largest_loss() -> None:
    found = with_losses(snapkv=0.4, h2o=5.0, window=540.0)
    assert [(f.value, f.recipe) for f in found] == [
        ("25% of the cache", "snapkv(budget=25%)"),
        ("1.12× the speed", "snapkv(budget=25%)"),
        ("+540.0% perplexity", "window(window=512)"),
    ]


def test_every_task_must_stay_within_the_tolerance() -> None:
    assert not [f for f in findings(comparison()) if "cache" in f.value], "recall is lost wherever perplexity is kept"


def test_nothing_to_say_is_nothing_said() -> None:
    assert with_losses() == []
    assert with_losses(giraffe=0.0) == []
