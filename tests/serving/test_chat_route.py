"""/v1/chat/completions with a template and without one."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import openai
import pytest

from paretolm.serving.conversation import prompt_ids
from tests.evaluation import judging

from .conftest import NAME, Running, running

TEMPLATE = (
    "{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}"
    "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('not that') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SAID = [{"role": "system", "content": "Brief."}, {"role": "user", "content": "silver river stone"}]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


def talkative(template: str = TEMPLATE):
    tokenizer = deepcopy(judging.tokenizer())  # it is shared by all tests
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="module")
def talker() -> Iterator[Running]:
    with running(tokenizer=talkative(), tokens=512) as at_work:
        yield at_work


def say(server: Running, **asked):
    return server.client().chat.completions.create(
        **{"model": NAME, "messages": SAID, "max_completion_tokens": 12, "temperature": 0} | asked
    )


def greedy(server: Running, messages, tools=None, size: int = 12):
    server.wait(lambda: not server.busy)
    return server.session.generate(prompt_ids(server.session.tokenizer, messages, tools), max_new_tokens=size)


def test_the_template_makes_the_prompt(talker):
    got = say(talker)
    alone = greedy(talker, SAID)
    assert (got.choices[0].message.content, got.choices[0].message.role) == (alone.text, "assistant")
    assert got.usage.prompt_tokens == alone.prompt_length
    parts = [{"role": "developer", "content": "Brief."}, {"role": "user", "content": []}]
    parts[1]["content"] = [{"type": "text", "text": "silver river"}, {"type": "text", "text": " stone"}]
    assert say(talker, messages=parts).choices[0].message.content == alone.text


def test_a_stream_joins_to_the_whole(talker):
    chunks = list(say(talker, stream=True, n=2))
    whole = say(talker).choices[0].message.content
    for index in (0, 1):
        mine = [c.choices[0] for c in chunks if c.choices[0].index == index]
        assert "".join(c.delta.content or "" for c in mine) == whole
        assert mine[0].delta.role == "assistant"
        assert mine[-1].finish_reason == "length"


def test_log_probabilities_sum_to_the_models_own(talker):
    told = say(talker, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert [len(t.top_logprobs) for t in told] == [2] * 12
    assert all(t.logprob == t.top_logprobs[0].logprob for t in told)  # greedy takes the likeliest
    assert bytes(b for t in told for b in t.bytes or []).decode(errors="ignore")


def test_tools_stand_in_the_prompt_and_the_answer_is_text(talker):
    got = say(talker, tools=TOOLS)
    alone = greedy(talker, SAID, TOOLS)
    assert got.choices[0].message.content == alone.text
    assert got.usage.prompt_tokens == alone.prompt_length > say(talker).usage.prompt_tokens
    assert say(talker, tools=TOOLS, tool_choice="none").usage.prompt_tokens < alone.prompt_length
    with pytest.raises(openai.BadRequestError, match="not made to use one"):
        say(talker, tools=TOOLS, tool_choice="required")


def test_without_a_template_the_conversation_is_lines_of_a_dialogue(server):
    got = say(server, max_completion_tokens=8)
    prompt = "Brief.\nUser: silver river stone\nAssistant:"
    server.wait(lambda: not server.busy)
    assert got.choices[0].message.content == server.session.generate(prompt, max_new_tokens=8).text
    with pytest.raises(openai.BadRequestError, match="has no place for tools; leave tools out"):
        say(server, tools=TOOLS)
    with pytest.raises(openai.BadRequestError, match="no message of the role 'tool'"):
        say(server, messages=[*SAID, {"role": "tool", "content": "42", "tool_call_id": "a"}])


def test_without_a_number_an_answer_takes_the_room_there_is(server):
    got = say(server, max_completion_tokens=None)
    assert got.usage.total_tokens == judging.TRAINED or got.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"messages": []}, "messages must be a list of at least one message"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages[0] must be an object with a role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content must be text, not null"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "images and sounds are not read here"),
        ({"messages": [{"role": "user", "content": "bad"}]}, "refuses these messages: not that"),
        ({"top_logprobs": 2}, "top_logprobs needs logprobs: true"),
        ({"tools": "all"}, "tools must be a list of objects"),
        ({"prompt": "a"}, "there is no field 'prompt'"),
        ({"response_format": {"type": "json_object"}}, "response_format is not served here"),
        ({"messages": [{"role": "user", "content": "a" * 600}]}, "together they may have 512"),
    ],
)
def test_a_mistake_is_a_sentence(talker, change, sentence):
    status, told = talker.refused("/v1/chat/completions", {"model": NAME, "messages": SAID} | change)
    assert status == 400
    assert sentence in told
