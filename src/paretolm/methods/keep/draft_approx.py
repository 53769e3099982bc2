"""SpecKV: a small model drafts the answer, and what the draft looks for stays of the prompt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    Budget,
    Cost,
    Edit,
    Method,
    ModelRef,
    ModelView,
    Moment,
    Need,
    Observe,
    Phase,
    Slot,
    Step,
    knob,
)
from paretolm.errors import RecipeError

from ._cost import holding
from ._probing import check_probing
from ._prompt import PromptKeep, Text
from ._ranking import top
from .snapkv import smooth, window_of


def lookahead_votes(queries: Tensor, keys: Tensor, window: int, scaling: float, reduction: str) -> Tensor:
    """[B, H, n - window] attention to each key before the window, over all queries and the heads of a group.

    queries [B, Hq, w, D]: first those of the last `window` of the keys [B, H, n, D], among themselves causal, then
    those of drafted tokens, which stand behind all keys. reduction: max or mean.
    """
    w, n = queries.shape[2], keys.shape[2]
    grouped = queries.unflatten(1, (keys.shape[1], -1))
    logits = torch.matmul(grouped, keys[:, :, None].mT).float() * scaling
    seen = torch.ones(w, n, dtype=torch.bool, device=keys.device).tril(n - window)
    weights = logits.masked_fill(~seen, float("-inf")).softmax(-1)[..., : n - window].flatten(2, 3)
    return weights.amax(2) if reduction == "max" else weights.mean(2)


def num_known(ids: Tensor, vocab_size: int) -> int:
    """How many of `ids` [T] stand before the first that is no token of the model."""
    return int((ids < vocab_size).long().cumprod(0).sum())


@dataclass
class Ahead:
    """One for all layers: how many drafted tokens were read."""

    tokens: int = 0


@dataclass
class DraftKeep(PromptKeep):
    method: DraftApprox
    ahead: Ahead = field(init=False)

    def __post_init__(self) -> None:
        self.ahead = self.ctx.shared(Ahead)
        self.observe = Observe(queries=self.method.window_size + self.method.lookahead_tokens, probe=True)

    def size(self, length: int) -> int:
        return self.method.budget.tokens(length)

    def probe(self, prompt: Tensor | None, step: Step) -> Tensor | None:
        """The draft model's greedy continuation of the prompt, up to a token that the model does not have."""
        if prompt is None and step.seen == 0:
            prompt = step.ids
        if prompt is None or step.moment is not Moment.PREFILL_END or self.size(prompt.shape[1]) >= prompt.shape[1]:
            return None
        draft = self.ctx.second(self.method.draft)
        found = [draft.generate(row[None], max_new_tokens=self.method.lookahead_tokens).ids for row in prompt]
        self.ahead.tokens = min(num_known(row, self.ctx.view.vocab_size) for row in found)
        self.ctx.note("lookahead", self.ahead.tokens)
        return torch.stack([row[: self.ahead.tokens] for row in found]) if self.ahead.tokens else None

    def choose(self, text: Text, size: int) -> Tensor:
        assert text.observed.queries is not None
        queries, method = text.observed.queries[text.rows], self.method
        ahead, n = self.ahead.tokens, text.length
        window = min(window_of(size, method.window_size), queries.shape[2] - ahead)
        votes = lookahead_votes(queries[:, :, -window - ahead :], text.keys, window, text.scaling, method.reduction)
        chosen = top(smooth(votes, method.kernel_size, method.pooling), size - window)
        last = torch.arange(n - window, n, device=chosen.device).expand(*chosen.shape[:2], -1)
        return torch.cat([chosen, last], dim=-1)


@dataclass(frozen=True, kw_only=True)
class DraftApprox(Method):
    """Keeps what a small model's draft of the answer attends to in the prompt, beside the prompt's last window.

    Draft-based Approximate Inference for LLMs (2506.08373), section 4.1 (SpecKV). The draft model continues the
    prompt greedily; the model reads these tokens after the prompt and takes them back, and their queries vote
    together with the window's: the largest attention over queries and heads of a group, pooled over neighbours.
    SpecPC of the same paper, which shortens the prompt, is specpc.

    The draft model's bytes and time come on top. Where the prompt is not known as a whole (a stream read in parts),
    and where it fits the budget, nothing is drafted.

    Where we leave the paper: attention of the drafted queries is shared out over the prompt alone, without the
    drafted keys; prompts are read densely (the paper's sparse prefill is left out); `lookahead_tokens` is a number
    of its own (the official code takes max_new_tokens). Of equal votes the later key stays.
    """

    papers: ClassVar[tuple[str, ...]] = ("2506.08373",)

    budget: Budget = knob(Budget(25, "%"), help="entries of the prompt that stay, window included (C_max)")
    draft: ModelRef = knob(ModelRef("draft"), help="the small model, of the same tokenizer")
    lookahead_tokens: int = knob(16, low=1, help="tokens it drafts (n_lookahead)")
    window_size: int = knob(32, low=1, help="last queries of the prompt that vote too, and stay")
    kernel_size: int = knob(7, low=1, help="width of the pooling, odd")
    pooling: str = knob("maxpool", choices=("avgpool", "maxpool"), help="avgpool or maxpool")
    reduction: str = knob("max", choices=("max", "mean"), help="over queries and the heads of a group")

    def validate(self) -> None:
        if self.kernel_size % 2 == 0:
            raise RecipeError(f"draft-approx: kernel_size must be odd, not {self.kernel_size}")
        fixed = self.budget.fixed
        if fixed is not None and fixed <= self.window_size:
            raise RecipeError(
                f"draft-approx: window_size={self.window_size} leaves nothing of budget={self.budget} to select; "
                "make the budget larger than the window"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        check_probing(self.name, view)
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: DraftKeep(ctx, self),
            phase=Phase.AFTER,
            needs=frozenset({Need.QUERIES}),
            breaks=frozenset({Need.PADDING}),  # one draft starts where one prompt ends
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Of a prompt of `tokens`; the draft model's bytes are its own."""
        capacity = self.budget.tokens(tokens)
        return before.with_layers(view.full_layers, lambda layer: holding(layer, capacity, per_head=True))
