"""SpecPC: a small model reads the prompt first, and the large one reads only what the small one looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
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
    Interval,
    LayerCost,
    LayerInputs,
    Method,
    ModelRef,
    ModelView,
    OpenContext,
    Prompt,
    PromptPart,
    Runner,
    Slot,
    knob,
)
from paretolm.errors import RecipeError

from .gemfilter import take


def window_attention(inputs: LayerInputs, window: int, weighted: bool) -> Tensor:
    """[T] the largest attention that the last `window` queries of one layer pay to each token, over heads and queries.

    weighted: a query counts the more the later it stands, from 0 for the first of the window to 1 for the last."""
    queries, keys = inputs.queries[0, :, -window:], inputs.keys[0]
    w, n = queries.shape[1], keys.shape[1]
    grouped = queries.unflatten(0, (keys.shape[0], -1))
    logits = torch.matmul(grouped, keys[:, None].mT).float() * inputs.scaling
    seen = torch.ones(w, n, dtype=torch.bool, device=keys.device).tril(n - w)
    weights = logits.masked_fill(~seen, float("-inf")).softmax(-1)
    if weighted and w > 1:
        weights = weights * torch.linspace(0, 1, w, device=keys.device)[:, None]
    return weights.flatten(0, 2).amax(0)


def important(scores: Tensor, k: int, window: int, kernel_size: int, neighbors: int) -> Tensor:
    """Ascending indices [k] of the last `window` tokens and of the best of the others with their neighbours.

    scores [T], k <= T. They are pooled to the largest of `kernel_size` neighbours; then tokens come in the order of
    their scores, each with `neighbors` around it, the nearest first, until k are chosen."""
    n = len(scores)
    left = (kernel_size - 1) // 2
    pooled = F.max_pool1d(F.pad(scores[None], (left, kernel_size - 1 - left)), kernel_size, stride=1)[0]
    around = sorted(range(-((neighbors - 1) // 2), neighbors // 2 + 1) if neighbors else [0], key=abs)
    best = pooled.argsort(descending=True, stable=True).tolist()
    chosen = dict.fromkeys(range(n - window, n))
    for token in best:
        for near in around:
            if len(chosen) == k:
                break
            if 0 <= token + near < n:
                chosen[token + near] = None
    return torch.tensor(sorted(chosen), device=scores.device)


@dataclass(frozen=True, kw_only=True)
class SpecPC(Method):
    """A small model reads the prompt; the tokens to which the end of it attends become the prompt of the large one.

    Draft-based Approximate Inference for LLMs (2506.08373), section 4.2 (SpecPC). Over the draft model's layers from
    `starting_layer` on, the attention of the last `window_size` queries is reduced to its largest value a token,
    pooled, and the best tokens with their neighbours, in text order and at new positions 0, 1, ..., become the prompt.
    The window stays. The selection is in the notes as indices into the prompt. Prompts within the budget are read
    whole, and the draft model does not run. SpecKV of the same paper is draft-approx.

    It acts where there is a prompt: in generation and in tasks with context and question, not on a text that is
    scored from its start. The draft model's bytes and time come on top.

    Where we leave the paper: no token is drafted (the paper's setting is one, whose query is left out here);
    `starting_layer` is half of the draft's depth where it is not given (the paper's 8 of 16). scores=random is ours,
    to show what the draft's attention is worth.
    """

    papers: ClassVar[tuple[str, ...]] = ("2506.08373",)

    budget: Budget = knob(Budget(1024, "tok"), help="prompt tokens that stay, window included (C_max)")
    draft: ModelRef = knob(ModelRef("draft"), help="the small model, of the same tokenizer")
    window_size: int = knob(64, low=1, help="last tokens of the prompt that look, and stay")
    kernel_size: int = knob(32, low=1, help="neighbours over which the largest attention is taken")
    neighbor_tokens: int = knob(32, low=0, help="tokens around a chosen one that come along, as far as the budget goes")
    starting_layer: int | None = knob(None, low=0, help="first layer of the draft that counts; none: half its depth")
    weighted_query: bool = knob(True, help="whether later queries of the window count more")
    scores: str = knob("draft", choices=("draft", "random"), help="random: noise instead of attention, a control")

    def validate(self) -> None:
        fixed = self.budget.fixed
        if fixed is not None and fixed <= self.window_size:
            raise RecipeError(
                f"specpc: window_size={self.window_size} leaves nothing of budget={self.budget} to select; "
                "make the budget larger than the window"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.PROMPT, WHOLE, partial(SpecPCPart, self))

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """From a sequence that is all prompt to one without a prompt."""

        def shortened(layer: LayerCost) -> LayerCost:
            least = min(layer.entries.low, self.budget.tokens(tokens))
            return replace(layer, entries=Interval(least, layer.entries.high))

        return before.with_layers(frozenset(range(view.num_layers)), shortened)


@dataclass(frozen=True)
class SpecPCPart(PromptPart):
    method: SpecPC
    ctx: OpenContext

    def rewrite(self, prompt: Prompt, runner: Runner) -> Prompt:
        method, length = self.method, prompt.ids.shape[1]
        k = method.budget.tokens(length)
        if k >= length:
            return prompt
        window = min(method.window_size, max(1, k // 2))
        scores = self._scores(prompt.ids, window)
        index = important(scores, k, window, method.kernel_size, method.neighbor_tokens).to(prompt.ids.device)
        self.ctx.count("tokens_dropped", length - k)
        self.ctx.note("selected", prompt.origin[index].tolist())
        return take(prompt, index)

    def _scores(self, ids: Tensor, window: int) -> Tensor:
        """[T]; the control draws the same for prompts of the same length."""
        if self.method.scores == "random":
            return torch.rand(ids.shape[1], generator=torch.Generator().manual_seed(ids.shape[1]))
        found = [window_attention(inputs, window, self.method.weighted_query) for inputs in self._layers(ids)]
        return torch.stack(found).amax(0)

    def _layers(self, ids: Tensor) -> Iterable[LayerInputs]:
        """The draft's full-attention layers that count. Raises RecipeError where there is none."""
        draft = self.ctx.second(self.method.draft)
        view, first = draft.lm.view, self.method.starting_layer
        layers = [i for i in sorted(view.full_layers) if i >= (view.num_layers // 2 if first is None else first)]
        if not layers:
            raise RecipeError(
                f"specpc: the draft model {self.method.draft} has no layer with full attention from "
                f"starting_layer={first} on; its layers are 0 to {view.num_layers - 1}"
            )
        ids = ids.to(draft.lm.model.device)
        return (draft.binding.layer_inputs(ids, layer) for layer in layers)
