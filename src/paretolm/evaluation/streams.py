"""Streams: long token sequences of many documents, each token knowing its document and its text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from .source import Document, TextSource, require_tokens

if TYPE_CHECKING:
    from ..bridge.lm import LM

SHORTEST = 64  # tokens of a stream
_CHARACTERS = 5  # of a document read at first for each token wanted of it
_CUT = 16  # tokens before a cut in the text that the cut may have changed
_START = -1  # document index of a separator


@dataclass(frozen=True)
class TextStream:
    """ids [1, T]; docs[where[t]] is the document of token t and pieces[t] its text; a separator has where -1."""

    id: str
    ids: Tensor
    where: np.ndarray
    pieces: Sequence[str]
    docs: Sequence[str]

    @property
    def length(self) -> int:
        return int(self.ids.shape[1])

    def head(self, length: int, name: str) -> TextStream:
        """The first tokens as a stream of their own."""
        return TextStream(name, self.ids[:, :length], self.where[:length], self.pieces[:length], self.docs)

    def documents(self, start: int) -> list[str]:
        """Documents of the tokens from `start` on, the one with most of them first."""
        counts = Counter(place for place in self.where[start:].tolist() if place != _START)
        return [self.docs[place] for place, _ in counts.most_common()]

    def texts(self, start: int, end: int) -> list[tuple[int, str]]:
        """Runs of one document in [start, end): its index and text; a separator is a run of its own."""
        runs: list[tuple[int, str]] = []
        for place, piece in zip(self.where[start:end].tolist(), self.pieces[start:end], strict=True):
            if runs and runs[-1][0] == place != _START:
                runs[-1] = (place, runs[-1][1] + piece)
            else:
                runs.append((place, piece))
        return runs


def tokenizer_of(lm: LM) -> Any:
    """Raises ModelError where there is none."""
    if lm.tokenizer is None:
        raise ModelError(f"{lm.name} came without a tokenizer, so it cannot read text; give a directory that has one")
    return lm.tokenizer


def separator(tokenizer: Any, first: bool = False) -> list[int]:
    """What stands between documents, and (first) before the first: <bos> and <eos> as far as there are any."""
    wanted = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    found = next((i for i in (wanted if first else wanted[::-1]) if i is not None), None)
    return [] if found is None else [found]


def encode(tokenizer: Any, text: str, *, template: bool = False) -> tuple[list[int], list[str]]:
    """Token ids and the text each stands for; the texts join to the whole (to its end, if the last tokens say so).

    A character split over several tokens belongs to the first. Names of special tokens in the text are plain
    text, except in a rendered chat template."""
    options = {"add_special_tokens": False, "verbose": False, "split_special_tokens": not template}
    if tokenizer.is_fast:
        found = tokenizer(text, return_offsets_mapping=True, **options)
        ids, ends = found["input_ids"], np.array([end for _, end in found["offset_mapping"]], dtype=np.int64)
    else:
        ids = tokenizer(text, **options)["input_ids"]
        lengths = np.cumsum([max(1, len(tokenizer.decode([i]))) for i in ids], dtype=np.float64)
        ends = np.round(lengths * (len(text) / lengths[-1])).astype(np.int64) if len(ids) else np.zeros(0, np.int64)
    borders = [0, *np.maximum.accumulate(ends).tolist()] if len(ids) else [0]
    return list(ids), [text[a:b] for a, b in pairwise(borders)]


def rendered(document: Document, tokenizer: Any) -> tuple[str, bool]:
    """The text a model should read of a document, and whether a chat template made it."""
    if document.messages and getattr(tokenizer, "chat_template", None):
        from ..bridge.chat_template import render

        return render(tokenizer, document.messages, answer=False), True
    return document.text, False


def build(
    source: TextSource, lm: LM, length: int, count: int, *, per_document: int, seed: int, shrink: bool = False
) -> list[TextStream]:
    """Up to `count` streams of `length` tokens from the documents to be judged, in seeded order.

    A document gives its first `per_document` tokens, more where the text would not suffice otherwise; no token
    is used twice. shrink makes one shorter stream of a text that is too short; else TextError."""
    tokenizer = tokenizer_of(lm)
    order = np.random.default_rng(seed).permutation(len(source.eval_documents))
    documents = [_Encoded(source.eval_documents[i], tokenizer) for i in order]
    first = separator(tokenizer, first=True)
    body = length - len(first)
    need, most = body * count, per_document
    while True:
        flat = _Flat()
        more = [flat.add(d, most, need) for d in documents]
        if len(flat.ids) >= need or not any(more):
            break
        most += max(1, most // 4)  # in small steps, so that many documents share the work
    if shrink and len(flat.ids) < body:
        require_tokens(len(flat.ids), SHORTEST, "length")
        body = len(flat.ids)
    require_tokens(len(flat.ids) + len(first), body + len(first), "length")
    _check_ids(flat.ids, lm)
    starts = range(0, min(need, len(flat.ids)) - body + 1, body)
    return [flat.stream(f"stream-{i}", first, s, s + body) for i, s in enumerate(starts)]


class _Encoded:
    """The beginning of a document in tokens, encoded anew only where more of it is wanted than was read."""

    def __init__(self, document: Document, tokenizer: Any) -> None:
        self.work, self.tokenizer = document.work, tokenizer
        self._document = document
        self._read, self._ids, self._pieces = 0, [], []  # type: ignore[var-annotated]

    @cached_property
    def _text(self) -> tuple[str, bool]:
        return rendered(self._document, self.tokenizer)

    def head(self, most: int) -> tuple[list[int], list[str], bool]:
        """At most `most` tokens, the text of each, and whether there are more."""
        text, template = self._text
        while len(self._ids) <= most + _CUT and self._read < len(text):
            self._read = max(most * _CHARACTERS, 2 * self._read) + _CUT * _CHARACTERS
            self._ids, self._pieces = encode(self.tokenizer, text[: self._read], template=template)
        return self._ids[:most], self._pieces[:most], len(self._ids) > most


class _Flat:
    """Documents one after the other."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.where: list[int] = []
        self.pieces: list[str] = []
        self.docs: list[str] = []

    def add(self, document: _Encoded, most: int, need: int) -> bool:
        """Whether the document had more to give than `most` tokens; nothing is read once `need` are there."""
        if len(self.ids) >= need:
            return False
        ids, pieces, more = document.head(most)
        if self.ids:
            self._extend(separator(document.tokenizer), _START)
        if document.work not in self.docs:
            self.docs.append(document.work)
        self._extend(ids, self.docs.index(document.work), pieces)
        return more

    def _extend(self, ids: Sequence[int], place: int, pieces: Sequence[str] | None = None) -> None:
        self.ids += ids
        self.where += [place] * len(ids)
        self.pieces += pieces if pieces is not None else [""] * len(ids)

    def stream(self, name: str, first: list[int], start: int, end: int) -> TextStream:
        return TextStream(
            name,
            torch.tensor([first + self.ids[start:end]], dtype=torch.long),
            np.array([_START] * len(first) + self.where[start:end]),
            [""] * len(first) + self.pieces[start:end],
            self.docs,
        )


def retokenised(stream: TextStream, tokenizer: Any, prompt: int) -> tuple[TextStream, int]:
    """The same text in another tokenizer's tokens, and where its prompt of `prompt` tokens ends now."""
    flat, border = _Flat(), 0
    flat.docs = list(stream.docs)
    for start, end in ((0, prompt), (prompt, stream.length)):
        border = len(flat.ids)
        for place, text in stream.texts(start, end):
            if place == _START:
                flat._extend(separator(tokenizer, first=not flat.ids), _START)
            else:
                ids, pieces = encode(tokenizer, text)
                flat._extend(ids, place, pieces)
    return flat.stream(stream.id, [], 0, len(flat.ids)), border


def chunks(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """[start, end) in pieces of at most `size`."""
    for a in range(start, end, size):
        yield a, min(a + size, end)


def _check_ids(ids: Sequence[int], lm: LM) -> None:
    if ids and max(ids) >= lm.view.vocab_size:
        raise ModelError(
            f"the tokenizer of {lm.name} gives token {max(ids)}, but the model knows {lm.view.vocab_size}: "
            "they do not belong together"
        )
