"""Text as it is generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class Streamed:
    """A streamer of transformers' generate that hands on whole words as they come.

    emit: hears each piece of text. Where one of `stops` appears the text ends before it, and nothing that may be the
    start of one is handed on before that is known."""

    def __init__(self, tokenizer: Any, emit: Callable[[str], None], stops: Sequence[str] = ()) -> None:
        self.text = ""  # all that was handed on
        self.stopped = False  # at one of stops
        self._tokenizer, self._emit, self._stops = tokenizer, emit, [s for s in stops if s]
        self._prompt_seen = False
        self._line: list[int] = []  # tokens since the last line end
        self._read = 0  # characters of them that are read
        self._held = ""  # what may become a stop

    def put(self, value: Tensor) -> None:
        if not self._prompt_seen:  # generate hands over the prompt first
            self._prompt_seen = True
            return
        self._line += [int(i) for i in value.reshape(-1)]
        text = self._decoded()
        if text.endswith("\n"):
            self._take(text)
            self._line, self._read = [], 0
        elif not text.endswith("\ufffd"):  # a character whose other bytes are still to come
            self._take(text[: text.rfind(" ") + 1])

    def end(self) -> None:
        self._take(self._decoded())
        if not self.stopped:
            self._hand_on(self._held)
        self._held = ""

    def _decoded(self) -> str:
        return str(self._tokenizer.decode(self._line, skip_special_tokens=True))

    def _take(self, text: str) -> None:
        new, self._read = text[self._read :], max(self._read, len(text))
        if self.stopped or not new:
            return
        waiting = self._held + new
        found = [at for stop in self._stops if (at := waiting.find(stop)) >= 0]
        self.stopped = bool(found)
        cut = min(found) if found else len(waiting) - _may_begin(waiting, self._stops)
        self._held = "" if found else waiting[cut:]
        self._hand_on(waiting[:cut])

    def _hand_on(self, text: str) -> None:
        if text:
            self.text += text
            self._emit(text)


def _may_begin(text: str, stops: Sequence[str]) -> int:
    """Characters at the end of text that are the start of a stop."""
    longest = max((len(stop) - 1 for stop in stops), default=0)
    return next((n for n in range(min(longest, len(text)), 0, -1) if any(s.startswith(text[-n:]) for s in stops)), 0)
