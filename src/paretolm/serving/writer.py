"""The model's work on one request, in the one thread that may touch the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..bridge.stopping import GivenUp, may_be_given_up
from ..contracts import Slot
from .asked import Asked
from .figures import Figures, Meter
from .refusal import Refusal
from .streaming import Streamed

if TYPE_CHECKING:
    from torch import Tensor

    from ..recipes.session import Session


@dataclass(frozen=True)
class Token:
    """A token's text and log probability (nats), and the likeliest alternatives. start: characters before it."""

    text: str
    logprob: float
    start: int
    top: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True)
class Piece:
    """Text of one of the answers as it comes. Its tokens are there where logprobs were asked for, its figures where
    every piece is to have them."""

    index: int
    text: str
    tokens: Sequence[Token] = ()
    figures: Figures | None = None


@dataclass(frozen=True)
class Ended:
    """reason: 'stop' for the model's own end or a stop string, 'length'. tokens: new ones."""

    index: int
    reason: str
    tokens: int
    figures: Figures | None = None


Event = Piece | Ended


class Writer:
    """Writes the texts of one request after another."""

    def __init__(self, session: Session) -> None:
        self._session = session
        eos = session.lm.model.generation_config.eos_token_id
        self._eos = set(eos) if isinstance(eos, list) else {eos}

    def write(self, asked: Asked, emit: Callable[[Event], None], given_up: Callable[[], bool]) -> None:
        """Raises CallError for what the recipe in force cannot serve. given_up: asked between tokens, and between
        modules while the prompt is read."""
        if asked.top is not None and self._session.plan.edits(Slot.DECODE):
            raise Refusal(
                "the recipe chooses tokens by a way of its own and has no logprobs; leave them out", param="logprobs"
            )
        for index in range(asked.texts):
            if given_up():
                return
            self._session.reset()  # no request sees what another left behind
            models = [self._session.lm.model, *(second.lm.model for second in self._session.seconds)]
            with suppress(GivenUp), may_be_given_up(models, given_up) as stop_asking:

                def ended(stop_asking: Callable[[], None] = stop_asking) -> bool:
                    stop_asking()  # a token needs no more than the one question
                    return given_up()

                self._one(asked, index, emit, ended)

    def _one(self, asked: Asked, index: int, emit: Callable[[Event], None], ended: Callable[[], bool]) -> None:
        """ended: asked behind each token."""
        prompt, tokenizer = asked.prompts[index // asked.n], self._session.tokenizer
        if asked.heads:
            emit(Piece(index, asked.heads[index // asked.n]))
        probabilities = Probabilities(tokenizer, asked.top or 0)
        ending = Ending(tokenizer, asked.stops, ended)

        def hand_on(text: str) -> None:
            figures = meter.so_far() if asked.live else None
            emit(Piece(index, text, probabilities.taken(len(streamer.text)), figures))

        streamer = Streamed(tokenizer, hand_on, asked.stops)
        meter = Meter(self._session, prompt.shape[1], streamer)
        settings = dict(asked.sampling)
        if asked.top is not None:
            settings["logits_processor"] = [probabilities]
        with meter:
            done = self._session.generate(
                prompt,
                max_new_tokens=asked.max_new_tokens,
                seed=asked.seed + index,
                streamer=meter,
                stopping_criteria=[ending],
                **settings,
            )
            figures = meter.so_far(weigh=True)
        ids = done.ids.tolist()
        own_end = bool(ids) and ids[-1] in self._eos
        probabilities.end(None if own_end or not ids else ids[-1])
        rest = probabilities.taken(len(streamer.text) if streamer.stopped else math.inf)
        if rest:
            emit(Piece(index, "", rest))
        emit(Ended(index, "stop" if own_end or streamer.stopped else "length", len(ids), figures))


class Ending:
    """A stopping criterion of transformers: a stop string was written, or nobody waits any more."""

    def __init__(self, tokenizer: Any, stops: Sequence[str], given_up: Callable[[], bool]) -> None:
        self._tokenizer, self._stops, self._given_up = tokenizer, stops, given_up
        self._start: int | None = None  # of the new tokens
        self._reach = 4 * max(map(len, stops), default=0) + 4  # tokens: a character has at most four

    def __call__(self, ids: Tensor, scores: Any, **_: Any) -> Tensor:
        import torch

        if self._start is None:
            self._start = ids.shape[1] - 1
        return torch.full((ids.shape[0],), self._given_up() or self._stopped(ids[0]), device=ids.device)

    def _stopped(self, ids: Tensor) -> bool:
        if not self._stops:
            return False
        tail = self._tokenizer.decode(ids[self._start :][-self._reach :], skip_special_tokens=True)
        return any(stop in tail for stop in self._stops)


class Probabilities:
    """A logits processor of transformers that changes nothing: log probabilities of the tokens that were chosen, by
    the model before temperature and top-p. A token is known when the next one is asked for."""

    def __init__(self, tokenizer: Any, top: int) -> None:
        self._tokenizer, self._top = tokenizer, top
        self._row: Tensor | None = None  # [V], of the token that is being chosen
        self._tokens: list[Token] = []
        self._length = 0  # characters so far

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        self.end(int(ids[0, -1]))
        self._row = scores[0].float().log_softmax(-1)
        return scores

    def end(self, token: int | None) -> None:
        """The token that was chosen by what was last seen; None: it belongs to no text."""
        row, self._row = self._row, None
        if row is None or token is None:
            return
        best = row.topk(self._top)
        top = [(self._text(int(i)), float(p)) for i, p in zip(best.indices, best.values, strict=True)]
        text = self._text(token)
        self._tokens.append(Token(text, float(row[token]), self._length, top))
        self._length += len(text)

    def taken(self, length: float) -> list[Token]:
        """Those that begin within so many characters of text, once."""
        count = sum(token.start < length for token in self._tokens)
        taken, self._tokens = self._tokens[:count], self._tokens[count:]
        return taken

    def _text(self, token: int) -> str:
        return str(self._tokenizer.decode([token]))
