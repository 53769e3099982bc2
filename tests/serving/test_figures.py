"""What an answer costs, as clients are told, and the untouched model beside the recipe."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import openai
import pytest
import torch

from paretolm.bridge.lm import LM
from paretolm.recipes.convert import bake
from paretolm.recipes.recipe import Recipe
from paretolm.serving import figures
from paretolm.serving.figures import Figures, Held, Meter, dense_bytes, told
from paretolm.serving.models import side_by_side
from tests.evaluation import judging

from .conftest import NAME, Running, running

PROMPT = judging.document(5, 4)
SIZE = len(judging.tokenizer()(PROMPT).input_ids)
OTHER = f"{NAME}:untouched"
NEW = 24


@pytest.fixture(scope="module")
def narrow() -> Iterator[Running]:
    with running("window(window=16)", tokens=512) as at_work:
        yield at_work


def write(server: Running, model: str = NAME, **more):
    asked = {"model": model, "prompt": PROMPT, "max_tokens": NEW, "temperature": 0}
    return server.client().completions.create(**asked | more)


def by_hand(session, ids) -> int:
    """Bytes that the session's cache holds after the prompt and all of ids but the last."""
    prompt = torch.tensor([judging.tokenizer()(PROMPT).input_ids])
    stream = session.stream(prompt)
    stream.read(prompt, last=True)
    for token in ids[:-1]:
        stream.step(token.reshape(1, 1))
    return stream.kv_bytes


def whole_cache(session, tokens: int) -> int:
    """By the config: keys and values of each layer and head, four bytes a number."""
    c = session.lm.model.config
    return 2 * c.num_hidden_layers * c.num_key_value_heads * c.head_dim * 4 * tokens


def test_bytes_are_those_that_the_cache_holds(narrow):
    for model, session in ((NAME, narrow.session), (OTHER, narrow.server.app.served.untouched)):
        own = write(narrow, model).paretolm
        narrow.wait(lambda: not narrow.busy)
        ids = session.generate(PROMPT, max_new_tokens=NEW).ids
        assert own["kv_bytes"] == by_hand(session, ids)
        assert own["dense_kv_bytes"] == whole_cache(session, SIZE + NEW - 1)
        assert (own["kv_bytes"] == own["dense_kv_bytes"]) == (model == OTHER)
        assert own["index_bytes"] == 0
        assert own["tokens_per_second"] > 0
        assert own["seconds_to_first"] > 0


def test_scores_beside_the_cache_are_told():
    with running("h2o(budget=16tok)") as server:
        assert write(server).paretolm["index_bytes"] > 0


def test_the_first_token_is_waited_for_and_the_others_have_a_rate(monkeypatch):
    now = iter([100.0, 103.0, 103.5, 105.0])
    monkeypatch.setattr(figures, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    monkeypatch.setattr(Meter, "_weigh", lambda _: Held(1, 0, 1))
    heard = []
    streamer = SimpleNamespace(put=heard.append, end=lambda: heard.append(()))
    with Recipe().apply(judging.lm()) as session:
        before, meter = len(session.binding.base._forward_pre_hooks), Meter(session, 4, streamer)
        with meter:
            for size in (4, 1, 1, 3):
                meter.put(torch.zeros(size, dtype=torch.long))
                if size == 4:
                    assert meter.so_far() is None
            meter.end()
            assert meter.so_far() == Figures(5, 2.0, 3.0, Held(1, 0, 1))
        assert len(session.binding.base._forward_pre_hooks) == before
    assert [len(h) for h in heard] == [4, 1, 1, 3, 0]
    assert told([meter.so_far()])["tokens_per_second"] == 2.0


def test_openais_client_passes_on_what_it_does_not_know(narrow):
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    *pieces, last = write(narrow, **streamed)
    assert all(piece.usage is None and "paretolm" not in piece.model_extra for piece in pieces)
    assert last.paretolm["kv_bytes"] == write(narrow).paretolm["kv_bytes"]
    streamed["stream_options"]["continuous_usage_stats"] = True
    *pieces, last = write(narrow, **streamed, max_tokens=80)
    counts = [piece.usage.completion_tokens for piece in pieces]
    assert counts == sorted(counts)
    assert (len(set(counts)) > 3, counts[-1]) == (True, 80)
    assert all(0 < p.paretolm["kv_bytes"] <= last.paretolm["kv_bytes"] for p in pieces)
    said = [{"role": "user", "content": "river"}]
    opening, *_, last = narrow.client().chat.completions.create(model=NAME, messages=said, max_tokens=4, **streamed)
    assert (opening.paretolm, opening.usage.completion_tokens, last.usage.completion_tokens) == (None, 0, 4)


def test_the_untouched_model_is_served_beside(narrow):
    with running() as alone:
        assert write(narrow, OTHER).choices[0].text == write(alone).choices[0].text != write(narrow).choices[0].text
        assert write(narrow, OTHER).system_fingerprint == write(alone).system_fingerprint
        assert [m.id for m in alone.client().models.list()] == [NAME]
        with pytest.raises(openai.NotFoundError, match=f"there is no model '{OTHER}' here"):
            write(alone, OTHER)
    assert write(narrow, OTHER).model == OTHER
    first, second = narrow.client().models.list()
    assert (first.id, second.id) == (NAME, OTHER)
    assert first.paretolm == {"recipe": "window(window=16)", "in_weights": "", "untouched": OTHER}
    assert narrow.client().models.retrieve(OTHER).paretolm["recipe"] == ""


def test_both_have_the_very_same_weights():
    lm = judging.lm()
    with side_by_side(replace(lm, recipe_left="window(window=16)")) as (session, untouched):
        places = [{p.data_ptr() for p in s.lm.model.parameters()} for s in (session, untouched)]
        assert places[0] == places[1]


def test_weights_that_were_changed_for_good_are_not_called_untouched():
    tiny = LM.from_model(copy.deepcopy(judging.lm().model), judging.tokenizer(), NAME)
    with running("window(window=16)", lm=bake(tiny, "magnitude(sparsity=0.5)")) as server:
        (only,) = server.client().models.list()
    assert only.paretolm["untouched"] is None
    assert only.paretolm["recipe"] == "window(window=16)"
    assert only.paretolm["in_weights"].startswith("magnitude(")


def test_layers_that_nobody_predicts_have_no_number():
    view = judging.lm().view
    strange = replace(view, layers=(replace(view.layers[0], kind="linear"), *view.layers[1:]))
    assert dense_bytes(SimpleNamespace(lm=SimpleNamespace(view=strange)), 10) is None


def test_several_texts_are_told_as_one():
    texts = [Figures(11, 2.0, 0.5, Held(100, 1, 400)), None, Figures(6, 1.0, 0.1, Held(300, 2, 300))]
    assert told(texts) == {
        "kv_bytes": 300,
        "index_bytes": 2,
        "dense_kv_bytes": 300,
        "tokens_per_second": 5.0,
        "seconds_to_first": 0.5,
    }
    assert told([Figures(1, 0.0, 0.5, Held(1, 0, 1))])["tokens_per_second"] is None
    assert told([None]) is None
