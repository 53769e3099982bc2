"""Texts beyond the trained length: a window that holds everything is dense; the twins are paired."""

from __future__ import annotations

import copy

import pytest
import torch

from paretolm.cards import longer as module
from paretolm.cards.longer import Effort, first_tokens, longer
from paretolm.cards.positions import by_position, losses, recomputed
from paretolm.errors import TextError
from paretolm.evaluation.streams import build
from tests.evaluation import judging

TRAINED = judging.TRAINED


def test_numbers_are_those_of_the_recipes_by_hand() -> None:
    lm, source = judging.lm(), judging.source()
    found = longer(lm, source, Effort(lengths=3, streams=1, samples=6))
    (stream,) = build(source, lm, 3 * TRAINED, 1, per_document=3 * TRAINED // 8, seed=0)
    for name, line in found["recipes"].items():
        expected = by_position([losses(lm, line, stream.ids)], [0, 0.5, 1, 2, 3], TRAINED)
        assert found["perplexity"][name] == pytest.approx(expected, rel=1e-3)
    assert found["edges"] == [0, 0.5, 1, 2, 3]
    assert len({round(x[0], 3) for x in found["perplexity"].values()}) == 1  # nothing is out of the window yet


def test_the_twin_is_read_at_the_sampled_places() -> None:
    lm, source = judging.lm(), judging.source()
    found = longer(lm, source, Effort(lengths=3, streams=1, samples=6))["sampled"]
    (stream,) = build(source, lm, 3 * TRAINED, 1, per_document=3 * TRAINED // 8, seed=0)
    places = module._places(stream, 2 * TRAINED, 6)
    assert found["positions"] == len(places) == 6
    assert int(places.min()) >= 2 * TRAINED
    assert (stream.where[places + 1] >= 0).all()
    plain = recomputed(lm, stream.ids, places, TRAINED)
    first, second, *_ = found["arms"].values()
    assert first == {"value": pytest.approx(float(plain.mean().exp()), rel=1e-4)}
    with_sinks = recomputed(lm, stream.ids, places, TRAINED, 4)
    assert second["ratio"] == pytest.approx(float((with_sinks - plain).mean().exp()), rel=1e-4)


def test_a_stream_that_ends_early_has_no_twin() -> None:
    assert longer(judging.lm(), judging.source(), Effort(lengths=2, streams=1, samples=6))["sampled"] is None


def test_texts_too_short_for_attention_are_refused() -> None:
    lm = copy.copy(judging.lm())
    lm.__dict__["view"] = judging.lm().view.changed(trained_length=64)
    with pytest.raises(TextError, match="texts of 64 tokens are too short"):
        first_tokens(lm, judging.source(), 2)


def test_attention_on_the_first_tokens_is_the_mean_over_texts() -> None:
    lm, source, told = judging.lm(), judging.source(), list[float]()
    found = first_tokens(lm, source, 3, told.append)
    assert (found["texts"], found["tokens"], len(found["by_layer"])) == (3, 4, 2)
    one = [module.sink_share(lm, s.ids) for s in build(source, lm, TRAINED, 3, per_document=TRAINED, seed=0)]
    assert found["by_layer"] == pytest.approx(torch.tensor(one).mean(0).tolist(), abs=1e-6)
    assert told[-1] == 1.0
