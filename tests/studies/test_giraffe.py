"""The study of schemes: distances drawn, arms that are really tuned, numbers from losses by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from paretolm import studies
from paretolm.errors import TextError, UserError
from paretolm.studies import giraffe as g
from paretolm.studies._beyond import KeyText
from paretolm.studies.study import Place
from tests.evaluation import judging
from tests.evaluation.sets import write
from tests.training.test_tuning import fresh


def place(to: Path, sentences: int = 60) -> Place:
    raws = (
        {"id": f"d{i}", "text": judging.document(i, sentences), "split": "fit" if i < 4 else "eval"} for i in range(16)
    )
    return Place(("tiny",), text=str(write(to / "text.jsonl", raws)), output=to)


def test_distances_lie_within_their_bounds_and_reach_the_scaled_length() -> None:
    places = g.drawn_positions(2000, 4.0, torch.Generator().manual_seed(0))[0]
    gaps = places.diff()
    assert places[0] == 0
    assert gaps.min() >= g.NEAREST - 1e-3
    assert gaps.max() <= 8 + 1e-3
    assert float(places[-1]) == pytest.approx(4 * 2000, rel=0.05)


def test_a_randomised_lesson_is_the_loss_at_those_positions() -> None:
    """With neighbours all one apart it is the plain loss; distances alone count."""
    model, ids = fresh().model, torch.arange(5, 29)[None]
    objective = g.Randomised(scale=2.0)
    loss = objective.loss(model, g.Batch(ids)).item()
    assert loss == objective.loss(model, g.Batch(ids)).item()
    draw = torch.Generator().manual_seed(int(ids.sum()))
    positions = g.drawn_positions(24, 2.0, draw)
    with torch.no_grad():
        mask = torch.ones_like(ids)
        logits = model(input_ids=ids, position_ids=positions + 3, attention_mask=mask).logits[0, :-1]
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, ids[0, 1:])), abs=1e-4)


def test_numbers_by_hand() -> None:
    """Losses of 1, 2 and 3 nats at the three lengths, in-window all of 1; one of two keys found at the last."""
    (stream,) = g.build(judging.source(), judging.lm(), 256, 1, per_document=8, seed=0)
    asked = [[KeyText(torch.zeros(1, 9), ((1, 2), (3, 4)), f"d{k}") for k in range(2)] for _ in g.LENGTHS]
    flat = [1.0] * 255
    by = [1.0] * 63 + [2.0] * 64 + [3.0] * 128
    found = [[[True, True]] * 2, [[True, False]] * 2, [[False, False]] * 2]
    known = {g.IN_WINDOW: {"nll": flat}, g.NONE: {"nll": by, "found": found}}
    n = g.GiraffeStudy()._findings(stream, asked, 64, known).numbers
    for length, nats in zip(g.LENGTHS, (1, 2, 3), strict=True):
        assert n[f"none: perplexity at {length}x"].value == pytest.approx(math.exp(nats))
        against = n[f"none: perplexity at {length}x against in-window"]
        assert against.value == pytest.approx(100 * (math.exp(nats - 1) - 1))
    assert [n[f"none: key-value accuracy at {x}x"].value for x in g.LENGTHS] == [100, 50, 0]


def test_every_scheme_is_read_and_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "content", lambda self, model: model)
    monkeypatch.setattr(Place, "load", lambda self, model: fresh())
    monkeypatch.setattr(g, "key_texts", lambda source, lm, n, *_: [KeyText(torch.arange(5, 25)[None], ((3, 5),), "d9")])
    every = tuple(s for s in g.SCHEMES if s != g.NONE)
    study = g.GiraffeStudy(schemes=every, steps=6, lr=0.01, documents=8)
    found = study.run(place(tmp_path))
    arms = {g.IN_WINDOW, g.NONE, *(f"{s}, tuned" for s in every), *(s for s in every if s != g.RANDOMISED)}
    assert {row[0] for row in found.tables[0].rows} == arms
    n = found.numbers
    for scheme in every:
        own = g.NONE if scheme == g.RANDOMISED else scheme
        assert n[f"{scheme}, tuned: perplexity at 4x"].value < n[f"{own}: perplexity at 4x"].value
    assert n["linear: perplexity at 4x"].value != n["none: perplexity at 4x"].value


def test_mistakes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="knows no scheme 'liner'; did you mean 'linear'"):
        studies.parse("giraffe(schemes=liner)")
    with pytest.raises(TextError, match="fewer than 4000 tokens"):
        g.GiraffeStudy()._tune(fresh(), ["A short text of a few words, no more."], "linear", 4000)
