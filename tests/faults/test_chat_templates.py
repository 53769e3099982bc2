"""A chat template is a program of whoever made the model: it is stopped, or refused, in a sentence."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.bridge import chat_template
from paretolm.errors import CallError
from paretolm.serving.conversation import prompt_ids
from tests.evaluation import judging

PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<say>{% endif %}"
HI = [{"role": "user", "content": "hi"}]
HOSTILE = {
    "loops without end": ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "was not done after"),
    "a range beyond all": ("{% for i in range(10**9) %}x{% endfor %}", "Range too big"),
    "a text of 10 GB": ("{{ 'a' * 10**10 }}", "MiB of memory"),
    "doubling": (
        "{% set ns = namespace(x='a' * 1000000) %}{% for i in range(50) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "MiB of memory|was not done after",
    ),
    "classes": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "'__class__' of 'str' object is unsafe"),
    "globals": ("{{ messages.append.__globals__ }}", "unsafe|no attribute"),
    "changing what it is given": ("{{ messages.append(3) }}", "unsafe|not safely callable"),
    "itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    "too long an answer": ("{{ 'a' * 17000000 }}", "wrote more than 16 million characters"),
    "no template": ("{% for", "refuses these messages"),
}  # fmt: skip


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, so that what is stopped is stopped soon."""
    monkeypatch.setattr(chat_template, "MEMORY", 200 << 20)


@pytest.fixture
def talker() -> Any:
    return judging.tokenizer.__wrapped__(300)


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_template_is_stopped_and_the_next_one_is_read(
    how: str, talker: Any, bounds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "loops without end":
        monkeypatch.setattr(chat_template, "TIME_S", 1.0)
    talker.chat_template, said = HOSTILE[how]
    before = psutil.Process().memory_info().rss
    with pytest.raises(CallError, match=rf"the model's chat template .*({said})"):
        prompt_ids(talker, HI)
    assert psutil.Process().memory_info().rss - before < 100 << 20
    monkeypatch.undo()
    talker.chat_template = PLAIN
    assert chat_template.render(talker, HI, answer=True) == "<user>hi<say>"


@given(
    st.lists(
        st.tuples(st.sampled_from(["user", "assistant"]), st.text(st.characters(codec="utf-8"), max_size=40)),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_a_plain_template_gives_what_transformers_gives(said: list[tuple[str, str]], answer: bool) -> None:
    tokenizer = one_for_all()
    messages = [{"role": role, "content": content} for role, content in said]
    call = {"tokenize": False, "add_generation_prompt": answer}
    assert chat_template.render(tokenizer, messages, answer=answer) == tokenizer.apply_chat_template(messages, **call)


@cache
def one_for_all() -> Any:
    """One process for all examples, as a server has one."""
    tokenizer = judging.tokenizer.__wrapped__(300)
    tokenizer.chat_template = PLAIN
    return tokenizer


def test_the_process_ends_with_its_tokenizer_and_is_made_anew_where_it_was_killed(talker: Any) -> None:
    talker.chat_template = PLAIN
    others = set(psutil.Process().children())
    chat_template.render(talker, HI, answer=True)
    (process,) = set(psutil.Process().children()) - others
    process.kill()
    with pytest.raises(CallError, match="ended its process"):
        chat_template.render(talker, HI, answer=True)
    assert chat_template.render(talker, HI, answer=True) == "<user>hi<say>"
    (process,) = set(psutil.Process().children()) - others
    talker.chat_template = "another"
    assert chat_template.render(talker, HI, answer=False) == "another"
    assert not process.is_running()


def test_threads_ask_one_after_the_other(talker: Any) -> None:
    talker.chat_template = PLAIN
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        messages = [{"role": "user", "content": str(number)}]
        answers[number] = chat_template.render(talker, messages, answer=False)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: f"<user>{n}" for n in range(8)}


def test_half_a_character_is_refused(talker: Any) -> None:
    messages = [{"role": "user", "content": "\ud800"}]
    with pytest.raises(CallError, match=r"the conversation is not whole: character 7 "):
        prompt_ids(talker, messages)
    talker.chat_template = PLAIN
    with pytest.raises(CallError, match=r"what the chat template makes .* is not whole: character 7 "):
        prompt_ids(talker, messages)


def test_without_fork_the_sandbox_stands(talker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    talker.chat_template = HOSTILE["classes"][0]
    with pytest.raises(CallError, match="unsafe"):
        chat_template.render(talker, HI, answer=True)
