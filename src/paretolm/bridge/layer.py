"""One layer of our cache: it asks KEEP (which entries stay) and STORE (in what form) separately."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from ..contracts import Kept, Observed, Step
from ..contracts.step import current_step
from ..errors import CallError
from .parts import LayerHeld, LayerParts
from .ragged_store import RaggedStore
from .snapshot import LayerSnapshot


class Handle:
    """Stands for a layer's keys or values between the cache and attention; nothing is decoded before it is read."""

    def __init__(self, layer: HeldLayer, new: Tensor) -> None:
        self.layer, self.dtype, self.device = layer, new.dtype, new.device
        self.shape = torch.Size((*new.shape[:2], layer.length, new.shape[-1]))


class HeldLayer(CacheLayerMixin):
    """One full-attention layer. `seen` counts tokens that went through, `length` the entries held; inv_freq: by how
    much the model turns queries and keys."""

    is_sliding = False
    supports_early_init = False

    def __init__(self, index: int, parts: LayerParts, inv_freq: Callable[[], Tensor] | None = None) -> None:
        super().__init__()
        self.index, self.parts, self.inv_freq = index, parts, inv_freq
        self.key_store, self.value_store = parts.new_store("key"), parts.new_store("value")
        self._positions: Tensor | RaggedStore | None = None
        self.seen = 0
        self.drafts = 0  # entries of a verify that no loop has committed yet
        self.due: Step | None = None  # a forward whose settling waits for its end
        self.queries: Tensor | None = None
        self.query_positions: Tensor | None = None
        self.received: Tensor | None = None
        self.scaling = 1.0
        self.view = LayerHeld(self)

    @property
    def length(self) -> int:
        """The most that any head holds."""
        own = self._positions
        return 0 if own is None else own.length if isinstance(own, RaggedStore) else own.shape[-1]

    @property
    def positions(self) -> Tensor | None:
        """[B|1, H|1, n] int32; -1 is padding, also in front of a head that holds fewer entries than others."""
        return self._positions.read() if isinstance(self._positions, RaggedStore) else self._positions

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
        if self.due is not None and step.settles:
            raise CallError("the last forward left out the model's head, whose logits this recipe waits for")
        self.is_initialized = True
        self.key_store.append(key_states)
        self.value_store.append(value_states)
        self._append_positions(step.positions[:, None].to(torch.int32))
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
        self.__init__(self.index, self.parts, self.inv_freq)  # type: ignore[misc]

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
        rows = 1 if self._positions is None else self.rows
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
        if isinstance(self._positions, RaggedStore):
            self._positions.select_rows(rows)
        elif self._positions is not None and self._positions.shape[0] > 1:
            self._positions = self._positions[rows]
        if self.queries is not None:
            self.queries = self.queries[rows]
        if self.query_positions is not None and self.query_positions.shape[0] > 1:
            self.query_positions = self.query_positions[rows]
        if self.received is not None:
            self.received = self.received[rows]

    @property
    def rows(self) -> int:
        """B, once something is held."""
        if isinstance(self.key_store, RaggedStore):
            return self.key_store.rows
        return next(iter(self.key_store.tensors())).shape[0]

    # --- what attention reports ---

    def observe(self, queries: Tensor, positions: Tensor, scaling: float, step: Step) -> None:
        """Keeps the last queries a KEEP part asked for. queries [B, Hq, Q, D]."""
        self.scaling = scaling
        wanted = self.parts.observe
        prompt = step.moment.value.startswith("prefill")
        probed = wanted.probe and not step.settles
        if not wanted.queries or not (prompt or wanted.decoding or probed):
            return
        if self.queries is not None:
            queries = torch.cat([self.queries, queries], dim=2)
            positions = _join(self.query_positions[:, None], positions[:, None])[:, 0]  # type: ignore[index]
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
        if self.parts.observe.late:
            self.due = step
        else:
            self._decide(step)

    def settle_due(self, logits: Tensor) -> None:
        """What waited for the end of a forward, with its logits [B, Q, V]."""
        if self.due is not None:
            step, self.due = self.due, None
            self._decide(step, logits if self.parts.observe.logits else None)

    def _decide(self, step: Step, logits: Tensor | None = None) -> None:
        if self.parts.keep is not None:
            turned_by = None if self.inv_freq is None else self.inv_freq()
            observed = Observed(self.queries, self.query_positions, self.received, self.scaling, turned_by, logits)
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
        self._positions, self.seen, self.scaling = snapshot.positions, snapshot.seen, snapshot.scaling
        wanted = self.parts.observe
        if wanted.queries and snapshot.queries is not None:
            self.queries = snapshot.queries[:, :, -wanted.queries :]
            self.query_positions = snapshot.query_positions[:, -wanted.queries :]  # type: ignore[index]
        self.received = snapshot.received if wanted.received else None
        if wanted.late:
            self.due = step
        else:
            self._decide(step)

    def snapshot(self) -> LayerSnapshot:
        return LayerSnapshot(
            self.key_store.read(), self.value_store.read(), self.positions, self.seen, self.scaling,
            self.queries, self.query_positions, self.received,
        )  # fmt: skip

    def _apply(self, kept: Kept) -> None:
        if kept.ragged:
            self._make_ragged()
        if kept.keys is None or kept.values is None:
            self._keep(kept.index)
        else:
            self._positions = gather_positions(self.positions, kept.index)  # type: ignore[arg-type]
            self.key_store, self.value_store = self.parts.new_store("key"), self.parts.new_store("value")
            self.key_store.append(kept.keys)
            self.value_store.append(kept.values)
        if kept.append_keys is not None and kept.append_values is not None and kept.append_positions is not None:
            self.key_store.append(kept.append_keys)
            self.value_store.append(kept.append_values)
            self._append_positions(kept.append_positions.to(torch.int32))

    def _keep(self, index: Tensor) -> None:
        self.key_store.keep(index)
        self.value_store.keep(index)
        if isinstance(self._positions, RaggedStore):
            self._positions.keep(index)
        else:
            self._positions = gather_positions(self._positions, index)  # type: ignore[arg-type]

    def _append_positions(self, new: Tensor) -> None:
        if isinstance(self._positions, RaggedStore):
            self._positions.append(new)
        else:
            self._positions = new if self._positions is None else _join(self._positions, new)

    def _make_ragged(self) -> None:
        """From now on each head holds as many entries as it keeps. The plan sees to it that the stores are plain."""
        if isinstance(self._positions, RaggedStore):
            return
        assert self._positions is not None
        keys = self.key_store.read()
        places = self._positions.expand(*keys.shape[:2], -1)
        self.key_store, self.value_store = RaggedStore(keys), RaggedStore(self.value_store.read())
        self._positions = RaggedStore(places, fill=-1)

    # --- bytes ---

    def kv_tensors(self) -> Iterable[Tensor]:
        yield from self.key_store.tensors()
        yield from self.value_store.tensors()
        if isinstance(self._positions, RaggedStore):
            yield from self._positions.tensors()
        elif self._positions is not None:
            yield self._positions

    def index_tensors(self) -> Iterable[Tensor]:
        yield from (t for t in (self.queries, self.query_positions, self.received) if t is not None)
        for part in self.parts.all():
            if hasattr(part, "tensors"):
                yield from part.tensors()


def _join(old: Tensor, new: Tensor) -> Tensor:
    shape = [max(a, b) for a, b in zip(old.shape[:2], new.shape[:2], strict=True)]  # each 1, or as many as all
    return torch.cat([old.expand(*shape, -1), new.expand(*shape, -1)], dim=-1)


def gather_positions(positions: Tensor, index: Tensor) -> Tensor:
    """positions [B|1, H|1, n] at index [B|1, H|1, m]."""
    shape = torch.broadcast_shapes(positions.shape[:2], index.shape[:2])
    return positions.expand(*shape, -1).gather(-1, index.expand(*shape, -1))
