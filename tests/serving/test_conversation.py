"""Prompts of conversations: by the model's template, else as lines of a dialogue."""

from copy import deepcopy

import pytest

from paretolm.errors import CallError
from paretolm.serving.conversation import Conversation, as_lines, prompt_ids, stops
from tests.evaluation import judging

TEMPLATE = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def talkative():
    tokenizer = deepcopy(judging.tokenizer())  # it is shared by all tests
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_lines_of_a_dialogue():
    talk = Conversation(judging.tokenizer(), "Be brief.")
    assert talk.asked("Hello").tolist() == [talk.tokenizer("Be brief.\nUser: Hello\nAssistant:").input_ids]
    talk.answered("Hello", " Hi.\n")
    assert as_lines(talk.messages) == "Be brief.\nUser: Hello\nAssistant: Hi.\nAssistant:"
    assert stops(talk.tokenizer) == ["\nUser:", "\nAssistant:"]
    talk.reset()
    assert talk.messages == [{"role": "system", "content": "Be brief."}]


def test_a_template_is_used_and_its_refusal_is_a_sentence():
    tokenizer = talkative()
    talk = Conversation(tokenizer)
    talk.answered("a", "b")
    text = "<user>a</user><assistant>b</assistant><user>c</user><assistant>"
    assert talk.asked("c").tolist() == [tokenizer(text, add_special_tokens=False).input_ids]
    assert stops(tokenizer) == []
    with pytest.raises(CallError, match="refuses these messages: no system here"):
        prompt_ids(tokenizer, [{"role": "system", "content": "x"}])


def test_what_is_asked_counts_as_said_only_with_its_answer():
    talk = Conversation(judging.tokenizer())
    talk.asked("one")
    assert talk.said == []
