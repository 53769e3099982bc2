"""Context and question of a prompt, and what a prompt that is read shorter costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from paretolm.contracts import Cost, Interval, LayerCost, ModelView, Prompt
from paretolm.errors import CallError


def question_start(prompt: Prompt, question: int) -> int:
    """Where the question begins: its span where that is known, else the last `question` tokens."""
    start = prompt.spans["question"][0] if "question" in prompt.spans else prompt.ids.shape[1] - question
    return max(0, start)


def stretches(start: int, end: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Stretches of at most `size` from `start` to `end`, each beginning `overlap` before the end of the last."""
    step = size - overlap
    count = max(1, -(-(end - start - overlap) // step))
    return [(start + i * step, min(start + i * step + size, end)) for i in range(count)]


def indices(parts: Sequence[tuple[int, int]]) -> Tensor:
    """Ascending indices of all the stretches, each once. [m]"""
    return torch.tensor(sorted({i for start, end in parts for i in range(start, end)}), dtype=torch.long)


def room(method: str, window: int, taken: int, least: int) -> int:
    """Tokens that `window` leaves beside `taken` ones. Raises CallError where they are fewer than `least`."""
    left = window - taken
    if left < least:
        raise CallError(
            f"{method}: beside a question of {taken} tokens a window of {window} has no room for {least} of the "
            "context; make the window larger or the question shorter"
        )
    return left


def shortened(view: ModelView, before: Cost, least: int) -> Cost:
    """From a sequence that is all prompt, read in `least` tokens, to one without a prompt."""

    def layer(cost: LayerCost) -> LayerCost:
        return replace(cost, entries=Interval(min(cost.entries.low, least), cost.entries.high))

    return before.with_layers(frozenset(range(view.num_layers)), layer)
