"""Runtime from a few timed runs: known times come back, disturbed runs do not move it, wrong ones show."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paretolm.errors import CallError
from paretolm.evaluation import idealized_runtime as module
from paretolm.evaluation.idealized_runtime import (
    MOST_RUNS,
    RuntimeModel,
    Timed,
    fit,
    fitting_requests,
    of_depth,
    roofline_seconds,
    time_job,
    timed,
    unseen_requests,
)
from tests.contract.tiny import tiny

ROOM, OUTPUT = 1024, 48
TRUTH = RuntimeModel(((1, 0.010), (500, 0.110), (976, 0.301)), per_token=0.004, growth=2e-6)


def run(prompt: int, output: int, times: float = 1.0) -> Timed:
    """As TRUTH has it, drawn out by a factor."""
    first = TRUTH.prompt_seconds(prompt)
    return Timed(prompt, output, times * first, times * TRUTH.seconds(prompt, output))


def largest_error(model: RuntimeModel) -> float:
    unseen = unseen_requests((), ROOM, OUTPUT, 20, seed=1)
    return max(abs(model.seconds(*r) / TRUTH.seconds(*r) - 1) for r in unseen)


def test_a_request_by_hand():
    # 250.5 lies half way from 1 to 500; 10 further tokens read 250.5 + 5.5 back on the average
    model = RuntimeModel(((1, 0.010), (500, 0.110)), per_token=0.004, growth=2e-6)
    assert model.prompt_seconds(250.5) == pytest.approx(0.060)
    assert model.seconds(250.5, 11) == pytest.approx(0.060 + 10 * (0.004 + 2e-6 * 256))
    assert model.seconds(250.5, 1) == pytest.approx(0.060)
    assert model.prompt_seconds(1000) == pytest.approx(0.010 + 0.100 * 999 / 499), "the last stretch goes on"
    assert RuntimeModel(((8, 0.5), (16, 1.0)), 0.1, 0).prompt_seconds(3) == 0.5


def test_exact_times_come_back():
    found = fit([run(*r) for r in fitting_requests(ROOM, OUTPUT, 10)])
    assert found.per_token == pytest.approx(TRUTH.per_token)
    assert found.growth == pytest.approx(TRUTH.growth)
    assert largest_error(found) < 0.05, "what is left is the bend of the prompt's curve between knots"


def test_disturbed_runs_do_not_move_it():
    """Two of ten runs took three times as long."""
    requests = fitting_requests(ROOM, OUTPUT, 10)
    found = fit([run(*r, times=3.0 if i in (2, 7) else 1.0) for i, r in enumerate(requests)])
    assert largest_error(found) < 0.06


def test_times_of_other_requests_foretell_nothing():
    requests = fitting_requests(ROOM, OUTPUT, 10)
    times = [run(*r) for r in requests]
    random.Random(0).shuffle(times)
    mixed = [Timed(p, o, t.first_s, t.total_s) for (p, o), t in zip(requests, times, strict=True)]
    assert largest_error(fit(mixed)) > 0.1


@given(st.lists(st.floats(1e-4, 10), min_size=10, max_size=10), st.integers(1, 900), st.integers(1, 100))
def test_more_tokens_never_take_less(seconds, prompt, output):
    requests = fitting_requests(ROOM, OUTPUT, 10)
    model = fit([Timed(p, o, s, 2 * s) for (p, o), s in zip(requests, seconds, strict=True)])
    assert model.growth >= 0
    assert model.prompt_seconds(prompt + 50) >= model.prompt_seconds(prompt) > 0


def test_more_than_ten_runs_are_refused():
    requests = [run(p, 8) for p in range(1, 12)]
    with pytest.raises(CallError, match="at most 10 timed runs, not 11"):
        fit(requests)
    with pytest.raises(CallError, match="two prompt lengths"):
        fit([run(5, 8), run(5, 4)])
    with pytest.raises(CallError, match="two output tokens"):
        fit([run(5, 1), run(9, 1)])


@example(64, 4, 8, 39)
@given(st.integers(64, 4096), st.integers(4, 16), st.integers(4, MOST_RUNS), st.integers(0, 99))
def test_requests_fit_and_the_unseen_are_others(room, output, runs, seed):
    fitted = fitting_requests(room, output, runs)
    unseen = unseen_requests(fitted, room, output, 5, seed)
    assert 4 <= len(fitted) <= runs
    assert len(unseen) == 5
    assert all(p >= 1 and o >= 2 and p + o <= room for p, o in fitted + unseen)
    assert not set(fitted) & set(unseen)
    assert unseen == unseen_requests(fitted, room, output, 5, seed)


def test_the_least_time_is_prompt_and_further_tokens_at_their_ceilings():
    assert roofline_seconds((100, 11), {"prefill_tok_s": 50.0, "decode_tok_s": 4.0}) == 2 + 2.5


def test_another_depth_is_the_same_architecture():
    lm = tiny("gemma3")
    deeper = of_depth(lm, 5)
    assert len(deeper.view.layers) == 5
    assert [layer.kind for layer in deeper.view.layers] == ["sliding", "full", "full", "sliding", "full"]
    assert deeper.view.hidden_size == lm.view.hidden_size
    assert len(lm.view.layers) == 3


def test_the_job_times_every_request_in_order(tmp_path, monkeypatch):
    """The clock ticks once a look, the processor's clock twice."""
    tiny("llama").model.save_pretrained(tmp_path)
    looks = iter(range(10_000))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(looks)))
    monkeypatch.setattr(module.time, "process_time", lambda: 2.0 * next(looks))
    told = time_job(str(tmp_path), {}, [[10, 3], [70, 2]], layers=None, chunk=64, seed=0)
    assert told["runs"] == [[[2.0, 4.0], [4.0, 8.0]]] * 2
    assert told["parameters"] == sum(p.numel() for p in tiny("llama").model.parameters())
    assert told["shape"]["flops_per_token"] > 0
    assert timed([(10, 3)], [told["runs"][0][0]]) == [Timed(10, 3, 2.0, 4.0)]
