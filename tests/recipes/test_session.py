"""A recipe in force: every way around it, streams and snapshots, second models, slots that later papers fill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.generation.streamers import BaseStreamer

import paretolm
from paretolm.contracts import WHOLE, Edit, Method, ModelRef, ModelView, Observe, Slot, knob
from paretolm.errors import CallError, ConflictError, FitError
from paretolm.recipes.recipe import Recipe, recipe
from tests.contract.laws import fingerprint
from tests.contract.tiny import VOCAB, text, tiny

STREAMING = "streaming-llm(sinks=2, window=16)"
GREEDY = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}


@pytest.fixture
def lm():
    return tiny()


# --- generate, and the ways around it ---


def test_the_models_own_generate_obeys_the_recipe(lm) -> None:
    dense = lm.model.generate(text(40), **GREEDY)
    with recipe(STREAMING).apply(lm) as session:
        inside = lm.model.generate(text(40), **GREEDY)
        assert torch.equal(session.generate(text(40), max_new_tokens=8, eos_token_id=None).ids, inside[0, 40:])
        assert session.last_stream.held == [17, 17]
        assert session.last_stream.seen == 47
    assert not torch.equal(inside, dense)
    assert torch.equal(lm.model.generate(text(40), **GREEDY), dense)


def test_generate_equals_steps_by_hand(lm) -> None:
    with recipe(STREAMING).apply(lm) as session:
        expected = session.generate(text(40), max_new_tokens=8, eos_token_id=None).ids
        stream, ids = session.stream(), []
        logits = stream.read(text(40), last=True).logits
        for _ in range(8):
            ids.append(int(logits[0, -1].argmax()))
            logits = stream.step(torch.tensor([[ids[-1]]])).logits
    assert ids == expected.tolist()


def test_a_bare_forward_gets_our_cache(lm) -> None:
    with recipe(STREAMING).apply(lm):
        out = lm.model(text(40))
        assert out.past_key_values.held_layers[0].length == 17
        assert out.past_key_values.get_seq_length() == 40


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"past_key_values": DynamicCache()}, "past_key_values"),
        ({"cache_implementation": "static"}, "cache_implementation"),
        ({"use_cache": False}, "use_cache=False"),
        ({"custom_generate": print}, "custom_generate"),
        ({"inputs_embeds": torch.zeros(1, 4, 64)}, "inputs_embeds"),
    ],
)
def test_ways_around_the_recipe_are_refused(lm, arguments: dict[str, Any], said: str) -> None:
    with recipe(STREAMING).apply(lm) as session:
        with pytest.raises(CallError, match=said):
            lm.model.generate(text(20), **GREEDY, **arguments)
        assert session.forwards == 0


def test_a_forward_around_the_cache_is_refused(lm) -> None:
    with recipe(STREAMING).apply(lm):
        with pytest.raises(CallError, match="use_cache=False"):
            lm.model(text(8), use_cache=False)
        with pytest.raises(CallError, match="DynamicCache"):
            lm.model(text(8), past_key_values=DynamicCache())
        with pytest.raises(CallError, match="2D attention_mask"):
            lm.model(text(8), attention_mask=torch.zeros(1, 1, 8, 8))
        lm.model(text(8))


def test_beams_follow_their_rows(lm) -> None:
    dense = lm.model.generate(text(30), num_beams=3, **GREEDY)
    with recipe("window(window=200)").apply(lm):
        assert torch.equal(lm.model.generate(text(30), num_beams=3, **GREEDY), dense)
    with recipe("kv-quant(residual=1000)").apply(lm):
        assert torch.equal(lm.model.generate(text(30), num_beams=3, **GREEDY), dense)


def test_assisted_decoding_cannot_crop_what_was_evicted(lm) -> None:
    with recipe(STREAMING).apply(lm), pytest.raises((CallError, ValueError), match=r"taken back|crop|roll"):
        lm.model.generate(text(40).repeat(1, 2), prompt_lookup_num_tokens=3, **GREEDY)


def test_right_padding_is_refused_before_compute(lm) -> None:
    mask = torch.ones(2, 20, dtype=torch.long)
    mask[0, -3:] = 0
    with recipe(STREAMING).apply(lm) as session:
        with pytest.raises(CallError, match="left"):
            lm.model(text(20, batch=2), attention_mask=mask)
        assert session.forwards == 0


class _Heard(BaseStreamer):
    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.ended = False

    def put(self, value: Tensor) -> None:
        self.tokens += value.flatten().tolist()

    def end(self) -> None:
        self.ended = True


@pytest.mark.parametrize("line", [STREAMING, "token-recycling(num_nodes=7)", "contrastive-search"])
def test_streamer_and_stop_strings_work_with_and_without_a_loop_of_our_own(line: str) -> None:
    lm, heard = paretolm.load("reference"), _Heard()
    with recipe(line.replace("16", "200")).apply(lm) as session:
        done = session.generate("It was a dark night and the", max_new_tokens=24, streamer=heard)
        assert heard.ended
        assert heard.tokens[-len(done.ids) :] == done.ids.tolist()
        stop = done.text.split()[2]
        cut = session.generate("It was a dark night and the", max_new_tokens=24, stop=[stop])
    assert done.text.startswith(cut.text)
    assert stop in cut.text
    assert len(cut.ids) < len(done.ids)


def test_nested_recipes_are_refused_and_the_outer_one_stays(lm) -> None:
    with recipe(STREAMING).apply(lm) as session:
        with pytest.raises(CallError, match="already in force"), recipe("window").apply(lm):
            pass
        session.generate(text(10), max_new_tokens=2)


def test_an_empty_prompt_and_text_without_a_tokenizer_are_refused(lm) -> None:
    with recipe("dense").apply(lm) as session:
        with pytest.raises(CallError, match="empty"):
            session.generate(torch.empty(1, 0, dtype=torch.long))
        with pytest.raises(CallError, match="tokenizer"):
            session.generate("text")


def test_a_method_to_be_fitted_says_so_before_anything_changes(lm, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PARETOLM_HOME", str(tmp_path))
    before = fingerprint(lm)
    with pytest.raises(FitError, match="paretolm fit"), recipe("knn-lm").apply(lm):
        pass
    assert fingerprint(lm) == before


# --- streams and snapshots ---


@pytest.mark.parametrize(
    "line", ["dense", "h2o(budget=25%)", "snapkv(budget=50%, window_size=8)", "kv-quant(bits=4, residual=16)"]
)
def test_a_prompt_read_once_serves_every_recipe_that_acts_after_it(lm, line: str) -> None:
    ids = text(64)
    with recipe("dense").apply(lm) as reader:
        snapshot = reader.prefill(ids[:, :48], chunk=20, observe=Observe(queries=32, received=True))
    with recipe(line).apply(lm) as session:
        resumed = session.resume(snapshot)
        shared = resumed.step(ids[:, 48:]).logits
        own = session.stream()
        own.read(ids[:, :48], last=True)
        assert resumed.held != [64, 64] or line == "dense" or line.startswith("kv")
        torch.testing.assert_close(shared, own.step(ids[:, 48:]).logits, atol=1e-4, rtol=1e-4)
        assert resumed.held == own.held


def test_a_recipe_that_acts_while_the_prompt_is_read_shares_none(lm) -> None:
    with recipe(STREAMING).apply(lm) as session, pytest.raises(CallError, match="serves only itself"):
        session.prefill(text(20))


def test_dense_leaves_the_models_own_cache_in_place(lm) -> None:
    with recipe("dense").apply(lm) as session:
        stream = session.stream()
        stream.read(text(20), last=True)
        assert isinstance(stream.cache, DynamicCache)
        assert lm.model.config._attn_implementation == "sdpa"
        assert stream.held == [20, 20]
        assert stream.kv_bytes == 2 * 2 * 2 * 20 * 16 * 4
        with pytest.raises(CallError, match="verify drafts"):
            stream.verify(text(3), [-1, 0, 1])


def test_a_draft_tree_scores_as_its_paths_one_by_one(lm) -> None:
    ids, drafts, parents = text(40), text(5, seed=9), [-1, 0, 0, 1, -1]
    with recipe("token-recycling").apply(lm) as session:
        stream = session.stream()
        stream.read(ids, last=True)
        tree = stream.verify(drafts, parents).logits[0]
        stream.commit([0, 1, 3])
        assert stream.seen == 43
        after = stream.step(text(1, seed=4)).logits[0, -1]
        for path in ([0, 1, 3], [0, 2], [4]):
            alone = session.stream()
            alone.read(ids, last=True)
            torch.testing.assert_close(alone.step(drafts[:, path]).logits[0], tree[path], atol=1e-4, rtol=1e-4)
            if path == [0, 1, 3]:
                torch.testing.assert_close(alone.step(text(1, seed=4)).logits[0, -1], after, atol=1e-4, rtol=1e-4)


# --- slots that later papers fill ---


@dataclass(frozen=True, kw_only=True)
class Doubler(Method):
    """BLOCK: adds what the feed-forward gave once more."""

    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)
    times: int = knob(2)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        where = frozenset(layer.mlp_path for layer in view.layers if layer.mlp_path)
        yield Edit(Slot.BLOCK, where, lambda ctx: self)

    def forward(self, inner: Any, *args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs) * self.times


@dataclass(frozen=True, kw_only=True)
class Reversed(Method):
    """TOKENS: the same alphabet in reverse order."""

    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.TOKENS, WHOLE, lambda ctx: self)

    def tokenizer(self, base: Any) -> Any:
        return "reversed"

    def embedding(self, weight: Tensor) -> Tensor:
        return weight.flip(0)


@dataclass(frozen=True, kw_only=True)
class Guided(Method):
    """LOGITS with a second model: adds its logits of the same text's last token."""

    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)
    guide: ModelRef = knob(ModelRef("reference"))

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.LOGITS, WHOLE, self._open)

    def _open(self, ctx: Any) -> Any:
        second = ctx.second(self.guide)
        return lambda ids, hidden, logits: logits + second.stream().step(ids).logits


