"""Many samples of a prompt in one batch: prompts of any length side by side, filled up on their left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..evaluation.streams import tokenizer_of
from ..evaluation.tasks._generation import end_tokens

if TYPE_CHECKING:
    from ..bridge.lm import LM

STOP, END, LIMIT = "stop", "end token", "limit"
_TAIL = 16  # tokens in which a stop that ends a sample is looked for


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn; top_k 0 and top_p 1 leave all tokens in. stop: text that ends a sample, '' for none."""

    max_new_tokens: int
    temperature: float
    top_k: int
    top_p: float
    stop: str

    def options(self, tokenizer: Any, pad: int) -> dict[str, Any]:
        """As generate of transformers takes them."""
        found = {"do_sample": True, "temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        found |= {"max_new_tokens": self.max_new_tokens, "pad_token_id": pad}
        return found | ({"stop_strings": [self.stop], "tokenizer": tokenizer} if self.stop else {})


@dataclass(frozen=True)
class Sample:
    """ids: what was generated, the token that ended it among them."""

    ids: tuple[int, ...]
    ended: str


@torch.inference_mode()
def samples(lm: LM, prompts: Sequence[Sequence[int]], count: int, how: Sampling, seed: int) -> list[list[Sample]]:
    """`count` samples of each prompt, all in one batch."""
    tokenizer = tokenizer_of(lm)
    ends = end_tokens(lm, tokenizer)
    pad = next((i for i in (tokenizer.pad_token_id, *sorted(ends)) if i is not None), 0)
    ids, mask = left_filled([p for p in prompts for _ in range(count)], pad)
    device = lm.model.device
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        whole = lm.model.generate(
            ids.to(device),
            attention_mask=mask.to(device),
            eos_token_id=sorted(ends) or None,
            **how.options(tokenizer, pad),
        )
    new = [cut(row, pad, ends, how, tokenizer) for row in whole[:, ids.shape[1] :].tolist()]
    return [new[i : i + count] for i in range(0, len(new), count)]


def left_filled(sequences: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask [rows, longest]."""
    width = max(map(len, sequences))
    ids = torch.tensor([[pad] * (width - len(s)) + list(s) for s in sequences])
    mask = torch.tensor([[0] * (width - len(s)) + [1] * len(s) for s in sequences])
    return ids, mask


def cut(row: Sequence[int], pad: int, ends: frozenset[int], how: Sampling, tokenizer: Any) -> Sample:
    """A generated row without what fills it up after its end."""
    end = next((i for i, token in enumerate(row) if token in ends), None)
    size = len(row)
    while size and row[size - 1] == pad:
        size -= 1
    own = row[: size if end is None else min(size, end)]
    if how.stop and how.stop in tokenizer.decode(own[-_TAIL:], skip_special_tokens=True):
        return Sample(tuple(own), STOP)
    if end is not None:
        return Sample(tuple(row[: end + 1]), END)
    return Sample(tuple(own), LIMIT)
