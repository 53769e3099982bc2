"""InfiniRetri: window by window, the sentences at which the question looks go along to the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from paretolm.contracts import (
    WHOLE,
    Budget,
    Cost,
    Edit,
    LayerInputs,
    Method,
    ModelView,
    OpenContext,
    Prompt,
    PromptPart,
    Runner,
    Slot,
    knob,
)
from paretolm.errors import ConflictError, RecipeError

from ._context import indices, question_start, room, shortened
from .gemfilter import take

ENDS = (".", "!", "?", "\n")


def looked_at(inputs: LayerInputs, question: int, phrase: int) -> Tensor:
    """[T] attention that the last `question` queries of a layer pay to each token and its neighbours, `phrase` in all,
    summed over heads, queries and neighbours."""
    queries, keys = inputs.queries[0, :, -question:].float(), inputs.keys[0].float()
    grouped = queries.unflatten(0, (keys.shape[0], -1))
    logits = torch.einsum("hgqd,htd->hgqt", grouped, keys) * inputs.scaling
    later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=keys.device).triu(
        keys.shape[1] - queries.shape[1] + 1
    )
    each = logits.masked_fill(later, float("-inf")).softmax(-1).sum((0, 1, 2))
    return F.avg_pool1d(each[None], phrase, stride=1, padding=phrase // 2)[0] * phrase


def sentences(ends: Sequence[bool], longest: int) -> list[tuple[int, int]]:
    """(start, end) of the stretches that end with a token of which `ends` is true, or after `longest` tokens."""
    found, start = [], 0
    for i, is_end in enumerate(ends, start=1):
        if is_end or i - start == longest or i == len(ends):
            found.append((start, i))
            start = i
    return found


def windows(parts: Sequence[tuple[int, int]], size: int) -> list[list[tuple[int, int]]]:
    """Sentences in order, as many together as `size` tokens hold, at least one."""
    found: list[list[tuple[int, int]]] = []
    for start, end in parts:
        if not found or end - found[-1][0][0] > size:
            found.append([])
        found[-1].append((start, end))
    return found


def best_sentences(scores: Tensor, parts: Sequence[tuple[int, int]], top_k: int, budget: int) -> list[tuple[int, int]]:
    """The sentences of `parts` that hold the `top_k` best tokens, the best first while `budget` tokens hold them; in
    text order.

    scores [m]: of the sentences' tokens, one sentence after the other."""
    owner = [part for part in parts for _ in range(part[1] - part[0])]
    chosen: dict[tuple[int, int], None] = {}
    left = budget
    for token in scores.topk(min(top_k, len(owner))).indices.tolist():
        part = owner[token]
        if part not in chosen and part[1] - part[0] <= left:
            chosen[part] = None
            left -= part[1] - part[0]
    return sorted(chosen)


@dataclass(frozen=True, kw_only=True)
class InfiniRetri(Method):
    """Reads a long prompt window by window and keeps the sentences to which the question attends, as text.

    Infinite Retrieval: Attention Enhanced LLMs in Long-Context Processing (2502.12962), section on InfiniRetri. Each
    window holds what was kept so far, the next `chunk_size` tokens and the question. In one of the last layers the
    attention of the question's tokens is summed over heads, and over `phrase` neighbours, for facts are phrases. The
    sentences of the `top_k` best tokens are kept; with the question they become the prompt. They are in the notes.

    A prompt that fits the trained length is read whole. It acts where there is a prompt: in generation and in tasks
    with context and question, not on a text that is scored from its start.

    Where we leave the paper: what is kept never exceeds `budget`, the best sentences first, while the paper bounds
    tokens alone (top_k). A sentence ends with . ! ? or a line's end, and after `longest` tokens at the latest; without
    a tokenizer all are so long. The layer is the last with full attention, as in the paper, or the one given.
    """

    papers: ClassVar[tuple[str, ...]] = ("2502.12962",)

    budget: Budget = knob(Budget(256, "tok"), help="tokens of the context that are kept")
    chunk_size: int | None = knob(None, low=1, help="new tokens of a window; none: what fits the trained length")
    top_k: int = knob(300, low=1, help="best tokens whose sentences are kept")
    phrase: int = knob(3, low=1, help="k: neighbours that count together; odd")
    layer: int | None = knob(None, low=0, help="whose attention counts, from 0; none: the last")
    question: int = knob(32, low=1, help="last tokens that are the question, where no span says so")
    longest: int = knob(64, low=1, help="tokens of a sentence at most")
    window: int | None = knob(None, low=2, help="tokens read at once; none: the trained length")

    def validate(self) -> None:
        if self.phrase % 2 == 0:
            raise RecipeError(f"infini-retri: phrase must be odd, so that it has a middle, not {self.phrase}")
        if self.window is not None:
            self._check(self.window)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        window = self.window or view.trained_length
        self._check(window)
        layer = self.looking_layer(view)
        yield Edit(Slot.PROMPT, WHOLE, partial(InfiniRetriPart, self, window, layer))

    def looking_layer(self, view: ModelView) -> int:
        """Raises ConflictError where it has no full attention."""
        if not view.full_layers:
            raise ConflictError("infini-retri needs a layer with full attention, and this model has none")
        if self.layer is not None and self.layer not in view.full_layers:
            full = ", ".join(map(str, sorted(view.full_layers)))
            raise ConflictError(
                f"infini-retri: layer {self.layer} has no full attention here; choose layer among {full}"
            )
        return max(view.full_layers) if self.layer is None else self.layer

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        window = self.window or view.trained_length
        return before if tokens <= window else shortened(view, before, 1)

    def _check(self, window: int) -> None:
        taken = (self.budget.fixed or 0) + self.question + max(self.chunk_size or 0, self.longest)
        if taken > window:
            raise RecipeError(
                f"infini-retri: budget, question and new tokens take {taken} tokens, and a window has {window}; "
                "lower budget, chunk_size, longest or question"
            )


@dataclass(frozen=True)
class InfiniRetriPart(PromptPart):
    method: InfiniRetri
    window: int
    layer: int
    ctx: OpenContext

    def rewrite(self, prompt: Prompt, runner: Runner) -> Prompt:
        method, length = self.method, prompt.ids.shape[1]
        if length <= self.window:
            return prompt
        start = question_start(prompt, method.question)
        longest = min(method.longest, max(1, self.window // 4))
        budget = min(method.budget.tokens(start), self.window // 2)
        left = room(method.name, self.window, budget + length - start, longest)
        parts = sentences(self._ends(prompt.ids[0, :start].tolist()), longest)
        kept: list[tuple[int, int]] = []
        for some in windows(parts, min(method.chunk_size or left, left)):
            read = [*kept, *some]
            ids = prompt.ids[:, indices([*read, (start, length)]).to(prompt.ids.device)]
            scores = looked_at(runner.layer_inputs(ids, self.layer), length - start, method.phrase)
            kept = best_sentences(scores[: ids.shape[1] - (length - start)], read, method.top_k, budget)
        index = indices([*kept, (start, length)]).to(prompt.ids.device)
        self.ctx.count("tokens_dropped", length - len(index))
        self.ctx.note("kept", [list(part) for part in kept])
        return take(prompt, index)

    def _ends(self, ids: Sequence[int]) -> list[bool]:
        """Whether each token ends a sentence."""
        tokenizer = self.ctx.tokenizer
        if tokenizer is None:
            return [False] * len(ids)
        ends = {i: tokenizer.decode([i]).rstrip(" ").endswith(ENDS) for i in set(ids)}
        return [ends[i] for i in ids]
