"""Answers as OpenAI's clients read them: whole, and in chunks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .asked import CHAT, Asked
from .figures import Figures, told
from .writer import Ended, Event, Piece, Token

Json = dict[str, Any]


@dataclass
class Written:
    """One of the texts, as far as it came."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    reason: str | None = None
    num_tokens: int = 0
    figures: Figures | None = None

    def hear(self, event: Event) -> None:
        self.figures = event.figures or self.figures
        if isinstance(event, Ended):
            self.reason, self.num_tokens = event.reason, event.tokens
        else:
            self.text += event.text
            self.tokens += event.tokens


class Answer:
    """The answer to one request; `hear` every event."""

    def __init__(self, asked: Asked, fingerprint: str) -> None:
        self.asked = asked
        self.texts = [Written() for _ in range(asked.texts)]
        self._chat = asked.kind == CHAT
        prefix = "chatcmpl" if self._chat else "cmpl"
        self._frame = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": fingerprint,
        }

    def hear(self, event: Event) -> None:
        self.texts[event.index].hear(event)

    @property
    def usage(self) -> Json:
        read = sum(p.shape[1] for p in self.asked.prompts)
        written = sum(w.num_tokens or (w.figures.tokens if w.figures else 0) for w in self.texts)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def whole(self) -> Json:
        choices = [self._choice(i, w) for i, w in enumerate(self.texts)]
        return {**self._frame, "object": self.asked.kind, "choices": choices, **self._counts}

    def _choice(self, index: int, written: Written) -> Json:
        said: Json = {"message": {"role": "assistant", "content": written.text, "refusal": None}}
        body = said if self._chat else {"text": written.text}
        return {
            "index": index,
            **body,
            "logprobs": self._logprobs(written.tokens, index),
            "finish_reason": written.reason,
        }

    # --- in chunks ---

    def openings(self) -> list[Json]:
        """What a stream begins with, before any event."""
        if not self._chat:
            return []
        delta = {"role": "assistant", "content": ""}
        return [self._chunk(i, {"delta": delta}, (), None) for i in range(len(self.texts))]

    def chunk(self, event: Event) -> Json:
        if isinstance(event, Piece):
            body: Json = {"delta": {"content": event.text}} if self._chat else {"text": event.text}
            return self._chunk(event.index, body, event.tokens, None)
        return self._chunk(event.index, {"delta": {}} if self._chat else {"text": ""}, (), event.reason)

    def usage_chunk(self) -> Json:
        return {**self._frame, "object": self._chunk_name, "choices": [], **self._counts}

    @property
    def _counts(self) -> Json:
        """What OpenAI's clients know, and what they pass on unread."""
        return {"usage": self.usage, "paretolm": told([w.figures for w in self.texts])}

    @property
    def _chunk_name(self) -> str:
        return "chat.completion.chunk" if self._chat else self.asked.kind

    def _chunk(self, index: int, body: Json, tokens: Sequence[Token], reason: str | None) -> Json:
        logprobs = self._logprobs(tokens, index) if tokens else None
        choice = {"index": index, **body, "logprobs": logprobs, "finish_reason": reason}
        usage = self._counts if self.asked.live else {"usage": None} if self.asked.usage else {}
        return {**self._frame, "object": self._chunk_name, "choices": [choice], **usage}

    # --- log probabilities ---

    def _logprobs(self, tokens: Sequence[Token], index: int) -> Json | None:
        if self.asked.top is None:
            return None
        if self._chat:
            return {"content": [_told(t) for t in tokens], "refusal": None}
        head = len(self.asked.heads[index // self.asked.n]) if self.asked.heads else 0
        return {
            "tokens": [t.text for t in tokens],
            "token_logprobs": [t.logprob for t in tokens],
            "top_logprobs": [_first(t) for t in tokens] if self.asked.top else None,
            "text_offset": [head + t.start for t in tokens],
        }


def _told(token: Token) -> Json:
    top = [{"token": text, "logprob": p, "bytes": _bytes(text)} for text, p in token.top]
    return {"token": token.text, "logprob": token.logprob, "bytes": _bytes(token.text), "top_logprobs": top}


def _first(token: Token) -> dict[str, float]:
    """Tokens that are parts of characters may have one text; the likeliest stands for them."""
    return dict(reversed(token.top))


def _bytes(text: str) -> list[int] | None:
    """None for a part of a character."""
    return None if "\ufffd" in text else list(text.encode())
