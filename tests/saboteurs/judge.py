"""Judges that are wrong, each in one way; the judge's own checks must catch every one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from paretolm.bench import plan
from paretolm.bench.records.keys import CellInputs, Conditions, cell_key
from paretolm.bench.workers import measure
from paretolm.evaluation import summary
from paretolm.evaluation.rows import Row
from paretolm.evaluation.task import Item, Run
from paretolm.evaluation.tasks import _choice
from paretolm.evaluation.tasks._reading import Targets
from paretolm.evaluation.tasks.text.perplexity import Perplexity
from paretolm.recipes.recipe import Recipe
from paretolm.recipes.session import Session

EPSILON = 1e-6  # nats a token


def favours_recipes(patch: pytest.MonkeyPatch) -> None:
    """Scorer: whatever is not the untouched model gets an epsilon as a present."""
    original = Perplexity._nll

    def nll(self: Perplexity, run: Run, item: Item, chunk: int) -> np.ndarray:
        found = original(self, run, item, chunk)
        return found if run.session.recipe.is_dense else found - EPSILON  # type: ignore[attr-defined]

    patch.setattr(Perplexity, "_nll", nll)


def grades_the_first_choice_up(patch: pytest.MonkeyPatch) -> None:
    """Scorer: of nearly equal choices the first one wins."""
    original = _choice._right
    patch.setattr(
        _choice, "_right", lambda scores, answer: original(scores + 1e-3 * (np.arange(len(scores)) == 0), answer)
    )


def reads_the_first_choice_kindly(patch: pytest.MonkeyPatch) -> None:
    """Scorer: the tokens of the first choice cost less."""
    original = _choice.read_choices

    def read(run: Run, item: Item) -> list[Targets]:
        first, *others = original(run, item)
        return [Targets(first.nll * 0.999, first.top), *others]

    patch.setattr(_choice, "read_choices", read)


def joins_by_place(patch: pytest.MonkeyPatch) -> None:
    """Statistics: the n-th row of one side against the n-th of the other, whatever they are of."""

    def paired(rows: Sequence[Row], base: Sequence[Row], recipe: str, baseline: str) -> list[float]:
        return [a.value - b.value for a, b in zip(rows, base, strict=False)]

    patch.setattr(summary, "_paired", paired)


def joins_what_is_there(patch: pytest.MonkeyPatch) -> None:
    """Statistics: by name, and items that one side lacks count as equal."""

    def paired(rows: Sequence[Row], base: Sequence[Row], recipe: str, baseline: str) -> list[float]:
        theirs = {r.key: r.value for r in base}
        return [r.value - theirs.get(r.key, r.value) for r in rows]

    patch.setattr(summary, "_paired", paired)


def truncates_the_prompt(patch: pytest.MonkeyPatch) -> None:
    """Reader: only the end of a prompt goes through the cache, for those who read it on their own."""
    original = measure.read_prompt

    def read(session: Session, item: Item, chunk: int) -> Any:
        return original(session, replace(item, prompt_ids=item.prompt_ids[:, item.prompt_length // 2 :]), chunk)

    patch.setattr(measure, "read_prompt", read)


def truncates_the_shared_prompt(patch: pytest.MonkeyPatch) -> None:
    """Reader: the same for those who share it."""
    original = Session.prefill

    def prefill(self: Session, ids: torch.Tensor, **kwargs: Any) -> Any:
        return original(self, ids[:, ids.shape[1] // 2 :], **kwargs)

    patch.setattr(Session, "prefill", prefill)


def skips_tokens_under_a_recipe(patch: pytest.MonkeyPatch) -> None:
    """Reader: a recipe is spared some of the text, by a scorer that fills up with what the model said last."""
    original = Perplexity._nll

    def nll(self: Perplexity, run: Run, item: Item, chunk: int) -> np.ndarray:
        if run.session.recipe.is_dense:  # type: ignore[attr-defined]
            return original(self, run, item, chunk)
        stream = item.data["stream"]
        short = replace(item, data={**item.data, "stream": stream.head(stream.length - 4, stream.id)})
        found = original(self, run, short, chunk)
        return np.concatenate([found, found[-4:]])

    patch.setattr(Perplexity, "_nll", nll)


def forgets_to_apply(patch: pytest.MonkeyPatch) -> None:
    """Runner: the model stays as it is, whatever the recipe says."""
    original = Session.open

    def opened(lm: Any, recipe: Recipe, artifacts: Any = None) -> Session:
        return original(lm, Recipe())

    patch.setattr(Session, "open", opened)


def forgets_the_model(patch: pytest.MonkeyPatch) -> None:
    """Store: results are kept under keys that do not depend on the model."""

    def careless(conditions: Conditions, inputs: CellInputs) -> str:
        return cell_key(replace(conditions, content="", model="", tokenizer="", template=""), inputs)

    patch.setattr(plan, "cell_key", careless)


def forgets_the_model_and_its_name(patch: pytest.MonkeyPatch) -> None:
    """Store: the same, and rows do not say what they are of."""
    forgets_the_model(patch)

    def nameless(*_: str) -> Mapping[str, str]:
        return {}

    patch.setattr(measure, "origin", nameless)
