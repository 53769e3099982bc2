"""Bits per byte of documents: windows that begin as a text begins, one after the other.

A token is scored once, in the window it falls into, and sees only what stands before it there. That is cheap, and a
little worse than what the model could do with windows that overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TextError
from ..evaluation.rows import Row
from ..evaluation.source import Document
from ..evaluation.streams import encode, separator, tokenizer_of
from ..evaluation.summary import Summary, summarise
from .scoring import Reading, Tell, read, silent

if TYPE_CHECKING:
    from ..bridge.lm import LM

SHORTEST = 8  # tokens of a window


@dataclass(frozen=True)
class Windows:
    """A document's first tokens as sequences a model reads by themselves; num_bytes: of the text that is scored."""

    document: Document
    sequences: tuple[tuple[int, ...], ...]
    num_bytes: int


def cut(tokenizer: Any, document: Document, window: int, characters: int) -> Windows:
    """`window` tokens each, the last one shorter. The first is the token that begins a text; where the tokenizer has
    none, it is the last token of the window before, and the first token of the document is not scored."""
    ids, pieces = encode(tokenizer, document.text[:characters])
    first, body = separator(tokenizer, first=True), window - 1
    if first:
        found = [(*first, *ids[a : a + body]) for a in range(0, len(ids), body)]
    else:
        found = [tuple(ids[a - 1 : a + body]) for a in range(1, len(ids), body)]
    scored = pieces if first else pieces[1:]
    return Windows(document, tuple(found), len("".join(scored).encode()))


def text_rows(
    lm: LM, documents: Sequence[Document], window: int, characters: int, tell: Tell = silent
) -> tuple[Row, ...]:
    """bits_per_byte (weighted by bytes) and nll (by tokens) of each document, tagged with its domain."""
    if window < SHORTEST:
        raise TextError(f"a window of {window} tokens says nothing; give --window {SHORTEST} or more")
    parts = [cut(tokenizer_of(lm), d, window, characters) for d in documents]
    readings = iter(read(lm, [s for part in parts for s in part.sequences], tell))
    rows: list[Row] = []
    for part in parts:
        rows += _rows(part, [next(readings) for _ in part.sequences])
    return tuple(rows)


def _rows(part: Windows, readings: Sequence[Reading]) -> list[Row]:
    if not part.num_bytes:
        return []
    nll = np.concatenate([r.nll for r in readings])
    document, tags = part.document, {"domain": part.document.domain}
    bits = float(nll.sum()) / math.log(2) / part.num_bytes
    return [
        Row(document.id, document.work, "bits_per_byte", bits, float(part.num_bytes), tags),
        Row(document.id, document.work, "nll", float(nll.mean()), float(len(nll)), tags),
    ]


def text_numbers(rows: Sequence[Row]) -> dict[str, Any]:
    """What a card says of these rows: bits per byte in all and by domain, and the loss in nats a token."""
    bits = [r for r in rows if r.metric == "bits_per_byte"]
    (whole,) = summarise({"model": bits}, "model")
    domains = [s for s in summarise({"model": bits}, "model", by="domain") if s.group]
    nll = [r for r in rows if r.metric == "nll"]
    tokens = sum(r.weight for r in nll)
    loss = sum(r.weight * r.value for r in nll) / tokens
    return {
        "bits_per_byte": {"value": whole.mean, "low": whole.low, "high": whole.high},
        "domains": {str(s.group): _domain(s, bits) for s in domains},
        "loss": loss,
        "perplexity": math.exp(loss),
        "documents": len(bits),
        "bytes": int(sum(r.weight for r in bits)),
        "tokens": int(tokens),
    }


def _domain(summary: Summary, bits: Sequence[Row]) -> dict[str, Any]:
    own = [r for r in bits if r.tags["domain"] == summary.group]
    return {"value": summary.mean, "documents": len(own), "bytes": int(sum(r.weight for r in own))}
