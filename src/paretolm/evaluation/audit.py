"""The judge's checks of itself: it scores a few items a second time in ways that must change nothing.

A/A: the untouched model goes the way of a recipe, through a method that does nothing, and must get the very rows of
the untouched model. A scorer that looks at which side it scores, or a store that hands out another model's rows,
cannot pass. Choices stand in another order meanwhile, which must change nothing either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
from torch import Tensor

from ..contracts import WHOLE, Edit, Method, ModelView, Phase, Slot
from ..errors import CellError
from .rows import Row
from .task import Item, Task
from .tasks._choice import ChoiceTask
from .tasks._reading import Targets

MOST = 4  # items scored again
SHARE = 20  # one of so many scores is repeated, and at least one
NUDGE = 1e-6  # nats by which a choice is the best one


@dataclass(frozen=True, kw_only=True)
class Inert(Method):
    """Nothing, by the way of every other recipe."""

    name: ClassVar[str] = "inert"

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.LOGITS, WHOLE, lambda ctx: _same, phase=Phase.AFTER)


def _same(ids: Tensor, hidden: Tensor, logits: Tensor) -> Tensor:
    return logits


def sample(task: Task, items: Sequence[Item], rows: Mapping[str, Sequence[Row]], scores: int) -> list[Item]:
    """The shortest items among those that have rows: one for every SHARE scores of the task, MOST at most."""
    known = [item for item in items if rows.get(item.id) and _tells(item)]
    return sorted(known, key=task.tokens)[: min(MOST, max(1, scores // SHARE))]


def _tells(item: Item) -> bool:
    """Of two equal choices the first one is taken, whichever that is."""
    choices = item.data.get("choices", ())
    return len({str(c.ids.tolist()) for c in choices}) == len(choices)


def turned(task: Task, item: Item) -> Item:
    """The item with its choices in another order; itself where it has none."""
    if not isinstance(task, ChoiceTask):
        return item
    question, choices = item.data["question"], item.data["choices"]
    order = [*range(1, len(choices)), 0]
    other = replace(
        question,
        pairs=[question.pairs[i] for i in order],
        answer=order.index(question.answer),
        texts=[question.texts[i] for i in order] if question.texts else question.texts,
    )
    return replace(item, data={**item.data, "question": other, "choices": [choices[i] for i in order]})


def difference(again: Sequence[Row], own: Sequence[Row], tolerance: float = 0.0) -> str:
    """What differs between two scorings of one item, in words; empty where nothing does. tolerance: relative, for
    devices that add in no fixed order."""
    ours, theirs = {r.key: r for r in again}, {r.key: r for r in own}
    if ours.keys() != theirs.keys():
        return f"the rows are not the same: {len(ours)} and {len(theirs)}"
    for key, row in ours.items():
        other = theirs[key]
        if row.weight != other.weight:
            return f"{row.metric} of {row.item} weighs {row.weight:g}, not {other.weight:g}"
        if abs(row.value - other.value) > tolerance * (1 + abs(other.value)):
            return f"{row.metric} of {row.item} is {row.value!r}, not {other.value!r}"
    return ""


def favour(task: Task, item: Item) -> str:
    """Made-up likelihoods, of which each choice in turn is the best by a hair: what is wrong with the grading, or
    nothing."""
    if not isinstance(task, ChoiceTask):
        return ""
    answer = item.data["question"].answer
    for best in range(len(item.data["choices"])):
        nll = [1.0 - NUDGE * (i == best) for i in range(len(item.data["choices"]))]
        rows = task.rows(item, [Targets(np.array([x]), np.array([True])) for x in nll])
        acc = next(r.value for r in rows if r.metric == "acc")
        if acc != float(best == answer):
            return f"where choice {best + 1} of {item.id} is likeliest by {NUDGE:g} nats, another is taken"
    return ""


class Seen(Protocol):
    @property
    def seen(self) -> int: ...


def check_prompt(stream: Seen, item: Item) -> None:
    """Raises CellError where the stream at the prompt's end has not read the prompt as it is."""
    if stream.seen != item.prompt_length:
        raise CellError(
            f"the judge failed its own check: the prompt of {item.id} has {item.prompt_length} tokens, "
            f"but the stream has seen {stream.seen}"
        )


def check_fed(seen: int, item: Item, before: int) -> None:
    """Raises CellError where this recipe was fed other tokens after the prompt than the recipes before it."""
    if seen != before:
        raise CellError(
            f"the judge failed its own check: of {item.id} the stream has seen {seen} tokens under this recipe, "
            f"but {before} under another"
        )
