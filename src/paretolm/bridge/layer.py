"""One layer of our cache: it asks KEEP (which entries stay) and STORE (in what form) separately."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from ..contracts import Kept, Observed, Step
from ..contracts.step import current_step
from ..errors import CallError
from .parts import LayerHeld, LayerParts


class Handle:
    """Stands for a layer's keys or values between the cache and attention; nothing is decoded before it is read."""

    def __init__(self, layer: HeldLayer, new: Tensor) -> None:
        self.layer, self.dtype, self.device = layer, new.dtype, new.device
        self.shape = torch.Size((*new.shape[:2], layer.length, new.shape[-1]))


class HeldLayer(CacheLayerMixin):
    """One full-attention layer. `seen` counts tokens that went through, `length` the entries held."""

    is_sliding = False
    supports_early_init = False

    def __init__(self, index: int, parts: LayerParts) -> None:
        super().__init__()
        self.index, self.parts = index, parts
        self.key_store, self.value_store = parts.new_store("key"), parts.new_store("value")
        self.positions: Tensor | None = None  # [B|1, H|1, n] int32
        self.seen = 0
        self.drafts = 0  # entries of a verify that no loop has committed yet
        self.queries: Tensor | None = None
        self.query_positions: Tensor | None = None
        self.received: Tensor | None = None
        self.scaling = 1.0
        self.view = LayerHeld(self)

    @property
    def length(self) -> int:
        return 0 if self.positions is None else self.positions.shape[-1]

    # --- what transformers asks ---

    @property
    def lossless(self) -> bool:
        """Nothing is evicted or encoded, so the last tokens can be taken back."""
        return self.parts.keep is None and not self.parts.stores

    @property
    def is_croppable(self) -> bool:
        return self.lossless

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Handle, Handle]:
        step = current_step()
        if self.drafts:
            raise CallError("the last drafts were neither committed nor dropped before the next forward")
        self.is_initialized = True
        self.key_store.append(key_states)
        self.value_store.append(value_states)
        new = step.positions[:, None].to(torch.int32)
        self.positions = new if self.positions is None else _join(self.positions, new)
        if not step.settles:
            self.drafts = key_states.shape[-2]
        return Handle(self, key_states), Handle(self, value_states)

    def get_seq_length(self) -> int:
        return self.seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, self.seen - self.length

    def get_max_length(self) -> int:
        return -1

    def reset(self) -> None:
        self.__init__(self.index, self.parts)  # type: ignore[misc]

    def crop(self, tokens_to_remove: int) -> None:
        if tokens_to_remove == 0 or not self.is_initialized:
            return
        if tokens_to_remove > 0 or not self.lossless:
            raise CallError("this recipe evicts or encodes cache entries, so its last tokens cannot be taken back")
        self._keep(torch.arange(self.length + tokens_to_remove, device=self.positions.device)[None, None])  # type: ignore[union-attr]
        self.seen += tokens_to_remove

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self.select_rows(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        rows = 1 if self.positions is None else self._rows()
        self.select_rows(torch.arange(rows).repeat_interleave(repeats))

    def batch_select_indices(self, indices: Tensor) -> None:
        self.select_rows(indices)

    def select_rows(self, rows: Tensor) -> None:
        """Batch rows, for beams, forks and batches that shrink. Raises CallError where a part's state cannot follow."""
        for part in self.parts.all():
            if hasattr(part, "tensors"):
                if not hasattr(part, "select_rows"):
                    raise CallError(f"{type(part).__name__} keeps a state per entry that cannot follow several beams")
                part.select_rows(rows)
        self.key_store.select_rows(rows)
        self.value_store.select_rows(rows)
        if self.positions is not None and self.positions.shape[0] > 1:
            self.positions = self.positions[rows]
        if self.queries is not None:
            self.queries = self.queries[rows]
        if self.query_positions is not None and self.query_positions.shape[0] > 1:
            self.query_positions = self.query_positions[rows]
        if self.received is not None:
            self.received = self.received[rows]

    def _rows(self) -> int:
        return next(iter(self.key_store.tensors())).shape[0]

    # --- what attention reports ---

    def observe(self, queries: Tensor, positions: Tensor, scaling: float, step: Step) -> None:
        """Keeps the last queries a KEEP part asked for. queries [B, Hq, Q, D]."""
        self.scaling = scaling
        wanted = self.parts.observe
        prompt = step.moment.value.startswith("prefill")
        if not wanted.queries or not (prompt or wanted.decoding):
            return
        if self.queries is not None:
            queries = torch.cat([self.queries, queries], dim=2)
            positions = torch.cat([self.query_positions.expand(positions.shape[0], -1), positions], dim=1)  # type: ignore[union-attr]
        self.queries = queries[:, :, -wanted.queries :].clone()
        self.query_positions = positions[:, -wanted.queries :].clone()

    def receive(self, received: Tensor) -> None:
        """Adds attention probability [B, Hq, n] to what each held entry got so far."""
        if self.received is not None:
            grown = received.shape[-1] - self.received.shape[-1]
            received = received + torch.nn.functional.pad(self.received, (0, grown))
        self.received = received

    def settle(self, step: Step) -> None:
        """After attention of a forward: evict and encode, unless drafts are being verified."""
        if not step.settles:
            return
        self.seen += step.num_queries
        self._decide(step)

    def _decide(self, step: Step) -> None:
        if self.parts.keep is not None:
            observed = Observed(self.queries, self.query_positions, self.received, self.scaling)
            kept = self.parts.keep.settle(self.view, observed, step)
            if kept is not None:
                self._apply(kept)
                self.received = None
            if step.moment.value == "prefill end" and not self.parts.observe.decoding:
                self.queries = self.query_positions = None
        self.key_store.settle(step)
        self.value_store.settle(step)

    def commit(self, path: list[int], step: Step) -> None:
        """Keeps the drafts of `path`, drops the other drafts, then settles as one forward."""
        text = self.length - self.drafts
        if len(path) < self.drafts:
            device = self.positions.device  # type: ignore[union-attr]
            index = torch.cat(
                [torch.arange(text, device=device), text + torch.tensor(path, dtype=torch.long, device=device)]
            )
            self._keep(index[None, None])
        self.drafts = 0
        self.seen += len(path)
        if path:
            self._decide(step)

    def load(self, snapshot: LayerSnapshot, step: Step) -> None:
        """Continues from a prompt that another recipe read."""
        self.is_initialized = True
        self.key_store.append(snapshot.keys)
        self.value_store.append(snapshot.values)
        self.positions, self.seen, self.scaling = snapshot.positions, snapshot.seen, snapshot.scaling
        wanted = self.parts.observe
        if wanted.queries and snapshot.queries is not None:
            self.queries = snapshot.queries[:, :, -wanted.queries :]
            self.query_positions = snapshot.query_positions[:, -wanted.queries :]  # type: ignore[index]
        self.received = snapshot.received if wanted.received else None
        self._decide(step)

    def snapshot(self) -> LayerSnapshot:
        return LayerSnapshot(
            self.key_store.read(), self.value_store.read(), self.positions, self.seen, self.scaling,
            self.queries, self.query_positions, self.received,
        )  # fmt: skip

    def _apply(self, kept: Kept) -> None:
        if kept.keys is None or kept.values is None:
            self._keep(kept.index)
        else:
            self.positions = gather_positions(self.positions, kept.index)  # type: ignore[arg-type]
            self.key_store, self.value_store = self.parts.new_store("key"), self.parts.new_store("value")
            self.key_store.append(kept.keys)
            self.value_store.append(kept.values)
        if kept.append_keys is not None and kept.append_values is not None and kept.append_positions is not None:
            self.key_store.append(kept.append_keys)
            self.value_store.append(kept.append_values)
            self.positions = _join(self.positions, kept.append_positions.to(torch.int32))  # type: ignore[arg-type]

    def _keep(self, index: Tensor) -> None:
        self.key_store.keep(index)
        self.value_store.keep(index)
        self.positions = gather_positions(self.positions, index)  # type: ignore[arg-type]

    # --- bytes ---

    def kv_tensors(self) -> Iterable[Tensor]:
        yield from self.key_store.tensors()
        yield from self.value_store.tensors()
        if self.positions is not None:
            yield self.positions

    def index_tensors(self) -> Iterable[Tensor]:
        yield from (t for t in (self.queries, self.query_positions, self.received) if t is not None)
        for part in self.parts.all():
            if hasattr(part, "tensors"):
                yield from part.tensors()


@dataclass(frozen=True)
class LayerSnapshot:
    """A layer as it was before the end of the prompt was settled."""

    keys: Tensor
    values: Tensor
    positions: Tensor | None
    seen: int
    scaling: float
    queries: Tensor | None
    query_positions: Tensor | None
    received: Tensor | None


def _join(old: Tensor, new: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(old.shape[:2], new.shape[:2])
    return torch.cat([old.expand(*shape, -1), new.expand(*shape, -1)], dim=-1)


def gather_positions(positions: Tensor, index: Tensor) -> Tensor:
    """positions [B|1, H|1, n] at index [B|1, H|1, m]."""
    shape = torch.broadcast_shapes(positions.shape[:2], index.shape[:2])
    return positions.expand(*shape, -1).gather(-1, index.expand(*shape, -1))
