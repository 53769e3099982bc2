"""Bits per byte equal a calculation by hand, whatever is padded beside it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from paretolm.training.tokenizer import token_bytes
from paretolm.training.tokens import TokenFile
from paretolm.training.validation import Validator
from tests.training import tiny

CPU = torch.device("cpu")
TEXTS = [("poems", "The river and the stone, 42."), ("prose", "é" * 9), ("poems", "x"), ("prose", "A lamp. " * 40)]
LENGTH = 32


def held_out(names: tuple[str, str] = ("poems", "prose")) -> TokenFile:
    ids = [tiny.tokenizer().encode(text, add_special_tokens=False).ids for _, text in TEXTS]
    domains = [("poems", "prose").index(domain) for domain, _ in TEXTS]
    flat = np.array([i for each in ids for i in (*each, 1)], np.uint16)
    return TokenFile(flat, np.cumsum([len(each) + 1 for each in ids]), np.array(domains), names)


def validator(sequences: int = 99, seed: int = 0, file: TokenFile | None = None) -> Validator:
    source = tiny.source(np.arange(9), LENGTH, seed)
    return Validator(file or held_out(), source, token_bytes(tiny.tokenizer()), sequences)


def size(domain: str) -> int:
    return sum(len(text.encode()) for d, text in TEXTS if d == domain)


def test_a_model_that_knows_nothing() -> None:
    """Each token costs log2 of the vocabulary; the ends of texts are not asked for."""
    vocabulary = len(token_bytes(tiny.tokenizer()))
    model: Any = lambda input_ids, use_cache: SimpleNamespace(logits=torch.zeros(*input_ids.shape, vocabulary))  # noqa: E731
    found = validator().measure(model, CPU)
    file = held_out()
    tokens = [sum(map(len, file.documents(d))) for d in range(2)]
    assert found["poems"] == pytest.approx(tokens[0] * math.log2(vocabulary) / size("poems"))
    assert found["prose"] == pytest.approx(tokens[1] * math.log2(vocabulary) / size("prose"))
    assert found["all"] == pytest.approx(sum(tokens) * math.log2(vocabulary) / (size("poems") + size("prose")))
    assert list(found) == ["all", "poems", "prose"]


def test_padding_does_not_matter() -> None:
    model = tiny.model(len(token_bytes(tiny.tokenizer())), std=0.3)
    nats = {0: 0.0, 1: 0.0}
    file = held_out()
    for domain in nats:
        for ids in file.documents(domain):
            for start in range(0, len(ids), LENGTH - 1):
                window = torch.tensor([[0, *ids[start : start + LENGTH - 1].tolist()]])  # begun with <bos>, alone
                with torch.no_grad():
                    scores = model(window).logits[0, :-1].double().log_softmax(-1)
                nats[domain] -= scores.gather(1, window[0, 1:, None]).sum().item()
    found = validator().measure(model, CPU)
    assert found["poems"] == pytest.approx(nats[0] / math.log(2) / size("poems"), rel=1e-5)
    assert found["prose"] == pytest.approx(nats[1] / math.log(2) / size("prose"), rel=1e-5)
    assert found["all"] == pytest.approx(sum(nats.values()) / math.log(2) / (size("poems") + size("prose")), rel=1e-5)


def test_all_validations_read_the_same() -> None:
    model = tiny.model(len(token_bytes(tiny.tokenizer())), std=0.3)
    one = validator(2).measure(model, CPU)
    assert validator(2).measure(model, CPU) == one
    assert validator(2, seed=3).measure(model, CPU)["prose"] != one["prose"]
    assert validator(99).measure(model, CPU)["prose"] != one["prose"]


def test_a_domain_called_all_does_not_hide_the_whole() -> None:
    model = tiny.model(len(token_bytes(tiny.tokenizer())), std=0.3)
    found = validator(file=held_out(("all", "prose"))).measure(model, CPU)
    assert found == {k: v for k, v in validator().measure(model, CPU).items() if k != "poems"}
