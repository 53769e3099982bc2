"""Stream: one text going through the cache, forward by forward."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from ..contracts import Forward, Moment, Step
from ..errors import CallError
from .binding import Binding, tree_mask
from .bytes import held_bytes
from .cache import HeldCache, native_tensors
from .feedback import settle_waiting
from .snapshot import LayerSnapshot


@dataclass(frozen=True)
class Snapshot:
    """A prompt as read, before its end was settled; recipes that act after it continue from here."""

    layers: dict[int, LayerSnapshot]
    native: dict[int, Any]
    step: Step
    last: Forward
    prompt: Tensor | None


class Stream:
    """One request. Every forward goes through the cache of the recipe in force.

    read: parts of the prompt (last=True ends it). step: what follows. verify and commit: draft trees. fork and
    choose_fork: several one-token continuations. Forwards carry logits of all their tokens unless logits=False.
    """

    def __init__(self, binding: Binding, cache: Cache | None = None) -> None:
        self.binding = binding
        if cache is None:
            config = binding.model.config.get_text_config()
            cache = binding.new_cache() if binding.owns_cache else DynamicCache(config=config)
        self.cache = cache
        self._verified: Step | None = None
        self._forked: Step | None = None

    def read(self, ids: Tensor, last: bool = False, *, logits: bool = True) -> Forward:
        """ids [B, Q] of the prompt."""
        return self._forward(ids, Moment.PREFILL_END if last else Moment.PREFILL, logits=logits)

    def step(self, ids: Tensor, *, logits: bool = True) -> Forward:
        """ids [B, Q] after the prompt; several tokens at once are an approximation where a method says so."""
        return self._forward(ids, Moment.DECODE, logits=logits)

    def verify(self, ids: Tensor, parents: Sequence[int]) -> Forward:
        """A draft tree, ids [1, Q]; parents[i] < i, -1 hangs on the text."""
        self._held("verify drafts")
        mask, depth = tree_mask(parents)
        positions = torch.tensor([depth], device=ids.device) + self.seen
        out = self._forward(ids, Moment.VERIFY, positions=positions, tree=mask)
        self._verified = self.binding.last_step
        return out

    def commit(self, path: Sequence[int]) -> None:
        """Keeps the nodes of `path` of the last verify and drops the others."""
        cache = self._held("commit drafts")
        if self._verified is None:
            raise CallError("there are no verified drafts to commit")
        step, kept = self._verified, list(path)
        self._verified = None
        settled = Step(
            None if step.ids is None else step.ids[:, kept], step.positions[:, kept], Moment.DECODE, step.seen
        )
        for layer in cache.held_layers.values():
            layer.commit(kept, settled)

    def fork(self, ids: Tensor) -> Forward:
        """ids [k, 1]: k continuations of the one text by one token each."""
        cache, rows = self._held("fork a text"), ids.shape[0]
        for layer in cache.layers:
            layer.batch_repeat_interleave(rows)
        out = self._forward(ids, Moment.VERIFY)
        self._forked = self.binding.last_step
        return out

    def choose_fork(self, row: int) -> None:
        """Keeps row `row` of the last fork."""
        cache = self._held("fork a text")
        if self._forked is None:
            raise CallError("there is no fork to choose from")
        step, index = self._forked, torch.tensor([row], device=self.binding.model.device)
        self._forked = None
        for layer in cache.layers:
            layer.batch_select_indices(index)
        ids = None if step.ids is None else step.ids[row : row + 1]
        settled = Step(ids, step.positions[:1], Moment.DECODE, step.seen)
        for held in cache.held_layers.values():
            held.commit([0], settled)

    @torch.inference_mode()
    def _forward(
        self,
        ids: Tensor,
        moment: Moment,
        *,
        logits: bool = True,
        positions: Tensor | None = None,
        tree: Tensor | None = None,
    ) -> Forward:
        model = self.binding.model
        kwargs: dict[str, Any] = {} if positions is None else {"position_ids": positions}
        if not logits and model._supports_logits_to_keep():
            kwargs["logits_to_keep"] = 1
        with self.binding.at(moment, tree):
            output = model(input_ids=ids.to(model.device), past_key_values=self.cache, use_cache=True, **kwargs)
        hidden = self.binding.hidden
        assert hidden is not None
        return Forward(output.logits, hidden)

    def _held(self, what: str) -> HeldCache:
        if not isinstance(self.cache, HeldCache):
            raise CallError(f"this recipe leaves the model's own cache in place, which cannot {what}")
        return self.cache

    # --- what is held ---

    @property
    def seen(self) -> int:
        """Tokens that went through."""
        return int(self.cache.get_seq_length())

    @property
    def held(self) -> list[int]:
        """Entries held, a layer each (0 for layers without entries per token)."""
        if isinstance(self.cache, HeldCache):
            ours = self.cache.held_layers
            return [ours[i].length if i in ours else _native_length(x) for i, x in enumerate(self.cache.layers)]
        return [_native_length(layer) for layer in self.cache.layers]

    def kv_tensors(self) -> list[Tensor]:
        if isinstance(self.cache, HeldCache):
            return self.cache.kv_tensors()
        return [t for layer in self.cache.layers for t in native_tensors(layer)]

    def index_tensors(self) -> list[Tensor]:
        """What lies beside the cache: scores, tables, datastores."""
        cached = self.cache.index_tensors() if isinstance(self.cache, HeldCache) else []
        return [*cached, *self.binding.state_tensors()]

    @property
    def kv_bytes(self) -> int:
        return held_bytes(self.kv_tensors())

    @property
    def index_bytes(self) -> int:
        return held_bytes(self.index_tensors())


def take_snapshot(stream: Stream, last: Forward) -> Snapshot:
    """The prompt a stream has read without evicting or encoding anything."""
    step = stream.binding.last_step
    assert step is not None
    cache = stream._held("be continued by another recipe")
    layers = {i: layer.snapshot() for i, layer in cache.held_layers.items()}
    native = {i: copy(x) for i, x in enumerate(cache.layers) if i not in cache.held_layers}
    return Snapshot(layers, native, step, last, cache.prompt)


def resume_stream(binding: Binding, snapshot: Snapshot) -> Stream:
    """A stream that continues after the prompt of `snapshot`, settled under the recipe in force."""
    cache = binding.new_cache()
    cache.prompt, cache.prompt_length = snapshot.prompt, snapshot.step.seen + snapshot.step.num_queries
    for index, layer in snapshot.native.items():
        cache.layers[index] = copy(layer)
    for index, held in snapshot.layers.items():
        cache.held_layers[index].load(held, snapshot.step)
    settle_waiting(binding, cache, snapshot.step, snapshot.last)
    return Stream(binding, cache)


def own_stream(binding: Binding, snapshot: Snapshot) -> Stream:
    """The prompt of `snapshot` in the model's own cache, for what that holds."""
    cache = DynamicCache(config=binding.model.config.get_text_config())
    for index, layer in snapshot.native.items():
        cache.layers[index] = copy(layer)
    for index, held in snapshot.layers.items():
        cache.update(held.keys, held.values, index)
    return Stream(binding, cache)


def _native_length(layer: Any) -> int:
    keys = getattr(layer, "keys", None)
    return keys.shape[-2] if isinstance(keys, Tensor) and keys.dim() == 4 else 0
