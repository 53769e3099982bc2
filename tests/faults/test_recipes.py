"""Recipes that cannot be: refused by a sentence before anything runs. More in tests/recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from paretolm.bench.desk import Request
from paretolm.errors import CallError, ParetoError, RecipeError
from paretolm.recipes.index import methods
from paretolm.recipes.recipe import Recipe
from tests.contract.tiny import VOCAB, tiny
from tests.evaluation import judging

OPEN = [m for m in methods() if all(k.default is not None for k in m.knobs)]
KNOBS = {f"{m.name}({k.name})": (m.name, k) for m in OPEN for k in m.knobs}
NUMBERS = {name: (method, k.name) for name, (method, k) in KNOBS.items() if k.annotation == "float"}
BUDGETS = {name: (method, k.name) for name, (method, k) in KNOBS.items() if k.annotation == "Budget"}
DRAFTED = {"draft-approx", "specpc"}  # their second model is loaded where there is something to drop


def test_there_are_knobs_of_every_sort() -> None:
    assert len(OPEN) > 50
    assert len(NUMBERS) > 20
    assert len(BUDGETS) > 10


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1e9"])
def test_a_number_that_none_can_be(name: str, value: str) -> None:
    method, knob = NUMBERS[name]
    with pytest.raises(RecipeError, match=method):
        Recipe.parse(f"{method}({knob}={value})")


@pytest.mark.parametrize("name", BUDGETS)
@pytest.mark.parametrize("value", ["0%", "-5%", "101%", "nan%", "0tok", "-3tok", "0.25", "1e999%"])
def test_a_share_that_none_can_be(name: str, value: str) -> None:
    method, knob = BUDGETS[name]
    with pytest.raises(RecipeError, match=method):
        Recipe.parse(f"{method}({knob}={value})")


def refusal(recipe: str, length: int) -> str:
    """Why a recipe writes nothing after a prompt of so many tokens; empty where it writes three tokens or fewer."""
    ids = torch.randint(3, VOCAB, (1, length), generator=torch.Generator().manual_seed(length))
    try:
        with Recipe.parse(recipe).apply(tiny("llama")) as session:
            written = len(session.generate(ids, max_new_tokens=3).ids)
    except ParetoError as error:
        return str(error)
    return "" if 1 <= written <= 3 else f"{written} tokens were written"


@pytest.mark.parametrize("name", sorted({m.name for m in OPEN} - DRAFTED))
@pytest.mark.parametrize("length", [1, 5])
def test_a_prompt_shorter_than_every_window(name: str, length: int) -> None:
    """It runs, or is refused by a sentence that names the method (nothing fitted, no room): never anything else."""
    why = refusal(name, length)
    assert not why or name in why


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_of_one_token(name: str) -> None:
    """Smaller than sinks and window of any method: refused by a sentence, or kept to."""
    method, knob = BUDGETS[name]
    why = refusal(f"{method}({knob}=1tok)", 40)
    assert not why or method in why or "draft" in why


def test_a_draft_with_another_tokenizer(tmp_path: Path) -> None:
    judging.lm().model.save_pretrained(tmp_path)
    judging.tokenizer.__wrapped__(300).save_pretrained(tmp_path)
    recipe = Recipe.parse(f"draft-approx(draft='{tmp_path}', budget=25%)")
    with recipe.apply(judging.lm()) as session, pytest.raises(CallError, match="has another tokenizer"):
        session.generate("river stone " * 30, max_new_tokens=2)


def test_a_seed_that_was_not_given_is_one_that_is_known() -> None:
    seeds = {f"{m.name}({k.name})": k.default for m in OPEN for k in m.knobs if k.name == "seed"}
    assert seeds
    assert all(int(seed) >= 0 for seed in seeds.values())
    assert Request().seed == 0
