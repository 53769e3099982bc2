"""The protocols of what acts inside attention and its cache, one part a layer: INDEX, ATTEND, KEEP, STORE.

Shapes: B batch, Hq query heads, H key-value heads, Q queries of this forward, n held entries, m selected
entries, D head width. Positions are original positions; -1 is padding. `[B|1, ...]` broadcasts. Keys are held
as the model rotated them, at their original position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

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
    def turned(self, x: Tensor, by: Tensor) -> Tensor:
        """Queries or keys x [B, H, m, D] of this layer as they would be `by` [B|1, H|1, m] positions further on."""
        ...


# --- INDEX ----------------------------------------------------------------------------------------


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


@runtime_checkable
class IndexSharper(IndexPart, Protocol):
    """An INDEX part that also says how sharp attention is at each position."""

    def sharper(self, query_positions: Tensor) -> Tensor | None:
        """[B|1, Q] what each query is multiplied with; None is one. query_positions [B|1, Q]: original positions."""
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
        """[B|1, H|1, m] ascending indices of the held entries to read, by every query asked for; None reads all."""
        ...


@runtime_checkable
class AttendByBlock(AttendSelect, Protocol):
    """A selection for every `block` queries of a long forward: `select` is asked for one block after the other, with
    what is held up to the block's last query."""

    @property
    def block(self) -> int: ...


@runtime_checkable
class AttendChoose(Protocol):
    """A selection for every query. A part that has `select` too is asked for that where there is one query."""

    def choose(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        """[B|1, H|1, Q, n] True where a query reads a held entry (on top of causality); None is all."""
        ...


@runtime_checkable
class AttendCompute(Protocol):
    def compute(
        self, queries: Tensor, held: Held, allowed: Callable[[], Tensor | None], scaling: float, step: Step
    ) -> Tensor | None:
        """[B, Hq, Q, D] the result itself; None leaves it to attention in force. Not asked where an INDEX part places
        the keys, or the model caps its logits or adds sinks to them.

        allowed() is [B|1, H|1, Q, n], or None where, but for this part, causality alone hides entries."""
        ...


AttendPart = AttendMask | AttendSelect | AttendChoose | AttendCompute


# --- KEEP ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Observe:
    """What a KEEP part must be shown: the last `queries` queries, and attention received by each key.

    Queries are gathered while the prompt is read, and with `decoding` after it too. With `logits` the part settles
    after the head, and is shown what came out of it; its edit needs LOGITS_FEEDBACK. With `probe` the
    part is a ProbingPart: the tokens it names after a forward are read as if they came next, for their queries, and
    taken back; then it settles."""

    queries: int = 0
    received: bool = False
    decoding: bool = False
    logits: bool = False
    probe: bool = False

    @property
    def late(self) -> bool:
        """The part settles when the forward is over, not right after its layer's attention."""
        return self.logits or self.probe


@dataclass(frozen=True)
class Observed:
    """queries [B, Hq, w, D] (the last w, after RoPE) with positions [B|1, w]; received [B, Hq, n]:
    attention probability each held key got, summed over the queries since the last settling; scaling; inv_freq
    [D'/2] radians a position by which the model turns queries and keys, None where it does not; logits [B, Q, V] of
    this forward, where they were asked for."""

    queries: Tensor | None
    query_positions: Tensor | None
    received: Tensor | None
    scaling: float
    inv_freq: Tensor | None = None
    logits: Tensor | None = None


@dataclass(frozen=True)
class Kept:
    """index [B|1, H|1, m], ascending. keys/values [B, H, m, D] replace the kept ones where a method merges;
    append_keys/append_values [B, H, a, D] with append_positions [B|1, H|1, a] are added at the end.

    ragged: heads keep different numbers of entries. index [B, H, m] then has -1 in front of those of a head that
    keeps fewer, and what is held afterwards is read with padding there (position -1), which costs no bytes. Its edit
    takes the layer's STORE as well, for only plain tensors can be held like that."""

    index: Tensor
    keys: Tensor | None = None
    values: Tensor | None = None
    append_keys: Tensor | None = None
    append_values: Tensor | None = None
    append_positions: Tensor | None = None
    ragged: bool = False


class KeepPart(Protocol):
    observe: Observe

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        """As AttendMask.visible: what a query may still read, so that a chunk equals single steps."""
        ...

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        """Called after attention of each forward (after a commit for drafts); None keeps all."""
        ...


class ProbingPart(KeepPart, Protocol):
    """A KEEP part that asks what tokens to come would look for; see Observe.probe."""

    def probe(self, prompt: Tensor | None, step: Step) -> Tensor | None:
        """ids [B, w] to read as if they came next, asked of one layer's part; None reads nothing. prompt [B, P]: all of
        the prompt, where it is known."""
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
