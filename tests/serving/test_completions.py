"""/v1/completions and /v1/models as OpenAI's own library uses them."""

from __future__ import annotations

import openai
import pytest
import torch

from paretolm.recipes.recipe import Recipe
from tests.evaluation import judging

from .conftest import NAME, Running, running

PROMPT = judging.document(5, 4)


def complete(server: Running, **asked):
    return server.client().completions.create(
        **{"model": NAME, "prompt": PROMPT, "max_tokens": 12, "temperature": 0} | asked
    )


def greedy(server: Running, **asked) -> str:
    """What the session says by itself, in the same process."""
    server.wait(lambda: not server.busy)
    server.session.reset()
    return server.session.generate(PROMPT, **{"max_new_tokens": 12} | asked).text


@pytest.mark.parametrize("recipe", ["", "window(window=16)", "token-recycling"])
def test_greedy_text_is_the_sessions(recipe):
    with running(recipe) as server:
        got = complete(server)
        assert got.choices[0].text == greedy(server)
        assert got.choices[0].finish_reason == "length"
        assert got.system_fingerprint == f"recipe-{Recipe.parse(recipe).hash}"
        size = len(judging.tokenizer()(PROMPT).input_ids)
        assert (got.usage.prompt_tokens, got.usage.completion_tokens, got.usage.total_tokens) == (size, 12, size + 12)


def test_a_stream_joins_to_the_whole_and_counts(server):
    chunks = list(complete(server, stream=True, max_tokens=40, stream_options={"include_usage": True}))
    *told, last = chunks
    assert "".join(c.choices[0].text for c in told) == greedy(server, max_new_tokens=40)
    assert len(told) > 3
    assert [c.choices[0].finish_reason for c in told] == [None] * (len(told) - 1) + ["length"]
    assert (last.choices, last.usage.completion_tokens) == ([], 40)
    assert len({c.id for c in chunks}) == 1


def test_a_text_ends_before_a_stop(server):
    whole = complete(server, max_tokens=40).choices[0].text
    stop = whole[12:15]
    for stream in (False, True):
        got = complete(server, max_tokens=40, stop=[stop, "never there"], stream=stream)
        choices = [c.choices[0] for c in got] if stream else [got.choices[0]]
        assert "".join(c.text for c in choices) == whole[: whole.index(stop)]
        assert choices[-1].finish_reason == "stop"


def test_a_stop_spares_the_tokens_behind_it(server):
    whole = complete(server, max_tokens=40)
    got = complete(server, max_tokens=40, stop=whole.choices[0].text[12:15])
    assert got.usage.completion_tokens < 20 < whole.usage.completion_tokens


def test_the_models_own_end_is_a_stop(server, monkeypatch):
    ids = server.session.generate(PROMPT, max_new_tokens=12).ids.tolist()
    model = server.session.lm.model
    monkeypatch.setattr(model.generation_config, "eos_token_id", ids[5])
    monkeypatch.setattr(server.engine._write.__self__._writers[NAME], "_eos", {ids[5]})
    got = complete(server)
    assert (got.choices[0].finish_reason, got.usage.completion_tokens) == ("stop", ids.index(ids[5]) + 1)


def test_a_seed_repeats_and_choices_differ(server):
    first, again, other = (
        [c.text for c in complete(server, temperature=1.5, top_p=0.95, seed=s, n=3).choices] for s in (7, 7, 8)
    )
    assert first == again
    assert first != other
    assert len(set(first)) == 3


def test_several_prompts_text_or_tokens_and_echo(server):
    ids = judging.tokenizer()("winter music").input_ids
    got = complete(server, prompt=["silver", "winter music"], n=2, echo=True)
    assert [c.index for c in got.choices] == [0, 1, 2, 3]
    assert [c.text.startswith("silver") for c in got.choices] == [True, True, False, False]
    by_ids = complete(server, prompt=[ids]).choices[0].text
    assert (
        got.choices[2].text
        == got.choices[3].text
        == "winter music" + by_ids
        == "winter music" + complete(server, prompt=ids).choices[0].text
    )


