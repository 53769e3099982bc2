"""The race: who runs when, what is counted, and what follows from given times. No test looks at a real clock."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from paretolm.bridge.lm import LM
from paretolm.contracts import Slot
from paretolm.errors import CallError, TextError
from paretolm.evaluation import speed as module
from paretolm.evaluation.arms import Request, SessionArm, Trial, Watch, kept_open, mode_for, own_tokens
from paretolm.evaluation.roofline import MIB, Roofline
from paretolm.evaluation.rows import METRICS
from paretolm.evaluation.speed import (
    ArmResult,
    SpeedCell,
    cell_from,
    measure_speed,
    race,
    ratios_of,
    run_race,
    values_of,
)
from paretolm.recipes.recipe import Recipe
from tests.contract.tiny import text, tiny
from tests.saboteurs import decode_costs as saboteurs

ROOF = Roofline("m", "cpu", 1, ((MIB, 10e9), (256 * MIB, 5e9)), {"float32": 100e9})
SHAPE = {
    "weight_bytes": 1e9,
    "flops_per_token": 2e9,
    "reads_whole_cache": True,
    "reads_whole_prompt": True,
    "dtype": "float32",
}


class FakeArm:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def run(self, clock) -> Trial:
        self.log.append(self.name)
        start = clock()
        return Trial(10, clock() - start, 4, clock() - start, 4, 0)


def result(ttft: float, decode_s: float, decoded: int = 10, forwards: int = 10, kv: int = 0, **shape) -> ArmResult:
    trials = tuple(Trial(100, ttft, decoded, decode_s, forwards, kv) for _ in range(5))
    return ArmResult("some", 64, SHAPE | shape, {}, trials)


def cell(arm: ArmResult, baseline: ArmResult) -> SpeedCell:
    return SpeedCell(arm, baseline, "forced", "cpu", ROOF)


def test_arms_alternate_and_warm_ups_do_not_count():
    log: list[str] = []
    ticks = iter(range(1000))
    trials = race({"a": FakeArm("a", log), "b": FakeArm("b", log)}, 3, warmups=1, clock=lambda: next(ticks))
    assert "".join(log) == "ab" + "ab" + "ba" + "ab"
    assert {name: len(found) for name, found in trials.items()} == {"a": 3, "b": 3}
    assert trials["a"][0].ttft_s == 1


def test_rates_by_hand():
    trial = Trial(prompt_tokens=100, ttft_s=0.5, decoded=30, decode_s=2.0, forwards=10, kv_bytes=0)
    assert values_of(trial) == {"ttft_s": 0.5, "prefill_tok_s": 200, "decode_tok_s": 15, "tokens_per_forward": 3}
    base = Trial(100, 1.0, 30, 6.0, 30, 0)
    assert ratios_of(trial, base) == {"ttft_ratio": 2.0, "decode_speed_ratio": 3.0}


def test_a_request_that_decodes_nothing_has_no_decoding_rate():
    assert set(values_of(Trial(5, 0.1, 0, 0.0, 0, 0))) == {"ttft_s", "prefill_tok_s"}


def test_rows_pair_up_repeat_by_repeat():
    found = cell(result(0.5, 1.0), result(1.0, 4.0))
    own, base = found.rows(), found.rows(baseline=True)
    assert [row.key for row in own] == [row.key for row in base]
    assert {row.metric for row in own} <= set(METRICS)
    ratios = [row.value for row in own if row.metric == "decode_speed_ratio"]
    assert ratios == [4.0] * 5
    assert {row.value for row in base if row.metric.endswith("ratio")} == {1.0}


def test_each_rate_stands_beside_its_ceiling():
    # 1 GB of weights and 0.25 GB of cache at 5 GB/s: 4 tokens/s; 2 GFLOP a token at 100 GFLOP/s: 50
    found = result(1.0, 5.0, kv=250_000_000)
    assert cell(found, found).ceilings() == pytest.approx({"decode_tok_s": 4.0, "prefill_tok_s": 50.0})
    drafts = result(1.0, 5.0, decoded=30, forwards=10)
    assert cell(drafts, drafts).ceilings()["decode_tok_s"] == pytest.approx(15.0)
    partly = result(1.0, 5.0, kv=250_000_000, reads_whole_cache=False)
    assert cell(partly, partly).ceilings()["decode_tok_s"] == pytest.approx(5.0)


def test_a_rewritten_prompt_has_no_ceiling_of_its_own():
    found = result(1.0, 5.0, reads_whole_prompt=False)
    assert set(cell(found, found).ceilings()) == {"decode_tok_s"}


def test_the_ideal_time_beside_the_measured_one():
    # 100 tokens at 50/s and 10 at 4/s, as above
    found = result(3.0, 5.0, kv=250_000_000)
    assert cell(found, found).seconds() == pytest.approx((8.0, 2.0 + 2.5))
    rewritten = result(3.0, 5.0, kv=250_000_000, reads_whole_prompt=False)
    assert cell(rewritten, found).seconds()[1] == pytest.approx(2.5)


def test_a_rate_above_its_ceiling_is_flagged():
    honest, absurd = result(2.5, 4.0), result(2.5, 0.01)
    assert cell(honest, honest).flags == []
    (flag,) = cell(absurd, honest).flags
    assert flag.startswith("decoding at 1000 tokens/s is beyond the 5 (2x the untouched model) that memory")
    assert "prompt" in cell(result(0.001, 4.0), honest).flags[0]


def test_the_limit_gives_way_by_the_spread_of_the_roofline():
    honest, close = result(2.5, 4.0), result(2.5, 1.9)  # 5.26 tokens/s where 5 are allowed
    assert len(cell(close, honest).flags) == 1
    assert replace(cell(close, honest), roofline=replace(ROOF, spread=0.1)).flags == []


def test_a_roofline_that_the_untouched_model_exceeds_is_raised_to_it():
    above, faster = result(2.5, 1.0), result(2.5, 0.95)  # 10 and 10.5 tokens/s where 5 are allowed
    assert cell(above, above).doubtful
    assert cell(above, above).flags == []
    assert len(cell(faster, above).flags) == 1


def test_a_cell_survives_json():
    found = cell(result(0.5, 1.0), result(1.0, 4.0))
    told = json.loads(json.dumps(found.as_json()))
    assert cell_from(told, ROOF) == found
    assert told["spreads"]["decode_speed_ratio"]["median"] == 4.0
    assert told["spreads"]["decode_speed_ratio"]["coverage"] == 0.9375


def test_few_repeats_and_no_tokens_are_refused():
    with pytest.raises(CallError, match="at least 5 repeats, not 3"):
        measure_speed("reference", "dense", [1], [1], repeats=3)
    with pytest.raises(TextError, match="at least one token"):
        measure_speed("reference", "dense", [], [1])


def test_the_ceiling_is_measured_again_before_a_rate_is_doubted(monkeypatch):
    fast = result(2.5, 0.2)  # 50 tokens/s
    answer = cell(fast, fast).as_json()
    monkeypatch.setattr(module, "run_forked", lambda *_, **__: answer)
    asked = []

    def roofline(threads, device, again=False):
        asked.append(again)
        return Roofline("m", device, threads, ((MIB, 100e9 if again else 1e9),), {"float32": 1e12})

    monkeypatch.setattr(module, "load_roofline", roofline)
    assert measure_speed("reference", "dense", [1], [1]).flags == []
    assert asked == [False, True]


def test_drafts_that_come_with_the_first_token_do_not_count_as_decoded():
    times, forwards = iter([1.0, 1.1, 2.0, 2.1, 3.0]), iter([1, 1, 2, 2, 3])
    watch = Watch(lambda: next(times), lambda: (n := next(forwards), 10 * n))
    watch.put(torch.zeros(1, 7))
    for _ in range(5):
        watch.put(torch.zeros(1))
    watch.end()
    first, decoded, seconds, used = watch.split()
    assert (first, decoded, used) == (1.0, 3, 2)
    assert watch.tokens_read() == 20
    assert seconds == pytest.approx(1.9)


def test_only_prompts_and_decoding_loops_are_really_generated():
    assert mode_for(set()) == mode_for({Slot.KEEP, Slot.WEIGHTS, Slot.LOGITS}) == "forced"
    assert mode_for({Slot.KEEP, Slot.DECODE}) == mode_for({Slot.PROMPT}) == "generated"
    assert kept_open({Slot.WEIGHTS}) == kept_open({Slot.TOKENS}) is True
    assert kept_open({Slot.KEEP}) is False


@pytest.fixture(scope="module")
def lm() -> LM:
    return tiny("llama")


def test_a_race_of_real_sessions(lm):
    request = Request(text(48), text(6, seed=1), chunk=20)
    ticks = iter(range(100_000))
    answer = run_race(
        lm,
        lambda: pytest.fail("no weights change, so one model is enough"),
        {"baseline": Recipe(), "arm": Recipe.parse("streaming-llm(sinks=2, window=14)")},
        request,
        repeats=5,
        clock=lambda: float(next(ticks)),
    )
    found = cell_from(json.loads(json.dumps(answer)), ROOF)
    assert found.mode == "forced"
    assert (found.arm.recipe, found.baseline.recipe) == ("streaming-llm(sinks=2, window=14)", "dense")
    for trial in (*found.arm.trials, *found.baseline.trials):
        assert (trial.prompt_tokens, trial.decoded, trial.forwards) == (48, 6, 6)
    dense_bytes = 2 * 2 * 2 * 16 * 4 * 48  # layers, sides, heads, width, fp32, tokens
    assert found.baseline.trials[0].kv_bytes == dense_bytes
    assert found.arm.trials[0].kv_bytes < dense_bytes / 2
    assert any(found.arm.counters["streaming-llm"].values())
    assert found.arm.shape["flops_per_token"] == found.baseline.shape["flops_per_token"] > 0
    assert all(math.isfinite(v) for v in found.ceilings().values())


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (saboteurs.Stepper(), []),
        (saboteurs.Parrot(), ["12 tokens came after the first and only 0 went through a forward"]),
        (saboteurs.Stutter(), ["9 tokens came after the first and only 3 went through a forward"]),
        (saboteurs.Quitter(), ["it gave 2 of the 13 tokens asked for, so the times do not compare"]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_loop_that_skips_work_is_flagged_and_an_honest_one_is_not(lm, method, why):
    request = Request(text(20), text(12, seed=1), chunk=20)
    ticks = iter(range(100_000))
    recipes = {"baseline": Recipe(), "arm": Recipe((method,))}
    answer = run_race(lm, lambda: pytest.fail("one model"), recipes, request, 5, clock=lambda: float(next(ticks)))
    found = cell_from(json.loads(json.dumps(answer)), ROOF)
    assert found.mode == "generated"
    assert found.flags == why


def test_generated_tokens_are_as_many_as_asked_for(lm):
    request = Request(text(16), text(5, seed=1), chunk=16)
    arm = SessionArm(lm, Recipe.parse("streaming-llm(sinks=2, window=14)"), request, "generated", keep_open=True)
    ticks = iter(range(100_000))
    trials = [arm.run(lambda: float(next(ticks))) for _ in range(2)]
    arm.close()
    assert [(t.prompt_tokens, t.decoded, t.forwards) for t in trials] == [(16, 5, 5)] * 2
    assert [(t.emitted, t.tokens_read) for t in trials] == [(6, 5)] * 2
    assert "generate" not in vars(lm.model)


def test_the_job_loads_and_races(tmp_path, lm):
    lm.model.save_pretrained(tmp_path)
    told = module.speed_job(
        model=str(tmp_path),
        load_options={"dtype": "bfloat16"},
        recipes={"baseline": "dense", "arm": "streaming-llm(sinks=2, window=14)"},
        prompt=text(20)[0].tolist(),
        forced=[5, 6],
        repeats=5,
        chunk=16,
    )
    found = cell_from(json.loads(json.dumps(told)), ROOF)
    assert found.device == "cpu"
    assert found.arm.shape["dtype"] == "bfloat16"
    assert found.arm.chunk == 16
    assert {trial.forwards for trial in found.arm.trials} == {2}


def test_another_tokenizer_reads_the_same_text():
    class Letters:
        def decode(self, row):
            return "".join(chr(int(i)) for i in row)

    class Pairs:
        def __call__(self, text, add_special_tokens, return_tensors):
            pairs = [text[i : i + 2] for i in range(0, len(text), 2)]
            return SimpleNamespace(input_ids=torch.tensor([[ord(p[0]) for p in pairs]]))

    base = Letters()
    request = Request(torch.tensor([[65, 66, 67]]), torch.tensor([[68, 69]]), 8)
    same = SimpleNamespace(lm=SimpleNamespace(tokenizer=base), tokenizer=base)
    assert own_tokens(same, request) == (request.prompt, request.forced)
    prompt, forced = own_tokens(SimpleNamespace(lm=same.lm, tokenizer=Pairs()), request)
    assert (prompt.tolist(), forced.tolist()) == ([[65, 67]], [[68]])
