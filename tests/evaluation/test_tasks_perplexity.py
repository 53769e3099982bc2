"""Perplexity through the cache: known answers, equality with one plain forward, buckets, bytes, the audit."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from paretolm.errors import CellError, TextError
from paretolm.evaluation.metrics.likelihood import token_nll
from paretolm.evaluation.summary import summarise
from paretolm.evaluation.task import Item
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks._reading import auto_length, bucket
from tests.evaluation.judging import fake_run, judge, lm, source, tokenizer


def items(**knobs: object) -> tuple[object, list[Item]]:
    task = make("perplexity", **({"length": 400, "streams": 2, "audit": 0} | knobs))
    return task, task.items(source(), lm())


def test_uniform_logits_cost_the_logarithm_of_the_vocabulary() -> None:
    task, (item, _) = items()
    rows = task.score(fake_run(item, lambda ids: torch.zeros(400)), item, None).rows
    assert {round(r.value, 5) for r in rows if r.metric == "nll"} == {round(math.log(400), 5)}
    bits = [r for r in rows if r.metric == "bits_per_byte"]
    stream = item.data["stream"]
    scored = [p for p, w in zip(stream.pieces[100:], stream.where[100:], strict=True) if w >= 0]
    assert sum(r.weight for r in bits) == len("".join(scored).encode())
    assert sum(r.value * r.weight for r in bits) == pytest.approx(len(scored) * math.log2(400), rel=1e-5)


def test_token_nll_is_minus_the_log_of_a_softmax_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [1.0, 1.0]])
    assert token_nll(logits, torch.tensor([1, 0])).tolist() == pytest.approx([math.log(4 / 3), math.log(2)])
    assert token_nll(logits[:0], torch.tensor([], dtype=torch.long)).tolist() == []


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_chunks_through_the_cache_equal_one_forward(chunk: int) -> None:
    task, (item, _) = items(length=150, context=0.3)
    rows, _ = judge(task, "dense", [item], chunk=chunk)
    ids = item.data["stream"].ids
    with torch.no_grad():
        plain = token_nll(lm().model(ids).logits[0, :-1], ids[0, 1:])[item.prompt_length - 1 :]
    text = item.data["stream"].where[item.prompt_length :] >= 0
    found = [r for r in rows if r.metric == "nll"]
    assert sum(r.weight for r in found) == text.sum()
    assert sum(r.value * r.weight for r in found) == pytest.approx(float(plain.double().numpy()[text].sum()), rel=1e-5)


def test_an_evicting_recipe_is_seen() -> None:
    task, found = items(length=150)
    dense, _ = judge(task, "dense", found)
    window, _ = judge(task, "streaming-llm(sinks=2, window=16)", found)
    summary = summarise({"dense": dense, "window": window}, "dense")
    (delta,) = [s for s in summary if (s.metric, s.recipe) == ("nll", "window")]
    assert delta.delta != pytest.approx(1.0, abs=1e-4)


def test_rows_are_by_document_and_position() -> None:
    task, found = items(length=400, context=0.1)
    rows, _ = judge(task, "dense", found)
    edges = {r.tags["position"] for r in rows if r.metric == "nll"}
    assert edges == {32, 64, 128, 256}
    assert max(Counter(r.key for r in rows).values()) == 1
    assert len({r.doc for r in rows}) > 8


@pytest.mark.parametrize(
    ("position", "edge"), [(0, 0), (127, 0), (128, 128), (255, 128), (256, 256), (511, 256), (512, 512), (5000, 4096)]
)
def test_buckets_double_from_a_quarter_of_the_trained_length(position: int, edge: int) -> None:
    assert bucket(position, 512) == edge


def test_the_prompt_is_a_share_but_no_more_than_the_trained_length() -> None:
    assert [i.prompt_length for i in items(length=400)[1]] == [100, 100]
    assert [i.prompt_length for i in items(length=1200, streams=1)[1]] == [128]


def test_lengths_chosen_by_itself_and_by_the_user() -> None:
    assert auto_length(lm(), 16, 8192) == 2048
    assert auto_length(lm(), 16, 1000) == 1000
    few = source(3, sentences=8)
    shrunk = make("perplexity").items(few, lm())
    assert shrunk[0].data["stream"].length < 2048
    with pytest.raises(TextError, match="shorter than the 2,048"):
        make("perplexity", length=2048).items(few, lm())


def test_another_tokenizer_is_scored_on_the_same_bytes() -> None:
    task, found = items(length=300)
    dense, _ = judge(task, "dense", found)
    other = [task.retokenised(i, tokenizer(280)) for i in found]
    rows, _ = judge(task, "dense", other)
    assert {r.metric for r in rows} == {"bits_per_byte"}
    summaries = summarise({"dense": dense, "other": rows}, "dense")
    (found_bits,) = [s for s in summaries if s.recipe == "other"]
    assert found_bits.delta is not None


def test_bytes_of_many_byte_characters_are_counted_once() -> None:
    task, (item,) = items(length=300, streams=1)
    rows = task.score(fake_run(item, lambda ids: torch.zeros(400)), item, None).rows
    stream = item.data["stream"]
    body = "".join(stream.pieces[item.prompt_length :])
    assert "é" in body
    assert sum(r.weight for r in rows if r.metric == "bits_per_byte") == len(body.encode())


def test_the_audit_is_stepwise_minus_chunked() -> None:
    """A stream whose logits depend on the size of the forward: uniform in chunks, certain of token 5 in steps."""
    task = make("perplexity", length=400, streams=1, audit=120)
    audit = task.items(source(), lm())[-1]
    assert (audit.id, task.tokens(audit)) == ("audit", 120)

    def sized(ids: list[int]) -> torch.Tensor:
        return torch.zeros(400)

    def certain(ids: list[int]) -> torch.Tensor:
        return torch.nn.functional.one_hot(audit.data["stream"].ids[0, len(ids)], 400) * 50.0

    run, stepwise = fake_run(audit, sized, 8, invariant=False), fake_run(audit, certain, 1)
    run.restart = stepwise.restart
    rows = task.score(run, audit, None).rows
    assert {r.metric for r in rows} == {"audit_nll_gap"}
    assert [r.value for r in rows] == pytest.approx([-math.log(400)] * len(rows), rel=1e-4)
    for nothing in (fake_run(audit, sized, 8), fake_run(audit, sized, 1, invariant=False)):
        assert task.score(nothing, audit, None).rows == []


def test_the_audit_of_a_real_recipe_is_small_at_small_chunks() -> None:
    task = make("perplexity", length=400, streams=1, audit=120)
    audit = task.items(source(), lm())[-1]
    rows, _ = judge(task, "h2o(budget=32tok)", [audit])
    assert rows
    assert 0 < np.abs([r.value for r in rows]).max() < 0.5


@pytest.mark.parametrize(("value", "said"), [(math.nan, "no numbers"), (-math.inf, "probability 0")])
def test_what_is_no_number_fails_the_cell(value: float, said: str) -> None:
    task, (item, _) = items()
    wrong = item.data["stream"].ids[0, 200]

    def logits(ids: list[int]) -> torch.Tensor:
        out = torch.zeros(400)
        if len(ids) == 200:
            out[wrong] = value
        return out

    with pytest.raises(CellError, match=f"{said}.* at token 200"):
        task.score(fake_run(item, logits), item, None)
