"""What a text costs while it is written: tokens, seconds, and bytes that the cache holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from torch import Tensor

    from ..recipes.session import Session
    from .streaming import Streamed

_EVERY_S = 0.2  # the cache is weighed, while somebody watches
_UNKNOWN = ("linear", "other")  # layers whose bytes nobody predicts


@dataclass(frozen=True)
class Held:
    """Bytes: of keys, values and positions; of scores and tables beside them; and of the keys and values that the
    untouched model would hold after as many tokens (None where its layers are of a kind that nobody predicts)."""

    kv_bytes: int
    index_bytes: int
    dense_kv_bytes: int | None


@dataclass(frozen=True)
class Figures:
    """Of one text so far. seconds: from its first token to its last; seconds_to_first: from the beginning of work on
    it, waiting not included."""

    tokens: int
    seconds: float
    seconds_to_first: float
    held: Held


class Meter:
    """A streamer in front of another one, in force inside its `with` block: counts tokens, and weighs the cache that
    the model is given, whoever made it."""

    def __init__(self, session: Session, prompt_length: int, streamer: Streamed) -> None:
        self._session, self._prompt_length, self._streamer = session, prompt_length, streamer
        self._prompt_seen = False
        self._tokens = 0
        self._first = self._last = self._weighed_at = 0.0
        self._cache: Any = None
        self._held: Held | None = None

    def __enter__(self) -> Self:
        self._hook = self._session.binding.base.register_forward_pre_hook(self._see, with_kwargs=True)
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()
        self._cache = None

    def _see(self, _: Any, __: Any, kwargs: dict[str, Any]) -> None:
        cache = kwargs.get("past_key_values")
        self._cache = self._cache if cache is None else cache

    def put(self, value: Tensor) -> None:
        if self._prompt_seen:  # generate hands over the prompt first
            self._last = time.perf_counter()
            self._first = self._first or self._last
            self._tokens += value.numel()
        self._prompt_seen = True
        self._streamer.put(value)

    def end(self) -> None:
        self._streamer.end()

    def so_far(self, *, weigh: bool = False) -> Figures | None:
        """None before the first token. weigh: the cache as it is now, not as it was a moment ago."""
        if not self._tokens:
            return None
        if self._held is None or weigh or self._last - self._weighed_at > _EVERY_S:
            self._held, self._weighed_at = self._weigh(), self._last
        return Figures(self._tokens, self._last - self._first, self._first - self._began, self._held)

    def _weigh(self) -> Held:
        from ..bridge.stream import Stream

        stream = Stream(self._session.binding, self._cache)
        tokens = self._prompt_length + self._tokens - 1  # the last one was not read yet
        return Held(stream.kv_bytes, stream.index_bytes, dense_bytes(self._session, tokens))


def dense_bytes(session: Session, tokens: int) -> int | None:
    """Keys and values of the untouched model; the least they may be, where that depends on the moment."""
    from ..recipes.recipe import dense_cost

    view = session.lm.view
    return None if any(x.kind in _UNKNOWN for x in view.layers) else int(dense_cost(view, tokens).kv_bytes.low)


def told(texts: Sequence[Figures | None]) -> dict[str, float | None] | None:
    """For clients, of a request of several texts, which are written one after another: the most bytes held, the rate
    of all. None before the first token of all."""
    found = [f for f in texts if f is not None]
    if not found:
        return None
    most = max((f.held for f in found), key=lambda held: held.kv_bytes)
    seconds = sum(f.seconds for f in found)
    return {
        "kv_bytes": most.kv_bytes,
        "index_bytes": most.index_bytes,
        "dense_kv_bytes": most.dense_kv_bytes,
        "tokens_per_second": sum(f.tokens - 1 for f in found) / seconds if seconds else None,
        "seconds_to_first": found[0].seconds_to_first,
    }
