"""One side of a race: a recipe's session that answers one request and says how long its parts took."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..bridge.bytes import forward_bytes
from ..contracts import Slot

if TYPE_CHECKING:
    from ..bridge.lm import LM
    from ..recipes.recipe import Recipe
    from ..recipes.session import Session

Clock = Callable[[], float]
Mode = Literal["forced", "generated"]

_KEPT_OPEN = frozenset({Slot.TOKENS, Slot.WEIGHTS})  # too dear to apply again for every repeat
_GENERATED = frozenset({Slot.PROMPT, Slot.DECODE})  # only generate obeys them


@dataclass(frozen=True)
class Trial:
    """One request: prompt_tokens were read in ttft_s (first token chosen included), then decoded tokens took
    decode_s and so many forwards. kv_bytes: held when decoding began. Where a loop chose the tokens: emitted came of
    those asked for, the first included, and tokens_read went through forwards after the first."""

    prompt_tokens: int
    ttft_s: float
    decoded: int
    decode_s: float
    forwards: int
    kv_bytes: int
    asked: int = 0
    emitted: int = 0
    tokens_read: int = 0


@dataclass(frozen=True)
class Request:
    """prompt [1, P] and the tokens [1, N] that follow it where decoding is forced; chunk: the largest part of
    the prompt read in one forward."""

    prompt: Tensor
    forced: Tensor
    chunk: int


class SessionArm:
    """A recipe on a model. Where weights change, the model is this arm's own and the session stays open;
    otherwise arms share one model and the session is opened for each request, outside the clock."""

    def __init__(self, lm: LM, recipe: Recipe, request: Request, mode: Mode, keep_open: bool) -> None:
        self.lm, self.recipe, self.mode, self.keep_open = lm, recipe, mode, keep_open
        self.request = request
        self.chunk = min(recipe.chunk(request.prompt.shape[1]) or request.chunk, request.chunk)
        self.facts: dict[str, Any] = {}
        self._stack = ExitStack()
        self._open: Session | None = None

    def close(self) -> None:
        self._stack.close()

    def run(self, clock: Clock) -> Trial:
        """One timed request."""
        with self._session() as session:
            if "shape" not in self.facts:
                self.facts["shape"] = shape_facts(session)
            prompt, forced = own_tokens(session, self.request)
            run = self._forced if self.mode == "forced" else self._generated
            with quiet(), torch.inference_mode():
                trial = run(session, prompt, forced, clock)
            self.facts["counters"] = session.counters
        return trial

    @contextmanager
    def _session(self) -> Iterator[Session]:
        if not self.keep_open:
            with self.recipe.apply(self.lm) as session:
                yield session
            return
        if self._open is None:
            self._open = self._stack.enter_context(self.recipe.apply(self.lm))
        self._open.reset()
        yield self._open

    def _forced(self, session: Session, prompt: Tensor, forced: Tensor, clock: Clock) -> Trial:
        size = prompt.shape[1]
        start = clock()
        stream = session.stream()
        for begin in range(0, size, self.chunk):
            out = stream.read(prompt[:, begin : begin + self.chunk], last=begin + self.chunk >= size, logits=False)
        out.logits[:, -1].argmax().item()  # waits for the device, as choosing the token would
        first, held, before = clock(), stream.kv_bytes, session.forwards
        for i in range(forced.shape[1]):
            stream.step(forced[:, i : i + 1]).logits[:, -1].argmax().item()
        end, forwards = clock(), session.forwards - before
        return Trial(
            self.request.prompt.shape[1], first - start, self.request.forced.shape[1], end - first, forwards, held
        )

    def _generated(self, session: Session, prompt: Tensor, forced: Tensor, clock: Clock) -> Trial:
        """As many new tokens as there are forced ones, chosen greedily."""
        watch = Watch(clock, lambda: (session.forwards, session.tokens_read))
        num = forced.shape[1] + 1
        start = clock()
        session.generate(prompt, max_new_tokens=num, min_new_tokens=num, streamer=watch)
        first, decoded, seconds, forwards = watch.split()
        stream = session.last_stream
        return Trial(
            prompt.shape[1],
            first - start,
            decoded,
            seconds,
            forwards,
            stream.kv_bytes if stream else 0,
            num,
            len(watch.ticks),
            watch.tokens_read(),
        )


class Watch:
    """A streamer that notes when each token came, and after how much work of the model: (forwards, tokens read)."""

    def __init__(self, clock: Clock, work: Callable[[], tuple[int, int]]) -> None:
        self._clock, self._work = clock, work
        self._prompt_seen = False
        self.ticks: list[tuple[float, int, int]] = []

    def put(self, value: Tensor) -> None:
        if not self._prompt_seen:  # generate hands over the prompt first
            self._prompt_seen = True
            return
        self.ticks += [(self._clock(), *self._work())] * value.numel()

    def end(self) -> None:
        """Nothing is buffered."""

    def split(self) -> tuple[float, int, float, int]:
        """(time of the first token, tokens decoded after it, their seconds, their forwards). Tokens that came
        with the first one cost no forward of their own and do not count as decoded."""
        first, before, _ = self.ticks[0]
        started = max(t for t, forwards, _ in self.ticks if forwards == before)
        end, after, _ = self.ticks[-1]
        decoded = sum(forwards > before for _, forwards, _ in self.ticks)
        return first, decoded, end - started, after - before

    def tokens_read(self) -> int:
        """Tokens that went through forwards between the first token and the last."""
        return self.ticks[-1][2] - self.ticks[0][2]


def mode_for(slots: set[Slot]) -> Mode:
    """Forced tokens wherever a stream obeys the recipe; else both arms really generate."""
    return "generated" if slots & _GENERATED else "forced"


def kept_open(slots: set[Slot]) -> bool:
    return bool(slots & _KEPT_OPEN)


def own_tokens(session: Session, request: Request) -> tuple[Tensor, Tensor]:
    """The request in the session's own tokens: the same text where a recipe brings another tokenizer. Rates
    still count the untouched model's tokens, so that they measure the same text."""
    base, own = session.lm.tokenizer, session.tokenizer
    if own is base or own is None or base is None:
        return request.prompt, request.forced
    prompt, forced = (
        own(base.decode(ids[0]), add_special_tokens=False, return_tensors="pt").input_ids
        for ids in (request.prompt, request.forced)
    )
    return prompt, forced


def shape_facts(session: Session) -> dict[str, Any]:
    """What one forward of one token must at least do under this recipe (see roofline.Shape)."""
    view, slots = session.plan.view, {edit.slot for _, edit in session.plan.pairs}
    passes = session.recipe.cost(session.lm.view, 1).passes
    share = min(1.0, passes.low) if Slot.BLOCK in slots else 1.0
    head = view.head_path
    weights = sum(2.0 * m.in_features * m.out_features for m in view.linears if m.path != head)
    return {
        "weight_bytes": forward_bytes(session.lm.model) * share,
        "flops_per_token": weights * share,
        "reads_whole_cache": not slots & {Slot.ATTEND, Slot.BLOCK},
        "reads_whole_prompt": Slot.PROMPT not in slots,
        "dtype": str(session.lm.model.dtype).removeprefix("torch."),
    }


@contextmanager
def settled_heap() -> Iterator[None]:
    """What exists by now is left out of later garbage collections, which makes those between trials cheap."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def quiet() -> Iterator[None]:
    """No garbage collection while the clock runs."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
