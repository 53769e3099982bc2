"""Contrastive search: likely tokens whose hidden state is unlike every one before.

'Contrastive Search Is What You Need For Neural Text Generation', arXiv 2210.14140, section 2.2 (first in 2202.06417):
of the k likeliest tokens v the next one maximises (1 - alpha) p(v | text) - alpha max_j cos(h_v, h_j), where h_v is
the last hidden state the model reaches after v, and h_j those of the whole text, prompt included.

Where we leave the paper: a token that the call's processors forbid is no candidate, also where fewer than k are
left; equal scores go to the smaller token id, as in greedy decoding. Hidden states are the final ones, after the
last norm; cosines are taken in fp32.

Shapes: T tokens of text, k candidates, d hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    WHOLE,
    Cost,
    Edit,
    Interval,
    Loop,
    Method,
    ModelView,
    Need,
    OpenContext,
    Phase,
    Slot,
    knob,
)
from paretolm.errors import CallError


@dataclass(frozen=True, kw_only=True)
class ContrastiveSearch(Method):
    """Weighs a token's likelihood against the likeness of its hidden state to the text's."""

    papers: ClassVar[tuple[str, ...]] = ("2210.14140", "2202.06417")

    alpha: float = knob(0.6, low=0, high=1, help="weight of the degeneration penalty (alpha); 0 is greedy decoding")
    k: int = knob(4, low=1, help="candidates a step (k)")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        needs = frozenset({Need.FORK, Need.HIDDEN})
        yield Edit(Slot.DECODE, WHOLE, partial(Searcher, self), Phase.AFTER, needs)

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        context = Interval(0, tokens * view.hidden_size * torch.float32.itemsize)
        return replace(before, index_bytes=before.index_bytes + context)


def unit(hidden: Tensor) -> Tensor:
    """hidden [..., d] at length one, in fp32."""
    return torch.nn.functional.normalize(hidden.float(), dim=-1)


def degeneration_penalty(candidates: Tensor, context: Tensor) -> Tensor:
    """[k] largest cosine of each candidate [k, d] with any row of context [T, d]; both of unit length."""
    return (candidates @ context.T).amax(dim=-1)


def contrastive_scores(probabilities: Tensor, penalty: Tensor, alpha: float) -> Tensor:
    """[k] the objective of section 2.2."""
    return (1 - alpha) * probabilities - alpha * penalty


def isotropy(hidden: Tensor) -> float:
    """1 - mean cosine over pairs of different rows of hidden [T, d], T at least 2 (section 3.1): 1 is isotropic."""
    units, num = unit(hidden), hidden.shape[0]
    pairs = units.sum(dim=0).square().sum() - units.square().sum()
    return 1 - float(pairs) / (num * (num - 1))


def likeliest(scores: Tensor, k: int) -> Tensor:
    """Ids of the k largest finite scores [V], best first; of equal ones the smaller id."""
    threshold = scores.topk(min(k, scores.shape[0])).values[-1]
    ids = ((scores >= threshold) & scores.isfinite()).nonzero()[:, 0]
    return ids[scores[ids].sort(descending=True, stable=True).indices[:k]]


class _Context:
    """Hidden states of the text so far, at unit length."""

    def __init__(self) -> None:
        self.units: Tensor | None = None


class Searcher:
    """The loop: fork the text by its likeliest tokens, keep the best fork."""

    keeps_prompt_logits = False

    def __init__(self, method: ContrastiveSearch, ctx: OpenContext) -> None:
        self.method, self.ctx = method, ctx

    def tensors(self) -> Iterable[Tensor]:
        units = self.ctx.shared(_Context).units
        return () if units is None else (units,)

    def decode(self, loop: Loop) -> None:
        if loop.do_sample:
            raise CallError("contrastive-search chooses tokens without chance; call it with do_sample=False")
        state, alive = self.ctx.shared(_Context), True
        state.units = unit(loop.prompt_hidden[0])
        if state.units.shape[0] > 1:
            self.ctx.note("isotropy", round(isotropy(state.units), 4))
        logits = loop.prompt_logits[:, -1]
        while alive:
            scores = loop.scores(logits)[0]
            tokens = likeliest(scores, self.method.k)
            out = loop.fork(tokens[:, None])
            hidden = unit(out.hidden[:, -1])
            penalty = degeneration_penalty(hidden, state.units)
            row = int(contrastive_scores(scores.softmax(-1)[tokens], penalty, self.method.alpha).argmax())
            loop.choose_fork(row)
            self.ctx.count("tokens_changed", int(row != 0))
            state.units = torch.cat([state.units, hidden[row : row + 1]])
            logits = out.logits[row : row + 1, -1]
            alive = loop.emit(tokens[None, row : row + 1])
