"""The protocols of slots that act on the whole model: PROMPT, TOKENS, WEIGHTS, BLOCK, FREQUENCY, DECODE, LOGITS.

Shapes: B batch, Hq query heads, H key-value heads, Q tokens of this forward, D head width, V vocabulary,
d hidden width. What acts inside attention and its cache is in cache_parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from .cache_parts import AttendPart, IndexPart, KeepPart, StorePart

# --- PROMPT --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt:
    """ids [1, T]; origin [T]: index of each token in the prompt as given; spans over `ids`."""

    ids: Tensor
    origin: Tensor
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerInputs:
    """What attention of one layer saw: queries [1, Hq, T, D] and keys [1, H, T, D], both after RoPE, and values
    [1, H, T, D]."""

    queries: Tensor
    keys: Tensor
    scaling: float
    values: Tensor | None = None


class Runner(Protocol):
    """The model, for parts that run it before the prompt is read. Weights edits are in force."""

    def logits(self, ids: Tensor) -> Tensor:
        """[1, T, V], no cache."""
        ...

    def layer_inputs(self, ids: Tensor, layer: int) -> LayerInputs:
        """Runs layers 0..layer only and stops in the attention of `layer`."""
        ...


class PromptPart(Protocol):
    def rewrite(self, prompt: Prompt, runner: Runner) -> Prompt: ...


# --- TOKENS, WEIGHTS, BLOCK ----------------------------------------------------------------------


class TokensPart(Protocol):
    """A tokenizer in place of the model's, and the embedding rows that go with it."""

    def tokenizer(self, base: Any) -> Any: ...
    def embedding(self, weight: Tensor) -> Tensor:
        """[V, d] -> [V', d]; called for the input and, if untied, for the output embedding."""
        ...


class WeightsPart(Protocol):
    def replace(self, path: str, module: nn.Module) -> nn.Module:
        """The module that stands at `path` instead; the old one is left untouched."""
        ...


class BlockPart(Protocol):
    def forward(self, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Runs in place of the module's forward; `inner` is the forward below."""
        ...


# --- FREQUENCY ----------------------------------------------------------------------------


class FrequencyPart(Protocol):
    def inv_freq(self, base: Tensor) -> Tensor:
        """Radians per position, [D/2] -> [D/2]."""
        ...

    def attention_factor(self, base: float) -> float:
        """What cos and sin are multiplied with."""
        ...


# --- DECODE, LOGITS ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forward:
    """logits [B, Q, V] (after LOGITS edits, before warpers); hidden [B, Q, d], the last hidden states."""

    logits: Tensor
    hidden: Tensor


class Loop(Protocol):
    """What a decoding method drives. Batch of one unless the method says otherwise."""

    ids: Tensor  # [B, T] all tokens so far, prompt included
    prompt_hidden: Tensor  # [B, P, d] last hidden states of the prompt
    prompt_logits: Tensor  # [B, P or 1, V]
    do_sample: bool
    vocab_size: int

    @property
    def room(self) -> int | None:
        """Tokens that may still be emitted; None where the call sets no bound."""
        ...

    def forward(self, ids: Tensor) -> Forward:
        """One settled step: ids [B, Q] are part of the text now (they must have been emitted)."""
        ...

    def verify(self, ids: Tensor, parents: Sequence[int]) -> Forward:
        """A draft tree, ids [1, Q]; parents[i] < i, -1 hangs on the text. Nothing is settled."""
        ...

    def commit(self, path: Sequence[int]) -> None:
        """Keeps the nodes of `path` of the last `verify`, drops the others."""
        ...

    def fork(self, ids: Tensor) -> Forward:
        """ids [k, 1]: k continuations by one token each of the one text; nothing is settled."""
        ...

    def choose_fork(self, row: int) -> None:
        """Keeps row `row` of the last `fork` as the text's continuation in the cache."""
        ...

    def scores(self, logits: Tensor, ids: Tensor | None = None) -> Tensor:
        """[B, V] through the call's processors and warpers, as for the token after `ids` (default: self.ids)."""
        ...

    def pick(self, scores: Tensor) -> Tensor:
        """[B] the token: argmax, or a sample where the call samples."""
        ...

    def emit(self, tokens: Tensor) -> bool:
        """tokens [B, q]: append, stream, check the stops one by one; False when the text is finished."""
        ...


class DecodePart(Protocol):
    keeps_prompt_logits: bool  # True: the loop needs logits of every prompt token

    def decode(self, loop: Loop) -> None: ...


class LogitsPart(Protocol):
    def __call__(self, ids: Tensor, hidden: Tensor, logits: Tensor) -> Tensor:
        """ids [B, T] of this forward, hidden [B, T, d], logits [B, T, V] -> [B, T, V]."""
        ...


SlotPart = (
    PromptPart
    | TokensPart
    | WeightsPart
    | BlockPart
    | FrequencyPart
    | IndexPart
    | AttendPart
    | KeepPart
    | StorePart
    | DecodePart
    | LogitsPart
)
