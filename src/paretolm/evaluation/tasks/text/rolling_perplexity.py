"""Perplexity a word and a byte in disjoint windows, as lm-evaluation-harness has it.

Each window begins with an empty cache and at most one token of what stood before, so that no text is longer than
what the model was trained for. Where `perplexity` asks what a recipe's cache has lost in a long stream, this task
gives numbers that can be set beside those of other tools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ....contracts import knob
from ...streams import rendered, tokenizer_of
from ...task import Item
from .._rolling import RollingTask

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource


@dataclass(frozen=True, kw_only=True)
class RollingPerplexity(RollingTask):
    """An item is a window of a document of the text. A method that acts when a prompt ends finds one of one token;
    with a greater `context` it finds that many."""

    limit: int | None = knob(None, low=1, help="documents, drawn by seed; by itself all")

    def items(self, source: TextSource, lm: LM) -> list[Item]:
        documents = source.eval_documents
        chosen = np.random.default_rng(self.seed).permutation(len(documents))[: self.limit]
        found = []
        for i in chosen.tolist():
            text, _ = rendered(documents[i], tokenizer_of(lm))
            found += self.of_text(documents[i].id, documents[i].work, text, lm)
        return found
