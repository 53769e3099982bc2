"""JRT-Prompt: the whole prompt comes once more, so that what is asked is known when the text is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch

from paretolm.contracts import (
    WHOLE,
    Cost,
    Edit,
    Interval,
    LayerCost,
    Method,
    ModelView,
    OpenContext,
    Prompt,
    PromptPart,
    Runner,
    Slot,
    knob,
)


@dataclass(frozen=True, kw_only=True)
class JustReadTwice(Method):
    """The prompt, question and all, is read `times` times over before the answer.

    Just read twice: closing the recall gap for recurrent language models (2407.05483), section on JRT-Prompt. A model
    with a state of fixed size must choose what to keep before it knows the question; the second time it knows it. The
    paper's gain is that of recurrent models; a Transformer, which looks back for free, gains less, and pays with
    `times` the entries in the cache. Where a repeated prompt would be longer than `longest`, it is read once.

    It acts where there is a prompt: in generation and in tasks with context and question, not on a text that is
    scored from its start. Repetitions leave out the `first` tokens. Tasks say where a repeated token stood at first.

    Where we leave the paper: JRT-RNN, its architecture that reads the prompt in both directions, is a training part
    for recurrent models and not here.
    """

    papers: ClassVar[tuple[str, ...]] = ("2407.05483",)

    times: int = knob(2, low=1, help="how often the prompt is read; 1 changes nothing")
    first: int = knob(1, low=0, help="tokens that come only once: what begins every text")
    longest: int | None = knob(None, low=1, help="tokens of the repeated prompt at most; none: the trained length")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.PROMPT, WHOLE, partial(Repeat, self, self.longest or view.trained_length))

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """From a sequence without a prompt to one that is all prompt."""
        longest = self.longest or view.trained_length

        def repeated(layer: LayerCost) -> LayerCost:
            most = max(tokens, min(self.times * tokens, longest))
            high = max(layer.entries.high, layer.entries.high * most / tokens)
            return replace(layer, entries=Interval(layer.entries.low, high))

        return before.with_layers(frozenset(range(view.num_layers)), repeated)


@dataclass(frozen=True)
class Repeat(PromptPart):
    method: JustReadTwice
    longest: int
    ctx: OpenContext

    def rewrite(self, prompt: Prompt, runner: Runner) -> Prompt:
        length, more = prompt.ids.shape[1], self.method.times - 1
        again = torch.arange(min(self.method.first, length), length, device=prompt.ids.device)
        if more == 0 or length + more * len(again) > self.longest:
            return prompt
        index = torch.cat([torch.arange(length, device=prompt.ids.device), *[again] * more])
        moved = more * len(again)  # spans name the last time that a part is read
        spans = {name: (start + moved, end + moved) for name, (start, end) in prompt.spans.items()}
        self.ctx.count("tokens_repeated", moved)
        return Prompt(prompt.ids[:, index], prompt.origin[index.to(prompt.origin.device)], spans)
