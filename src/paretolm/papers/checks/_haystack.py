"""A fact in a text of many trained lengths: what a recipe that shortens prompts keeps of it, and what is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ...bridge.lm import LM
    from ...evaluation.task import Item
    from ...recipes.session import Session
    from ...studies.study import Findings, Number, Place

ITEMS = 20
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
NEW = 8
USES = ("papers/checks/_haystack.py", "evaluation/tasks/context/recall.py", "methods/prompt")


@dataclass(frozen=True)
class Read:
    """What was read of one item's prompt. kept: the fact that is asked for stands in it; right: the answer is its."""

    kept: bool
    right: bool
    tokens: int


def questions(at: Place, lm: LM, lengths: float) -> list[Item]:
    """Items of the task recall with one fact in `lengths` trained lengths, each in documents drawn for it."""
    from ...evaluation.tasks.context.recall import Recall

    found = []
    for seed in range(ITEMS):
        task = Recall(lengths=(lengths,), depths=(DEPTHS[seed % len(DEPTHS)],), repeats=1, seed=seed)
        found += task.items(at.source, lm)
    return found


def read(session: Session, item: Item, ids: Tensor) -> Read:
    """ids [1, T]: a prompt that the recipe in force leaves as it is."""
    from ...evaluation.metrics.answers import first_number

    assert session.tokenizer is not None  # the item was made with it
    context = session.tokenizer.decode(ids[0]).rpartition("Question:")[0]
    answer = session.generate(ids, max_new_tokens=NEW).text or ""
    key = item.data["key"]
    return Read(f" {key}." in context, first_number(answer) == key, ids.shape[1])


def last_tokens(ids: Tensor, longest: int) -> Tensor:
    """Truncation: the end of the prompt, with its first token."""
    import torch

    return torch.cat([ids[:, :1], ids[:, 1 - longest :]], dim=1)


def findings(arms: Mapping[str, list[Read]], window: int, main: str) -> Findings:
    """Numbers of every arm, and the paired change of answers of `main` against the others."""
    from ...evaluation.rows import Row
    from ...studies.study import Findings
    from ..numbers import change, exact, share

    names = [str(i) for i in range(ITEMS)]
    numbers: dict[str, Number] = {}
    rows = {}
    for arm, found in arms.items():
        numbers[f"{arm}: fact kept"] = share([one.kept for one in found], names)
        numbers[f"{arm}: answers"] = share([one.right for one in found], names)
        rows[arm] = [Row(n, n, "recall", float(one.right)) for n, one in zip(names, found, strict=True)]
    for arm in arms:
        if arm != main:
            numbers[f"change of answers against {arm}"] = change(rows[main], rows[arm])
    numbers["longest prompt that is read, of the window"] = exact(
        100 * max(one.tokens for one in arms[main]) / window, "%"
    )
    lines = [
        {"arm": arm, "item": n, "kept": one.kept, "right": one.right, "tokens": one.tokens}
        for arm, found in arms.items()
        for n, one in zip(names, found, strict=True)
    ]
    return Findings(numbers=numbers, rows=lines)


def measured(
    at: Place, line: str, lengths: float, others: Mapping[str, Callable[[Item, Tensor, int], Tensor]], main: str
) -> Findings:
    """The recipe `line` on the questions, and other ways to shorten them, which get item, ids and the tokens that the
    recipe read."""
    import torch

    from ...recipes.recipe import Recipe
    from ...recipes.session import Session

    lm = at.load(at.models[0])
    items = questions(at, lm, lengths)
    at.progress.plan({main: main})
    arms: dict[str, list[Read]] = {name: [] for name in (main, *others)}
    with torch.inference_mode(), Session.open(lm, Recipe.parse(line)) as session:
        for number, item in enumerate(items):
            own = session.rewrite(item.prompt_ids).ids
            arms[main].append(read(session, item, own))
            for name, shorten in others.items():
                arms[name].append(read(session, item, shorten(item, item.prompt_ids, own.shape[1])))
            at.progress.update(main, (number + 1) / len(items))
    return findings(arms, lm.view.trained_length, main)
