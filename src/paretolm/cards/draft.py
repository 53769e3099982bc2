"""How often a small model's next token is that of the large one: what makes it useful as a draft model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..evaluation.rows import Row
from ..evaluation.source import Document
from ..evaluation.streams import tokenizer_of
from ..evaluation.summary import summarise
from .scoring import Tell, portion, read, silent
from .text import cut

if TYPE_CHECKING:
    from ..bridge.lm import LM


def agreement(
    lm: LM, draft: LM, documents: Sequence[Document], characters: int, windows: int, tell: Tell = silent
) -> dict[str, Any]:
    """Share of positions at which both models' most likely next tokens are the same, over `windows` windows drawn from
    all documents. Raises ModelError where the tokenizers differ."""
    if tokenizer_of(lm).get_vocab() != tokenizer_of(draft).get_vocab():
        raise ModelError(f"{draft.name} has another tokenizer than {lm.name}, so it cannot draft for it")
    window = min(lm.view.trained_length, draft.view.trained_length)
    parts = [cut(lm.tokenizer, d, window, characters) for d in documents]
    every = [(part.document.work, sequence) for part in parts for sequence in part.sequences]
    drawn = random.Random(0).sample(every, min(windows, len(every)))
    sequences = [sequence for _, sequence in drawn]
    ours = read(lm, sequences, portion(tell, 0, 2))
    theirs = read(draft, sequences, portion(tell, 1, 2))
    rows = [
        Row(f"{i}", work, "same_top", float((a.top == b.top).mean()), float(len(a.top)))
        for i, ((work, _), a, b) in enumerate(zip(drawn, ours, theirs, strict=True))
    ]
    (found,) = summarise({"draft": rows}, "draft")
    return {
        "content": draft.content_hash,
        "parameters": sum(p.numel() for p in draft.model.parameters()),
        "value": found.mean,
        "low": found.low,
        "high": found.high,
        "positions": int(sum(r.weight for r in rows)),
        "window": window,
    }
