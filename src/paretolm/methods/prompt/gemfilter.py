"""GemFilter: an early layer picks the prompt tokens that the whole model then reads."""

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


def attention_scores(query: Tensor, keys: Tensor, scaling: float, score: str, kernel_size: int) -> Tensor:
    """How much a query looks for each key: [T] in float32.

    query [Hq, D], keys [H, T, D], Hq a multiple of H. Logits, or probabilities, are summed over the query heads and
    averaged over `kernel_size` neighbours, with zeros beyond the ends."""
    heads, _, width = keys.shape
    logits = torch.einsum("hgd,htd->hgt", query.float().view(heads, -1, width), keys.float()) * scaling
    by_head = logits.softmax(-1) if score == "probabilities" else logits
    return F.avg_pool1d(by_head.sum((0, 1))[None], kernel_size, stride=1, padding=kernel_size // 2)[0]


def top_tokens(scores: Tensor, k: int, recent: int) -> Tensor:
    """Indices of the last `recent` tokens and of the best of the others, k in all, in text order."""
    kept = scores.index_fill(0, torch.arange(len(scores) - recent, len(scores), device=scores.device), torch.inf)
    return kept.topk(k).indices.sort().values


@dataclass(frozen=True, kw_only=True)
class GemFilter(Method):
    """An early layer picks the prompt tokens that the last one looks for; the model reads only those.

    Discovering the Gems in Early Layers: Accelerating Long-Context LLMs with 1000x Input Token Reduction
    (2409.17422), algorithm 1. Layers 0 to `filter_layer` run over the whole prompt. There the logits of the last
    token's query are summed over heads and averaged over neighbours, and the `budget` best tokens, in text order
    and at new positions 0, 1, ..., become the prompt. No token stays by right, neither the first nor the
    question, as published. The selection is in the notes as indices into the prompt.

    It acts where there is a prompt: in generation and in tasks with context and question, not on a text that is
    scored from its start. Prompts within the budget are read whole, and the filter does not run.

    Where we leave the paper: `filter_layer` counts from 0 as in the released code, and where it is not given it is
    the full-attention layer nearest to 0.4 of the depth (the paper's 13 of 32 in Llama 3.1; it chose 19 of 40 for
    Mistral NeMo and 19 of 32 for Phi 3.5, so other models may want another). score=probabilities and `recent`
    are ours: in a small model the one head that finds a fact stands out by its probabilities, while others drown
    it by the size of their logits, and such a model needs the whole question.
    """

    papers: ClassVar[tuple[str, ...]] = ("2409.17422",)

    budget: Budget = knob(Budget(1024, "tok"), help="k: prompt tokens that stay")
    filter_layer: int | None = knob(None, low=0, help="r: the layer that picks, from 0; none: 0.4 of the depth")
    score: str = knob("logits", choices=("logits", "probabilities"), help="what is summed over heads (paper: logits)")
    kernel_size: int = knob(5, low=1, help="neighbours whose scores are averaged; odd")
    recent: int = knob(0, low=0, help="last prompt tokens that stay in any case, within the budget (paper: none)")

    def validate(self) -> None:
        if self.kernel_size % 2 == 0:
            raise RecipeError(f"gemfilter: kernel_size must be odd, so that it has a middle, not {self.kernel_size}")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        layer = self.layer(view)
        yield Edit(Slot.PROMPT, WHOLE, partial(GemFilterPart, self, layer))

    def layer(self, view: ModelView) -> int:
        """The layer that picks. Raises ConflictError where it has no full attention."""
        if not view.full_layers:
            raise ConflictError("gemfilter needs a layer with full attention, and this model has none")
        if self.filter_layer is None:
            return min(sorted(view.full_layers), key=lambda i: abs(i - 0.4 * view.num_layers))
        if self.filter_layer not in view.full_layers:
            full = ", ".join(map(str, sorted(view.full_layers)))
            raise ConflictError(
                f"gemfilter: layer {self.filter_layer} has no full attention here; choose filter_layer among {full}"
            )
        return self.filter_layer

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """From a sequence that is all prompt to one without a prompt."""

        def filtered(layer: LayerCost) -> LayerCost:
            least = min(layer.entries.low, self.budget.tokens(tokens))
            return replace(layer, entries=Interval(least, layer.entries.high))

        return before.with_layers(frozenset(range(view.num_layers)), filtered)


@dataclass(frozen=True)
class GemFilterPart(PromptPart):
    method: GemFilter
    layer: int
    ctx: OpenContext

    def rewrite(self, prompt: Prompt, runner: Runner) -> Prompt:
        length = prompt.ids.shape[1]
        k = self.method.budget.tokens(length)
        if k >= length:
            return prompt
        seen = runner.layer_inputs(prompt.ids, self.layer)
        query, keys = seen.queries[0, :, -1], seen.keys[0]
        scores = attention_scores(query, keys, seen.scaling, self.method.score, self.method.kernel_size)
        index = top_tokens(scores, k, min(self.method.recent, k))
        self.ctx.count("tokens_dropped", length - k)
        self.ctx.note("selected", prompt.origin[index].tolist())
        return take(prompt, index)


def take(prompt: Prompt, index: Tensor) -> Prompt:
    """The tokens `index` [k], ascending, of a prompt; spans shrink to what is left of them."""
    spans = {
        name: (int((index < start).sum()), int((index < end).sum())) for name, (start, end) in prompt.spans.items()
    }
    return Prompt(prompt.ids[:, index], prompt.origin[index], spans)
