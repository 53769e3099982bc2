"""Perplexity of long streams of the user's text, read through the cache.

The first part of a stream is the prompt, so that methods which act when a prompt ends have acted; the rest is
scored token by token, by document and by position. Perplexity sees neither the prompt's rewriting nor the
decoding loop. A recipe with another tokenizer is scored on the same bytes, in bits per byte alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from ....contracts import Slot, knob
from ...rows import Row, Tag
from ...streams import TextStream, build, retokenised
from ...task import IN_STREAM, Base, Item, Run, Scored, Task
from .._reading import auto_length, bucket, read_nll

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource


@dataclass(frozen=True, kw_only=True)
class Perplexity(Task):
    """Rows: nll by document and position (tag position: lower edge of its bucket), bits_per_byte by document.

    Chunks are an approximation where a method is not chunk-invariant; one more item, `audit`, is then read both
    in chunks and one token at a time, and audit_nll_gap is the difference on the same tokens."""

    sees: ClassVar[frozenset[Slot]] = IN_STREAM | {Slot.TOKENS}
    headline: ClassVar[str] = "nll"

    length: int | None = knob(None, low=16, help="tokens of a stream; by itself 16 trained lengths, 8192 at most")
    streams: int = knob(4, low=1, help="how many streams")
    context: float = knob(
        0.25, low=0.01, high=0.9, help="share of a stream read as the prompt, one trained length at most"
    )
    documents: int = knob(8, low=1, help="how many documents a stream is made of, where the text has as many")
    audit: int = knob(1024, low=0, help="tokens of the audit stream, 2 trained lengths at most; 0 for none")

    def items(self, source: TextSource, lm: LM) -> list[Item]:
        length = self.length or auto_length(lm, 16, 8192)
        per_document = max(1, length // self.documents)
        streams = build(
            source, lm, length, self.streams, per_document=per_document, seed=self.seed, shrink=self.length is None
        )
        items = [self._item(s, lm.view.trained_length) for s in streams]
        audited = min(self.audit, 2 * lm.view.trained_length, streams[0].length)
        if audited:
            items.append(self._item(streams[0].head(audited, "audit"), lm.view.trained_length))
        return items

    def _item(self, stream: TextStream, trained: int, prompt: int | None = None, foreign: bool = False) -> Item:
        prompt = prompt or max(1, min(trained, round(stream.length * self.context)))
        data = {"stream": stream, "trained": trained, "foreign": foreign}
        return Item(stream.id, stream.id, stream.ids[:, :prompt], data, docs=stream.documents(prompt))

    def retokenised(self, item: Item, tokenizer: Any) -> Item:
        stream, prompt = retokenised(item.data["stream"], tokenizer, item.prompt_length)
        return self._item(stream, item.data["trained"], prompt, foreign=True)

    def tokens(self, item: Item) -> int:
        return int(item.data["stream"].length)

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        if item.id == "audit":
            return Scored(self._audited(run, item))
        nll = self._nll(run, item, run.chunk)
        stream, start = item.data["stream"], item.prompt_length
        rows = _byte_rows(stream, start, nll)
        if not item.data["foreign"]:
            rows = _token_rows(stream, start, nll, item.data["trained"]) + rows
        return Scored(rows)

    def _nll(self, run: Run, item: Item, chunk: int) -> np.ndarray:
        assert run.stream is not None
        assert run.prompt_end is not None
        return read_nll(run.stream, run.prompt_end, _ids(item), item.prompt_length, chunk)

    def _audited(self, run: Run, item: Item) -> list[Row]:
        """Stepwise minus chunked; nothing where chunks mean the same as steps."""
        if run.chunk_invariant or run.chunk == 1:
            return []
        chunked = self._nll(run, item, run.chunk)
        stream, prompt_end = run.restart(1)
        stepwise = read_nll(stream, prompt_end, _ids(item), item.prompt_length, 1)
        source, start = item.data["stream"], item.prompt_length
        return [
            Row(item.id, doc, "audit_nll_gap", float((stepwise - chunked)[at].mean()), float(len(at)), tags)
            for doc, at, tags in _groups(source, start, None)
        ]


def _ids(item: Item) -> Tensor:
    ids: Tensor = item.data["stream"].ids
    return ids


def _groups(stream: TextStream, start: int, trained: int | None) -> list[tuple[str, np.ndarray, dict[str, Tag]]]:
    """Scored tokens by document, and by position where `trained` is given: document, offsets from start, tags."""
    groups: dict[tuple[int, int], list[int]] = {}
    for offset, place in enumerate(stream.where[start:].tolist()):
        if place >= 0:
            edge = bucket(start + offset, trained) if trained else 0
            groups.setdefault((place, edge), []).append(offset)
    return [
        (stream.docs[place], np.array(at), {"position": edge} if trained else {})
        for (place, edge), at in groups.items()
    ]


def _token_rows(stream: TextStream, start: int, nll: np.ndarray, trained: int) -> list[Row]:
    return [
        Row(stream.id, doc, "nll", float(nll[at].mean()), float(len(at)), tags)
        for doc, at, tags in _groups(stream, start, trained)
    ]


def _byte_rows(stream: TextStream, start: int, nll: np.ndarray) -> list[Row]:
    """Weights are the bytes of the scored text, which no tokenizer changes."""
    rows = []
    for doc, at, tags in _groups(stream, start, None):
        size = _bytes(stream.pieces[start + i] for i in at)
        if size:
            rows.append(Row(stream.id, doc, "bits_per_byte", float(nll[at].sum()) / math.log(2) / size, size, tags))
    return rows


def _bytes(pieces: Iterable[str]) -> float:
    return float(len("".join(pieces).encode()))
