"""Bits per byte against a hand calculation; windows hold every token once."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.cards.text import cut, text_numbers, text_rows
from paretolm.errors import TextError
from paretolm.evaluation.source import Document
from tests.evaluation import judging

FIRST = 0  # <eos> begins a text here


def document(text: str, name: str = "a", domain: str = "") -> Document:
    return Document(name, text, name, domain)


def by_hand(text: str, window: int) -> float:
    """Nats of a text: window by window, token by token."""
    lm, total = judging.lm(), 0.0
    ids = judging.tokenizer()(text)["input_ids"]
    for start in range(0, len(ids), window - 1):
        seen = [FIRST]
        for token in ids[start : start + window - 1]:
            with torch.no_grad():
                logits = lm.model(torch.tensor([seen])).logits[0, -1].double()
            total -= float(logits.log_softmax(-1)[token])
            seen.append(token)
    return total


def test_bits_per_byte_by_hand() -> None:
    text = "The café by the river. " * 3  # é is two bytes
    (bits, nll) = text_rows(judging.lm(), [document(text)], 16, 1000)
    nats, size = by_hand(text, 16), len(text.encode())
    assert size == len(text) + 3
    assert bits.value == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    assert bits.weight == size
    assert nll.value * nll.weight == pytest.approx(nats, rel=1e-5)


def test_documents_count_by_their_bytes_and_only_the_first_characters_are_read() -> None:
    long, short = judging.document(0), judging.document(1)[:50]
    rows = text_rows(judging.lm(), [document(long, "a", "x"), document(short, "b", "y")], 32, 200)
    found = text_numbers(rows)
    nats = [by_hand(long[:200], 32), by_hand(short, 32)]
    sizes = [len(long[:200].encode()), len(short.encode())]
    assert found["bits_per_byte"]["value"] == pytest.approx(sum(nats) / math.log(2) / sum(sizes), rel=1e-5)
    assert found["domains"]["y"]["value"] == pytest.approx(nats[1] / math.log(2) / sizes[1], rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(sum(nats) / found["tokens"]), rel=1e-5)
    assert (found["documents"], found["bytes"]) == (2, sum(sizes))


def letters(first: int | None) -> Any:
    """A tokenizer of one token a character."""

    def encode(text: str, **options: Any) -> dict[str, Any]:
        return {"input_ids": [ord(c) for c in text], "offset_mapping": [(i, i + 1) for i in range(len(text))]}

    class Letters(SimpleNamespace):
        __call__ = staticmethod(encode)

    return Letters(is_fast=True, bos_token_id=first, eos_token_id=None)


@given(st.text("abcé", max_size=40), st.integers(2, 12), st.sampled_from([7, None]))
def test_every_token_is_scored_once(text: str, window: int, first: int | None) -> None:
    found = cut(letters(first), document(text), window, 30)
    scored = [token for sequence in found.sequences for token in sequence[1:]]
    read = text[:30] if first else text[1:30]  # without a first token nothing stands before the first one
    assert scored == [ord(c) for c in read]
    assert found.num_bytes == len(read.encode())
    assert all(len(s) <= window for s in found.sequences)
    if first:
        assert {s[0] for s in found.sequences} <= {first}


def test_a_document_of_which_nothing_is_scored_has_no_rows() -> None:
    assert text_rows(judging.lm(), [document("")], 16, 100) == ()


def test_a_window_too_short_is_refused() -> None:
    with pytest.raises(TextError, match="--window 8 or more"):
        text_rows(judging.lm(), [document("a river")], 7, 100)
