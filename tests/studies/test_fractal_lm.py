"""Bits of long documents: windows against one forward a token, what is left out, and what shuffling does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from paretolm import studies
from paretolm.errors import TextError
from paretolm.evaluation.metrics.fractal import fractional_noise
from paretolm.studies.fractal_lm import BITS, TEXT, TOKENS, FractalLm
from paretolm.studies.study import Place
from tests.evaluation.judging import TRAINED, document, lm, tokenizer
from tests.evaluation.sets import write

HALF = TRAINED // 2


def place(to: Path, documents: int = 3) -> Place:
    return Place(
        text=str(write(to / "text.jsonl", ({"id": f"d{i}", "text": document(i, 60)} for i in range(documents))))
    )


def test_each_token_has_half_the_trained_length_before_it(tmp_path: Path) -> None:
    """Against one plain forward a token, over the window it falls into."""
    at, study = place(tmp_path), FractalLm(length=128)
    found = study._bits(lm(), at, False, lambda _: None)
    chosen = study._chosen(at.source.eval_documents, tokenizer(), HALF)
    given = HALF - 1  # and <eos> before it
    assert [len(x) for x in found] == [len(ids) - given for ids in chosen]
    ids = chosen[0]
    for t in (given, given + 1, given + HALF - 1, given + HALF, 150, len(ids) - 1):
        start = (t - given) // HALF * HALF
        before = [0, *ids[start:t]]
        assert HALF <= len(before) < TRAINED
        with torch.no_grad():
            logs = lm().model(torch.tensor([before])).logits[0, -1].double().log_softmax(-1)
        assert found[0][t - given] == pytest.approx(-float(logs[ids[t]]) / np.log(2), abs=1e-3)


def test_shuffled_tokens_are_the_same_tokens(tmp_path: Path) -> None:
    at, study = place(tmp_path), FractalLm(length=128)
    plain, mixed = (study._bits(lm(), at, shuffled, lambda _: None) for shuffled in (False, True))
    assert [len(x) for x in plain] == [len(x) for x in mixed]
    assert not np.allclose(plain[0], mixed[0])


def test_documents_that_are_too_short_are_left_out(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"no document has the 4,064 tokens that fractal-lm\(length=4000\) reads"):
        FractalLm(length=4000)._bits(lm(), place(tmp_path), False, lambda _: None)
    with pytest.raises(TextError, match="has no two scales"):
        FractalLm(length=200).run(place(tmp_path))


def test_noise_of_known_exponents_goes_through_to_the_numbers() -> None:
    dice = np.random.default_rng(0)
    series = {kind: [fractional_noise(h, 2048, dice) for _ in range(20)] for kind, h in ((TEXT, 0.7), (TOKENS, 0.5))}
    found = FractalLm()._found("m", series | {BITS: [dice.permutation(x) for x in series[TEXT]]}, "")
    assert found.numbers["H of text"].value == pytest.approx(0.66, abs=0.03)
    for kind in (TOKENS, BITS):
        number = found.numbers[f"H of {kind}"]
        assert number.value == pytest.approx(0.5, abs=0.03)
        assert number.low is not None
        assert number.high is not None
        assert number.low < number.value < number.high
    assert len(found.rows) == 60


def test_a_run(run, saved: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    at = place(tmp_path)
    call = (
        "study",
        "fractal-lm(length=128, shortest=8)",
        str(saved),
        "--text",
        str(at.text),
        "-o",
        "out",
        "--json",
        "-q",
    )
    code, out, err = run(*call)
    assert code == 0, err
    facts = json.loads(out.splitlines()[-1])
    assert {f"{name} of {kind}" for name in ("H", "S", "J") for kind in (TEXT, TOKENS, BITS)} <= set(facts["numbers"])
    known = facts["tables"][-1]["rows"]
    assert [row[0] for row in known] == ["0.5", "0.6", "0.7", "0.8"]
    assert studies.find("fractal-lm") is FractalLm
