"""Texts as token ids the way lm-evaluation-harness has them, so that scores are the same as its scores.

A tokenizer's own special tokens stand before a text (or do not), and nothing is put there besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import ModelError, TextError
from ..streams import separator


def ids_of(tokenizer: Any, text: str, *, special: bool = True) -> list[int]:
    return list(tokenizer(text, verbose=False, add_special_tokens=special)["input_ids"])


def pair_ids(tokenizer: Any, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Tokens of a context, and of what follows it: what the whole text has beyond the context's tokens. Spaces at
    the context's end go with what follows. Without context the token that begins a text stands for one.

    Raises TextError where nothing is left to score, ModelError where a text has no beginning."""
    bare = context.rstrip()
    if not bare:
        before = separator(tokenizer, first=True)
        if not before:
            raise ModelError("the tokenizer has neither <bos> nor <eos>, so a text without context cannot be scored")
        after = ids_of(tokenizer, context + continuation, special=False)
    else:
        before = ids_of(tokenizer, bare)
        after = ids_of(tokenizer, context + continuation)[len(before) :]
    if not after:
        raise TextError(f"{continuation[:40]!r} has no token of its own after its context")
    return before, after


def common_start(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all of them begin with."""
    shortest = min(map(len, sequences))
    first = sequences[0]
    return next((i for i in range(shortest) if any(s[i] != first[i] for s in sequences)), shortest)


def cut_left(prompt: Sequence[int], room: int) -> list[int]:
    """The last `room` tokens. Raises TextError where there is no room for one."""
    if room < 1:
        raise TextError("what follows the context is longer than the model was trained for")
    return list(prompt[-room:])
