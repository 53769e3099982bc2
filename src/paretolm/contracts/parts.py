"""The protocol of each slot: what `Edit.make` returns.

Shapes: B batch, Hq query heads, H key-value heads, Q queries of this forward, n held entries,
m selected entries, D head width, V vocabulary. Positions are original positions; -1 is padding.
`[B|1, ...]` broadcasts. Keys are held as the model rotated them, at their original position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from .step import Step

Side = Literal["key", "value"]


# --- what a layer holds --------------------------------------------------------------------------


class Held(Protocol):
    """What one layer's cache holds during a forward, this forward's tokens included. Reads are lazy."""

    @property
    def layer(self) -> int: ...
    @property
    def length(self) -> int:
        """n."""
        ...

    @property
    def seen(self) -> int:
        """Tokens that ever went through this layer, padding included."""
        ...

    @property
    def positions(self) -> Tensor:
        """[B|1, H|1, n] original positions, ascending; -1 is padding."""
        ...

    def keys(self, index: Tensor | None = None) -> Tensor:
        """[B, H, n, D], or [B, H, m, D] of `index` [B|1, H|1, m]; only what is asked for is decoded."""
        ...

    def values(self, index: Tensor | None = None) -> Tensor: ...


# --- PROMPT --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt:
    """ids [1, T]; origin [T]: index of each token in the prompt as given; spans over `ids`."""

    ids: Tensor
    origin: Tensor
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerInputs:
    """What attention of one layer saw: queries [1, Hq, T, D] and keys [1, H, T, D], both after RoPE."""

    queries: Tensor
    keys: Tensor
    scaling: float


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


# --- FREQUENCY, INDEX ----------------------------------------------------------------------------


class FrequencyPart(Protocol):
    def inv_freq(self, base: Tensor) -> Tensor:
        """Radians per position, [D/2] -> [D/2]."""
        ...

    def attention_factor(self, base: float) -> float:
        """What cos and sin are multiplied with."""
        ...


@dataclass(frozen=True)
class Band:
    """Some keys seen at some positions: an attention score belongs to the band that allows it.

    keys: which held entries (a slice of n; None is all). key_positions [B|1, H|1, m] and
    query_positions [B|1, Q] are where they stand in this band. allowed [B|1, H|1, Q, m] or None (all).
    """

    key_positions: Tensor
    query_positions: Tensor
    keys: slice | None = None
    allowed: Tensor | None = None


class IndexPart(Protocol):
    def bands(self, query_positions: Tensor, key_positions: Tensor) -> Sequence[Band]:
        """Bands that together cover every visible (query, key) pair once.

        query_positions [B|1, Q], key_positions [B|1, H|1, n]: original positions."""
        ...


# --- ATTEND --------------------------------------------------------------------------------------


@runtime_checkable
class AttendMask(Protocol):
    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        """[B|1, H|1, Q, n] True where a query may read a key (on top of causality); None is all."""
        ...


@runtime_checkable
class AttendSelect(Protocol):
    def select(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        """[B|1, H|1, m] ascending indices of the held entries to read; None reads all."""
        ...


@runtime_checkable
class AttendCompute(Protocol):
    def compute(self, queries: Tensor, held: Held, allowed: Tensor, scaling: float, step: Step) -> Tensor | None:
        """[B, Hq, Q, D] the result itself (allowed: [B|1, H|1, Q, n]); None leaves it to attention in force."""
        ...


AttendPart = AttendMask | AttendSelect | AttendCompute


# --- KEEP ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Observe:
    """What a KEEP part must be shown: the last `queries` queries, and attention received by each key.

    Queries are gathered while the prompt is read, and with `decoding` after it too."""

    queries: int = 0
    received: bool = False
    decoding: bool = False


@dataclass(frozen=True)
class Observed:
    """queries [B, Hq, w, D] (the last w, after RoPE) with positions [B|1, w]; received [B, Hq, n]:
    attention probability each held key got, summed over the queries since the last settling; scaling."""

    queries: Tensor | None
    query_positions: Tensor | None
    received: Tensor | None
    scaling: float


@dataclass(frozen=True)
class Kept:
    """index [B|1, H|1, m], ascending. keys/values [B, H, m, D] replace the kept ones where a method merges;
    append_keys/append_values [B, H, a, D] with append_positions [B|1, H|1, a] are added at the end."""

    index: Tensor
    keys: Tensor | None = None
    values: Tensor | None = None
    append_keys: Tensor | None = None
    append_values: Tensor | None = None
    append_positions: Tensor | None = None


class KeepPart(Protocol):
    observe: Observe

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        """As AttendMask.visible: what a query may still read, so that a chunk equals single steps."""
        ...

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        """Called after attention of each forward (after a commit for drafts); None keeps all."""
        ...


# --- STORE ---------------------------------------------------------------------------------------


class Store(Protocol):
    """One side (keys or values) of one layer in some form."""

    @property
    def length(self) -> int: ...
    def append(self, x: Tensor) -> None:
        """x [B, H, q, D]."""
        ...

    def read(self, index: Tensor | None = None) -> Tensor:
        """[B, H, n|m, D] in the model's dtype."""
        ...

    def keep(self, index: Tensor) -> None:
        """Drop all but `index` [B|1, H|1, m]; the bytes of the rest are freed."""
        ...

    def select_rows(self, rows: Tensor) -> None:
        """Batch rows, for beams and batches that shrink or repeat."""
        ...

    def tensors(self) -> Iterable[Tensor]:
        """Every tensor held, for counting bytes."""
        ...

    def clone(self) -> Store:
        """Shares what is never written in place."""
        ...

    def settle(self, step: Step) -> None:
        """After each settled forward: encode what is due (a prompt stays exact until its end)."""
        ...


class StorePart(Protocol):
    def store(self, side: Side, inner: Callable[[], Store]) -> Store:
        """A fresh store; `inner` makes the next one of the chain (the last is plain tensors)."""
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