@pytest.mark.parametrize("recipe", ["", "window(window=16)"])
def test_log_probabilities_are_the_models_own(recipe):
    with running(recipe) as server:
        told = complete(server, logprobs=3).choices[0].logprobs
        server.wait(lambda: not server.busy)
        session = server.session
        prompt = torch.tensor([judging.tokenizer()(PROMPT).input_ids])
        ids = session.generate(prompt, max_new_tokens=12).ids
        stream, rows = session.stream(prompt), []
        rows.append(stream.read(prompt, last=True).logits[0, -1])
        rows += [stream.step(i.reshape(1, 1)).logits[0, -1] for i in ids[:-1]]
        expected = torch.stack(rows).log_softmax(-1)
        assert told.token_logprobs == pytest.approx(expected[range(12), ids].tolist(), abs=1e-4)
        assert sum(told.token_logprobs) == pytest.approx(float(expected.max(-1).values.sum()), abs=1e-3)
        assert told.tokens == [judging.tokenizer().decode([i]) for i in ids.tolist()]
        best = expected[0].topk(3)
        assert sorted(told.top_logprobs[0].values()) == pytest.approx(sorted(best.values.tolist()), abs=1e-4)


def test_log_probabilities_come_with_a_stream_and_end_with_the_text(server):
    whole = complete(server, logprobs=1, max_tokens=40).choices[0]
    chunks = list(complete(server, logprobs=1, max_tokens=40, stream=True))
    got = [p for c in chunks if (found := c.choices[0].logprobs) for p in found.token_logprobs]
    assert got == whole.logprobs.token_logprobs
    assert len(got) == 40
    stop = whole.text[12:15]
    cut = complete(server, logprobs=1, max_tokens=40, stop=stop).choices[0]
    assert 0 < len(cut.logprobs.tokens) < 20
    assert max(cut.logprobs.text_offset) < len(cut.text)


def test_the_models_route_names_the_one_model(server):
    client = server.client()
    assert [m.id for m in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).max_model_len == judging.TRAINED
    with pytest.raises(openai.NotFoundError, match="no model 'other'"):
        client.models.retrieve("other")
    with pytest.raises(openai.NotFoundError, match="this server has 'tiny'"):
        complete(server, model="other")


def test_health(server):
    assert server.ask("/health")[::2] == (200, '{"status":"ok"}')


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": None}, "prompt must be text, token ids below 367"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": [1, 367]}, "token ids below 367"),
        ({"prompt": [[1], []]}, "the prompt is empty"),
        ({"prompt": ["a"] * 9}, "9 prompts were given; a request may have 8"),
        ({"n": 9}, "9 texts were asked for"),
        ({"n": 0}, "n must be a whole number of at least 1, not 0"),
        ({"n": True}, "n must be a whole number"),
        ({"max_tokens": 500}, "together they may have 128"),
        ({"temperature": 3}, "temperature must be a number from 0 to 2, not 3"),
        ({"temperature": "hot"}, 'not "hot"'),
        ({"top_p": -0.1}, "top_p must be a number from 0 to 1"),
        ({"stop": ["a"] * 5}, "5 stop strings were given; a request may have 4"),
        ({"stop": ["a" * 65]}, "stop must be a string of 1 to 64 characters"),
        ({"stop": ""}, "stop must be"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"stream": "yes"}, "stream must be true or false"),
        ({"logprobs": 21}, "logprobs must be a whole number from 0 to 20"),
        ({"echo": True, "logprobs": 1}, "echo goes without logprobs"),
        ({"frequency_penalty": 0.5}, "frequency_penalty is not served here"),
        ({"temprature": 1}, "there is no field 'temprature'; did you mean 'temperature'?"),
        ({"stream_options": {"include_usage": True}}, "stream_options is an object, and goes with stream"),
        ({"model": None}, "model is missing"),
    ],
)
def test_a_mistake_is_a_sentence(server, change, sentence):
    status, told = server.refused("/v1/completions", {"model": NAME, "prompt": "river", "max_tokens": 1} | change)
    assert status == 400
    assert sentence in told


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"model": NaN}', b"[" * 100_000, b"\xff\xfe", b'{"model": "\\ud800"}']
)
def test_what_is_no_json_object_is_refused(server, body):
    status, told = server.refused("/v1/completions", body)
    assert status == 400
    assert told.startswith("the body")


def test_other_paths_and_methods_are_refused_in_json(server):
    assert server.refused("/v1/embeddings", {})[0] == 404
    assert server.ask("/v1/completions")[0] == 405


def test_a_decoding_loop_of_its_own_has_no_log_probabilities():
    with running("token-recycling") as server, pytest.raises(openai.BadRequestError, match="has no logprobs"):
        complete(server, logprobs=1)
