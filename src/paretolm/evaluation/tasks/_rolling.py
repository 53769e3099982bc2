"""Log-likelihood of whole texts in windows, each read anew: `loglikelihood_rolling` of lm-evaluation-harness."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...contracts import knob
from ...errors import ModelError, RecipeError
from ..rows import Row
from ..streams import separator, tokenizer_of
from ..task import Base, Item, Run, Scored, Task
from ._lm_eval import ids_of
from ._reading import read_nll

if TYPE_CHECKING:
    from ...bridge.lm import LM


def windows(count: int, length: int, context: int = 1) -> Iterator[tuple[int, int, int]]:
    """(start, first, stop) of each window over a prefix token and `count` tokens after it: tokens start to first are
    read, first to stop are scored, every token once. A window is fed `length` tokens at most.

    All but the first begin with `context` tokens that were scored before; the last is filled up with as many as
    have room."""
    done = 0
    while done < count:
        size = min(count - done, length - (context - 1 if done else 0))
        stop = done + size + 1
        yield max(0, stop - 1 - length), done + 1, stop
        done += size


def words(text: str) -> int:
    """What stands between white space, as lm-evaluation-harness counts it: an empty end counts too."""
    return len(re.split(r"\s+", text))


@dataclass(frozen=True, kw_only=True)
class RollingTask(Task):
    """Rows of each window: word_perplexity, byte_perplexity, bits_per_byte. A window stands for its share of the
    text's words and bytes, by tokens, so that the weighted mean is the text's own number.

    Another tokenizer has other windows, so that it is not seen."""

    headline: ClassVar[str] = "word_perplexity"

    length: int | None = knob(None, low=2, help="tokens a window is fed; by itself the trained length")
    context: int = knob(1, low=1, help="tokens of a window that were scored before; 1 makes windows disjoint")
    special: bool = knob(True, help="a tokenizer's own special tokens are part of the text; false leaves them out")

    def of_text(self, name: str, doc: str, text: str, lm: LM) -> list[Item]:
        """The windows of a text. Raises ModelError where the tokenizer has no token that begins one."""
        tokenizer = tokenizer_of(lm)
        length = self.length or lm.view.trained_length
        if self.context >= length:
            raise RecipeError(f"{self.name}: context={self.context} leaves nothing to score in windows of {length}")
        prefix = separator(tokenizer, first=True)
        if not prefix:
            raise ModelError("the tokenizer has neither <bos> nor <eos>, so the first token of a text cannot be scored")
        ids = prefix + ids_of(tokenizer, text, special=self.special)
        count = len(ids) - 1
        sizes = {"words": words(text) / max(1, count), "bytes": len(text.encode()) / max(1, count)}
        found = []
        for i, (start, first, stop) in enumerate(windows(count, length, self.context)):
            data = sizes | {"ids": torch.tensor([ids[start:stop]])}
            found.append(Item(f"{name}/{i}", doc, torch.tensor([ids[start:first]]), data))
        return found

    def tokens(self, item: Item) -> int:
        return int(item.data["ids"].shape[1])

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        assert run.stream is not None
        assert run.prompt_end is not None
        nll = read_nll(run.stream, run.prompt_end, item.data["ids"], item.prompt_length, run.chunk)
        total, scored = float(nll.sum()), len(nll)
        size, count = scored * item.data["bytes"], scored * item.data["words"]
        found = {
            "word_perplexity": (total / count, count),
            "byte_perplexity": (total / size, size),
            "bits_per_byte": (total / math.log(2) / size, size),
        }
        return Scored([Row(item.id, item.doc, name, value, weight) for name, (value, weight) in found.items()])
