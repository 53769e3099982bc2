"""Divergence: formulas against scipy and by hand; sampled positions against a naive twin with all logits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from paretolm.evaluation.metrics import divergence
from paretolm.evaluation.summary import summarise
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks.text.divergence import unpacked
from tests.evaluation.judging import judge, lm, source


def logs(*rows: list[float]) -> torch.Tensor:
    return divergence.log_probs(torch.tensor(rows).log())


def test_a_coin_by_hand() -> None:
    """KL((1/2, 1/2) || (9/10, 1/10)) = ln(5/3); disjoint distributions have JS 1 bit."""
    p, q = logs([0.5, 0.5]), logs([0.9, 0.1])
    assert divergence.kl(p, q).item() == pytest.approx(math.log(5 / 3), rel=1e-5)
    assert divergence.js(logs([1.0, 0.0]), logs([0.0, 1.0])).item() == pytest.approx(1.0, abs=1e-6)
    assert divergence.same_top(p, logs([0.4, 0.6])).tolist() == [0.0]
    assert divergence.same_top(q, logs([0.6, 0.4])).tolist() == [1.0]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(0.1, 8))
def test_scipy_says_the_same(seed: int, size: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    p, q = (torch.tensor(rng.normal(0, scale, (3, size))) for _ in range(2))
    ours, theirs = divergence.log_probs(p), divergence.log_probs(q)
    pp, qq = torch.softmax(p, -1).numpy(), torch.softmax(q, -1).numpy()
    assert divergence.kl(ours, theirs).numpy() == pytest.approx(entropy(pp, qq, axis=1), abs=1e-4)
    assert divergence.js(ours, theirs).numpy() == pytest.approx(jensenshannon(pp, qq, base=2, axis=1) ** 2, abs=1e-5)


def test_a_forbidden_token_costs_something_finite() -> None:
    q = divergence.log_probs(torch.tensor([[0.0, -math.inf]]))
    assert 40 < divergence.kl(logs([0.5, 0.5]), q).item() < 60


def test_rounding_to_float16_is_no_divergence() -> None:
    logits = torch.randn(20, 5000, generator=torch.Generator().manual_seed(0)) * 4
    exact = divergence.log_probs(logits)
    assert divergence.kl(unpacked(exact.numpy().astype(np.float16)), exact).max() < 2e-5


def test_sampled_positions_equal_a_twin_that_keeps_all_logits() -> None:
    task = make("divergence", length=120, streams=3, positions=20)
    items = task.items(source(), lm())
    dense, kept = judge(task, "dense", items)
    for item in items:
        at, ids = item.data["at"], item.data["stream"].ids
        assert len(at) == 20
        assert at.min() >= item.prompt_length
        with torch.no_grad():
            everything = divergence.log_probs(lm().model(ids).logits[0])
        assert kept[item.id]["log_probs"].dtype == np.float16
        assert unpacked(kept[item.id]["log_probs"]).numpy() == pytest.approx(everything[at].numpy(), abs=5e-3)
    window, nothing = judge(task, "streaming-llm(sinks=2, window=16)", items, kept, chunk=5)
    assert nothing == {}
    stepwise, _ = judge(task, "streaming-llm(sinks=2, window=16)", items, kept, chunk=1)
    assert [r.value for r in window] == pytest.approx([r.value for r in stepwise], abs=1e-4)
    summary = {(s.metric, s.recipe): s for s in summarise({"dense": dense, "window": window}, "dense")}
    assert summary["kl", "window"].mean > 1e-3
    assert 0 < summary["js", "window"].mean < 1
    assert summary["same_top", "dense"].mean == 1


def test_a_recipe_that_changes_nothing_differs_by_nothing() -> None:
    task = make("divergence", length=120, streams=2, positions=20)
    items = task.items(source(), lm())
    dense, kept = judge(task, "dense", items)
    neutral, _ = judge(task, "dense", items, kept)
    assert neutral == dense
    assert max(r.value for r in dense if r.metric == "kl") < 1e-5


def test_every_position_is_weighed_once() -> None:
    task = make("divergence", length=200, streams=2, positions=1000)
    items = task.items(source(), lm())
    rows, _ = judge(task, "dense", items)
    for item in items:
        kl = [r for r in rows if r.item == item.id and r.metric == "kl"]
        text = (item.data["stream"].where[item.prompt_length :] >= 0).sum()
        assert sum(r.weight for r in kl) == len(item.data["at"]) == text


def test_by_itself_it_stays_within_the_trained_length() -> None:
    items = make("divergence").items(source(), lm())
    assert {i.data["stream"].length for i in items} == {128}
