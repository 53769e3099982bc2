"""LLMLingua: tokens that the model could have guessed are left out of the prompt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    WHOLE,
    Budget,
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

from ._context import question_start, shortened, stretches
from .gemfilter import take


def surprise(logits: Tensor, ids: Tensor) -> Tensor:
    """Negative log-likelihood of each token of ids [T] given those before; infinite for the first. [T]"""
    log = logits[:-1].float().log_softmax(-1).gather(-1, ids[1:, None])[:, 0]
    return torch.cat([torch.full((1,), torch.inf, device=log.device), -log])


@dataclass(frozen=True, kw_only=True)
class LLMLingua(Method):
    """Keeps the tokens of the context that are hardest to guess, and the whole question.

    LLMLingua: Compressing Prompts for Accelerated Inference of Large Language Models (2310.05736), its iterative
    token-level compression (algorithm 2): the context is read in pieces of `segment` tokens, each after what was kept
    of those before, and of each piece the most surprising tokens stay. The selection is in the notes.

    It acts where there is a prompt: in generation and in tasks with context and question, not on a text that is
    scored from its start. Prompts within the budget are read whole.

    Where we leave the paper: the model itself measures surprise, not a smaller one; all pieces keep the same share;
    its budget controller, which drops whole demonstrations first, is left out, since a prompt here names no
    demonstrations. What was kept so far is read as far as the trained length allows.
    """

    papers: ClassVar[tuple[str, ...]] = ("2310.05736",)
    baseline: ClassVar[bool] = True

    budget: Budget = knob(Budget(50, "%"), help="prompt tokens that stay, question included")
    segment: int = knob(100, low=1, help="tokens that are judged together")
    question: int = knob(32, low=0, help="last tokens that stay whole, where no span says so")
    first: int = knob(1, low=0, help="first tokens that stay")

    def validate(self) -> None:
        fixed = self.budget.fixed
        if fixed is not None and fixed <= self.question + self.first:
            raise RecipeError(
                f"llmlingua: question={self.question} and first={self.first} leave nothing of budget={self.budget} "
                "to select; make the budget larger"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if self.segment >= view.trained_length:
            raise RecipeError(f"llmlingua: segment={self.segment} must be below the trained {view.trained_length}")
        yield Edit(Slot.PROMPT, WHOLE, partial(LLMLinguaPart, self, view.trained_length))

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        return shortened(view, before, self.budget.tokens(tokens))


@dataclass(frozen=True)
class LLMLinguaPart(PromptPart):
    method: LLMLingua
    longest: int
    ctx: OpenContext

    def rewrite(self, prompt: Prompt, runner: Runner) -> Prompt:
        method, length = self.method, prompt.ids.shape[1]
        k = method.budget.tokens(length)
        if k >= length:
            return prompt
        start = max(question_start(prompt, method.question), length - k)
        first = min(method.first, start, k - (length - start))
        kept = self._kept(prompt.ids[0], first, start, k - (length - start) - first, runner)
        index = torch.tensor([*range(first), *kept, *range(start, length)], device=prompt.ids.device)
        self.ctx.count("tokens_dropped", length - len(index))
        self.ctx.note("selected", prompt.origin[index.to(prompt.origin.device)].tolist())
        return take(prompt, index)

    def _kept(self, ids: Tensor, first: int, end: int, k: int, runner: Runner) -> list[int]:
        """`k` ascending indices of first to end, as many of each piece as its length says."""
        kept: list[int] = []
        for low, high in stretches(first, end, self.method.segment, 0) if k else []:
            before = [*range(first), *kept][-(self.longest - high + low) :]
            some = ids[torch.tensor([*before, *range(low, high)], device=ids.device)]
            told = surprise(runner.logits(some[None])[0], some)[len(before) :]
            quota = round(k * (high - first) / (end - first)) - len(kept)
            kept += sorted(low + i for i in told.topk(quota).indices.tolist())
        return kept
