"""IDP: of several prompts each input gets the one at which it looks most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    LayerCost,
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
from paretolm.errors import CallError, ConflictError, RecipeError

CURATED = (
    "Read the text with care and answer the question at its end.",
    "Remember every name and every number in the following text.",
    "The following text holds all that is needed. Answer briefly and exactly.",
    "Here is a story. Go on with it in the same words.",
    "Question and answer. The answer is in the text.",
    "Think of the facts that were told before, then say the next word.",
)


def mean_attention(inputs: LayerInputs, sizes: Sequence[int]) -> Tensor:
    """[m] attention that the tokens behind the prompts pay to each prompt, the mean over its tokens.

    inputs: of m prompts of `sizes` tokens, one after the other, and the input behind them."""
    begin = sum(sizes)
    queries, keys = inputs.queries[0, :, begin:].float(), inputs.keys[0].float()
    grouped = queries.unflatten(0, (keys.shape[0], -1))
    logits = torch.einsum("hgqd,htd->hgqt", grouped, keys) * inputs.scaling
    later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=keys.device).triu(begin + 1)
    paid = logits.masked_fill(later, float("-inf")).softmax(-1).mean((0, 1, 2))[:begin]
    return torch.stack([part.mean() for part in paid.split(list(sizes))])


@dataclass(frozen=True, kw_only=True)
class IDP(Method):
    """One of several prompts is put before each input: the one to which the input attends most.

    (Dynamic) Prompting might be all you need to repair Compressed LLMs (2310.00867), section on inference-time dynamic
    prompting. All prompts stand before the input at once while layer `layer` is asked for the attention that the
    input's tokens pay to each of them, the mean over a prompt's tokens; then the model reads the best one and the
    input. The number of the one chosen is in the notes. Made for a compressed model: put it behind the method that
    compresses, `magnitude(sparsity=0.5) + idp`.

    It acts where there is a prompt: in generation and in tasks with context and question, not on a text that is
    scored from its start.

    Where we leave the paper: its prompts are tuned vectors of the compressed model; these are words, and no weight or
    vector is tuned. A text of numbers alone is taken as token ids, so that a model without a tokenizer is served too.
    """

    papers: ClassVar[tuple[str, ...]] = ("2310.00867",)

    prompts: str | None = knob(None, help="what one is chosen of, with | between; none: six of ours; empty: no prompt")
    layer: int = knob(0, low=0, help="whose attention chooses, from 0")
    first: int = knob(1, low=0, help="first tokens of the input that stay in front of the prompt")

    def validate(self) -> None:
        if self.prompts and not all(self.texts):
            raise RecipeError("idp: one of the prompts is empty; write them with | between")

    @property
    def texts(self) -> list[str]:
        if self.prompts is None:
            return list(CURATED)
        return [text.strip() for text in self.prompts.split("|")] if self.prompts else []

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if self.layer not in view.full_layers:
            raise ConflictError(f"idp: layer {self.layer} has no full attention here; choose another")
        if not view.has_tokenizer and not all(_is_ids(text) for text in self.texts):
            raise ConflictError("idp: this model came without a tokenizer; give prompts as token ids")
        yield Edit(Slot.PROMPT, WHOLE, partial(IDPPart, self))

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """A text counts as at most a token a byte."""
        more = max((len(text.encode()) for text in self.texts), default=0)

        def longer(layer: LayerCost) -> LayerCost:
            return replace(layer, entries=Interval(layer.entries.low, layer.entries.high + more))

        return before.with_layers(frozenset(range(view.num_layers)), longer)


@dataclass(frozen=True)
class IDPPart(PromptPart):
    method: IDP
    ctx: OpenContext

    def rewrite(self, prompt: Prompt, runner: Runner) -> Prompt:
        texts = [self._encoded(text, prompt.ids) for text in self.method.texts]
        if not texts:
            return prompt
        first = min(self.method.first, prompt.ids.shape[1] - 1)
        chosen = 0 if len(texts) == 1 else self._chosen(texts, prompt.ids, first, runner)
        own = texts[chosen]
        self.ctx.count("tokens_added", own.shape[1])
        self.ctx.note("prompt", chosen)
        return put(prompt, own, first)

    def _chosen(self, texts: Sequence[Tensor], ids: Tensor, first: int, runner: Runner) -> int:
        every = torch.cat([*texts, ids[:, first:]], dim=1)
        inputs = runner.layer_inputs(every, self.method.layer)
        return int(mean_attention(inputs, [text.shape[1] for text in texts]).argmax())

    def _encoded(self, text: str, like: Tensor) -> Tensor:
        """[1, t]. Raises CallError for an id that the model does not have."""
        if not _is_ids(text):
            found = self.ctx.tokenizer(text, add_special_tokens=False).input_ids
        else:
            found = [int(number) for number in text.split()]
            if max(found) >= self.ctx.view.vocab_size:
                raise CallError(f"idp: token id {max(found)} is not among the model's {self.ctx.view.vocab_size}")
        return torch.tensor([found], dtype=like.dtype, device=like.device)


def put(prompt: Prompt, text: Tensor, after: int) -> Prompt:
    """The prompt with `text` [1, t] put in behind its first `after` tokens; origin -1 marks what was not in it."""
    more = text.shape[1]
    spans = {
        name: (start + more * (start >= after), end + more * (end > after))
        for name, (start, end) in prompt.spans.items()
    }
    strange = torch.full((more,), -1, dtype=prompt.origin.dtype, device=prompt.origin.device)
    ids = torch.cat([prompt.ids[:, :after], text, prompt.ids[:, after:]], dim=1)
    return Prompt(ids, torch.cat([prompt.origin[:after], strange, prompt.origin[after:]]), spans)


def _is_ids(text: str) -> bool:
    return all(word.isdigit() for word in text.split())