def test_block_edits_stack_and_come_off_in_order(lm) -> None:
    dense = lm.model(text(8)).logits
    before = fingerprint(lm)
    with Recipe((Doubler(times=4),)).apply(lm):
        four = lm.model(text(8)).logits
    with Recipe((Doubler(times=2), Doubler(times=2))).apply(lm):
        torch.testing.assert_close(lm.model(text(8)).logits, four)
    assert not torch.allclose(four, dense)
    assert fingerprint(lm) == before


def test_another_alphabet_swaps_tokenizer_and_rows(lm) -> None:
    dense = lm.model(text(8)).logits
    with Recipe((Reversed(),)).apply(lm) as session:
        assert session.tokenizer == "reversed"
        got = lm.model(VOCAB - 1 - text(8)).logits
    torch.testing.assert_close(got.flip(-1), dense)


def test_a_second_model_is_opened_with_its_own_recipe_and_put_back() -> None:
    lm = paretolm.load("reference")
    ids = lm.tokenizer("The second model reads along", return_tensors="pt").input_ids
    dense = lm.model(ids).logits
    with Recipe((Guided(guide=ModelRef("reference", "window(window=300)")),)).apply(lm) as session:
        torch.testing.assert_close(lm.model(ids).logits, 2 * dense, atol=1e-3, rtol=1e-3)
        assert str(session.seconds[0].recipe) == "window(window=300)"
    torch.testing.assert_close(lm.model(ids).logits, dense)


def test_conflicts_are_raised_before_anything_changes(lm) -> None:
    before = fingerprint(lm)
    with pytest.raises(ConflictError, match="both"), recipe("window + h2o").apply(lm):
        pass
    assert fingerprint(lm) == before


def test_plans_need_no_weights() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from paretolm.bridge.view import model_view

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=80, hidden_size=1024, num_attention_heads=8))
    view = model_view(model)
    assert recipe(f"{STREAMING} + kv-quant").check(view) == []
    assert len(recipe("window + h2o").check(view)) == 1
