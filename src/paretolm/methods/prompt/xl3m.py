"""XL3M: segments on which the model is sure of its answer stand for the whole text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from paretolm.contracts import (
    WHOLE,
    Cost,
    Edit,
    Method,
    ModelView,
    OpenContext,
    Prompt,
    PromptPart,
    Runner,
    Slot,
    knob,
)
from paretolm.errors import RecipeError

from ._context import indices, question_start, room, shortened, stretches
from .gemfilter import take


def entropy(logits: Tensor) -> float:
    """Of the distribution with these logits [V], in nats."""
    log = logits.float().log_softmax(-1)
    return float(-(log.exp() * log).nan_to_num().sum())


def surest(entropies: Sequence[float], k: int) -> list[int]:
    """The `k` of least entropy, in their order; of equal ones the earlier."""
    return sorted(sorted(range(len(entropies)), key=lambda i: entropies[i])[:k])


@dataclass(frozen=True, kw_only=True)
class XL3M(Method):
    """Of a prompt longer than `window` the model reads the segments after which it is surest, then the question.

    XL3M: A Training-free Framework for LLM Length Extension Based on Segment-wise Inference (2405.17755), section on
    the framework. The text is cut into overlapping segments; each is read with the question behind it, alone, and the
    entropy of the next token says how sure the model is. The `top_k` segments of least entropy, in text order, and
    the question become the prompt; none of it is longer than the window. Their numbers are in the notes.

    It acts where there is a prompt: in generation and in tasks with context and question, not on a text that is
    scored from its start. Every token is read once more, a segment at a time, and nothing of that is held.

    Where we leave the paper: it names no sizes that fit all models. Here the room beside the question holds `top_k`
    segments, four by default. What two chosen segments share is read once. `first` is ours, for models that need
    their first token.
    """

    papers: ClassVar[tuple[str, ...]] = ("2405.17755",)

    window: int | None = knob(None, low=2, help="longer prompts are cut to it; none: the trained length")
    top_k: int = knob(4, low=1, help="k: segments that are kept")
    segment: int | None = knob(None, low=1, help="tokens of a segment; none: as many as fit top_k times")
    overlap: int = knob(32, low=0, help="tokens that a segment shares with the one before")
    question: int = knob(32, low=1, help="last tokens that are the question, where no span says so")
    first: int = knob(0, low=0, help="first tokens that stand before every segment (paper: none)")

    def validate(self) -> None:
        if self.segment is not None and self.overlap >= self.segment:
            raise RecipeError(f"xl3m: overlap={self.overlap} must be below segment={self.segment}")
        if self.window is not None:
            self._check(self.window)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        window = self.window or view.trained_length
        self._check(window)
        yield Edit(Slot.PROMPT, WHOLE, partial(XL3MPart, self, window))

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        window = self.window or view.trained_length
        return before if tokens <= window else shortened(view, before, 1)

    @property
    def least(self) -> int:
        """Tokens that the segments take at least."""
        return self.top_k * max(self.segment or 0, self.overlap + 1)

    def _check(self, window: int) -> None:
        if self.first + self.question + self.least > window:
            raise RecipeError(
                f"xl3m: {self.top_k} segments beside a question of {self.question} tokens do not fit a window of "
                f"{window}; lower top_k, segment, overlap or question"
            )


@dataclass(frozen=True)
class XL3MPart(PromptPart):
    method: XL3M
    window: int
    ctx: OpenContext

    def rewrite(self, prompt: Prompt, runner: Runner) -> Prompt:
        method, length = self.method, prompt.ids.shape[1]
        if length <= self.window:
            return prompt
        start = question_start(prompt, method.question)
        around = [(0, method.first), (start, length)]
        left = room(method.name, self.window, method.first + length - start, method.least)
        size = method.segment or left // method.top_k
        pieces = stretches(method.first, start, size, method.overlap)
        chosen = surest([self._unsure(prompt, runner, [*around, piece]) for piece in pieces], method.top_k)
        index = indices([*around, *(pieces[i] for i in chosen)]).to(prompt.ids.device)
        self.ctx.count("tokens_dropped", length - len(index))
        self.ctx.note("segments", [list(pieces[i]) for i in chosen])
        return take(prompt, index)

    def _unsure(self, prompt: Prompt, runner: Runner, parts: Sequence[tuple[int, int]]) -> float:
        ids = prompt.ids[:, indices(parts).to(prompt.ids.device)]
        return entropy(runner.logits(ids)[0, -1])
