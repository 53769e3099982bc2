"""Typos in sentences: how they are planted, tokens that touch them, peaks and pairs by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from paretolm.errors import TextError
from paretolm.evaluation.source import Document
from paretolm.studies._typos import known_words, planted, sentences
from paretolm.studies.ngram_ppl_vector import NgramPplVector, _typo_tokens, equal_pairs, peak_at_typo
from paretolm.studies.study import Place
from tests.evaluation.judging import lm, tokenizer

TEXT = (
    "It began. The river runs by the old stone bridge every morning. In 1999 it was dry for seven long and hot weeks. "
    "Nobody of the whole small village had ever seen such a thing before! So it was."
)


def documents() -> list[Document]:
    return [Document("d", TEXT, "d")]


def test_sentences_are_plain_and_know_what_was_before() -> None:
    first, second = sentences(documents(), 20)
    assert first.text == "The river runs by the old stone bridge every morning."
    assert first.before == "It began."
    assert second.text.startswith("Nobody of")
    assert second.before == TEXT[: TEXT.index("Nobody")].rstrip()[-19:]


def test_a_typo_is_one_mistake_that_makes_no_word() -> None:
    given, known = sentences(documents(), 0) * 60, known_words(documents())
    found = list(planted(given, known, np.random.default_rng(0)))
    assert len(found) == 120
    lengths = set()
    for typo in found:
        wrong, plain = typo.text[typo.start : typo.end], typo.sentence.text
        rest = len(typo.text) - typo.end
        right = plain[typo.start : len(plain) - rest]
        assert typo.text[: typo.start] + right + typo.text[typo.end :] == plain
        assert re.fullmatch("[a-z]{5,}", right)
        assert wrong not in known
        lengths.add(len(wrong) - len(right))
        same = sum(a == b for a, b in zip(wrong, right, strict=False))
        if len(wrong) == len(right):
            assert len(right) - same in (1, 2)
    assert lengths == {-1, 0, 1}
    assert list(planted([given[0]], frozenset(), np.random.default_rng(0))) != []


def fact(pieces: list[str], nll: list[float], start: int, end: int, plain: list[float] | None = None) -> dict:  # type: ignore[type-arg]
    wrong = {"pieces": pieces, "nll": nll}
    text = "".join(pieces).removeprefix(" ")
    return {"text": text, "start": start, "end": end, "wrong": wrong, "plain": {"pieces": pieces, "nll": plain or nll}}


def test_tokens_of_the_typo_by_hand() -> None:
    """'A rvier bed', of which the tokens ' r' and 'vier' are the typo at characters 2 to 7."""
    with_space = fact([" A", " r", "vier", " bed"], [1, 2, 9, 1], 2, 7)
    assert _typo_tokens(with_space) == [False, True, True, False]
    given = fact([" r", "vier", " bed"], [2, 9, 1], 2, 7) | {"text": "A rvier bed"}
    assert _typo_tokens(given) == [True, True, False]
    assert peak_at_typo(with_space, 1)
    assert not peak_at_typo(with_space | {"wrong": {"pieces": with_space["wrong"]["pieces"], "nll": [9, 1, 1, 1]}}, 1)


def test_pairs_of_equal_perplexity() -> None:
    """One odd token among seven against texts that are evenly hard; the third has no partner."""
    odd, even = [1.0, 1, 1, 9, 1, 1, 1], [15 / 7] * 7
    pieces = list(" abcdef")
    facts = [
        fact(pieces, odd, 3, 4, [0.1] * 7),
        fact(pieces, [5.0] * 7, 3, 4, even),
        fact(pieces, [7.0] * 7, 3, 4, even),
    ]
    (pair,) = equal_pairs(facts, 2)
    assert pair.perplexities[0] == pytest.approx(pair.perplexities[1])
    assert pair.peaks[0] > 2.4
    assert pair.peaks[1] == pytest.approx(1)
    assert pair.distance > 0.3
    assert pair.distance_untouched == pytest.approx(0)


@pytest.mark.parametrize("context", [0, 8])
def test_nats_are_those_of_a_plain_forward(context: int) -> None:
    study = NgramPplVector(context=context)
    (found,) = study._read(lm(), [("the garden of", "river stone")], lambda _: None)
    given = tokenizer()("the garden of")["input_ids"][-context:] if context else []
    ids = tokenizer()((" " if context else "") + "river stone")["input_ids"]
    with torch.no_grad():
        logs = lm().model(torch.tensor([[0, *given, *ids]])).logits[0].double().log_softmax(-1)
    nll = -logs[len(given) : -1][range(len(ids)), ids]
    assert found["nll"] == pytest.approx(nll[0 if context else 1 :].tolist(), abs=1e-3)
    assert len(found["pieces"]) == len(found["nll"])


def test_too_few_sentences_are_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.txt").write_text(TEXT)
    with pytest.raises(TextError, match=r"a.txt has 2 English sentences of 8 to 30 words for a typo, fewer than 200"):
        NgramPplVector().run(Place(text=str(tmp_path / "a.txt")))
