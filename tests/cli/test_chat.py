"""chat: a pipe and a person; what is said, commands, stops, mistakes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from paretolm.cli.chat import Talk, told
from paretolm.recipes.convert import load
from paretolm.recipes.recipe import Recipe
from paretolm.recipes.session import Generation
from paretolm.serving.conversation import Conversation
from tests.evaluation import judging

SAY = judging.document(5, 4)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Any:
    def given(*said: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in said)))

    return given


def expected(place: Path, recipe: str, prompt: str) -> str:
    stops = ["\nUser:", "\nAssistant:"]
    with Recipe.parse(recipe).apply(load(str(place))) as session:
        text = str(session.generate(prompt, max_new_tokens=8, stop=stops).text)
    return text[: min((at for s in stops if (at := text.find(s)) >= 0), default=len(text))]


@pytest.mark.parametrize("recipe", ["", "window(window=16)"])
def test_a_pipe_gets_the_answers_of_one_conversation(run: Any, saved: Path, lines: Any, recipe: str) -> None:
    lines(SAY, "", "and then")
    code, out, err = run("chat", str(saved), "-m", recipe, "-n", "8", "--temperature", "0", "--system", "Be brief.")
    first = expected(saved, recipe, f"Be brief.\nUser: {SAY}\nAssistant:")
    prompt = f"Be brief.\nUser: {SAY}\nAssistant: {first.strip()}\nUser: and then\nAssistant:"
    assert not code, err
    assert (code, out) == (0, first + "\n" + expected(saved, recipe, prompt) + "\n")
    assert "no chat template" in err


def test_commands(run: Any, saved: Path, lines: Any) -> None:
    lines("/stats", SAY, "/reset", "/system Be long.", SAY, "/help", "/exit", "never said")
    code, out, err = run("chat", str(saved), "-m", "window(window=16)", "-n", "8", "--temperature", "0")
    second = expected(saved, "window(window=16)", f"Be long.\nUser: {SAY}\nAssistant:")
    assert not code, err
    assert out.endswith(second + "\n")
    assert out.count("\n") == 2 + out.rstrip("\n").count("\n") - 1
    assert err.count("of the untouched model's") == 2
    assert "Ctrl-C ends an answer" in err


def test_no_share_is_told_of_a_model_whose_cache_nobody_predicts() -> None:
    view = judging.lm().view
    strange = replace(view, layers=(replace(view.layers[0], kind="linear"), *view.layers[1:]))
    session: Any = SimpleNamespace(lm=SimpleNamespace(view=strange), last_stream=SimpleNamespace(kv_bytes=3 << 19))
    done = Generation(torch.zeros(4), None, prompt_length=10, forwards=4, seconds=2.0)
    assert told(session, done) == "4 tokens, 2.0 a second; cache of 13 tokens 1.50 MiB"
    session.lm.view = replace(view, layers=())
    assert told(session, done).endswith("1.50 MiB")


def test_a_mistake_ends_a_pipe_with_a_sentence(run: Any, saved: Path, lines: Any) -> None:
    lines("/resett", SAY)
    code, out, err = run("chat", str(saved), "-n", "4")
    assert (code, out) == (2, "")
    assert "there is no command /resett; did you mean 'reset'?" in err


def test_a_person_goes_on_after_a_mistake_and_ctrl_c(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[Any] = ["/nothing", KeyboardInterrupt(), SAY, EOFError()]

    def typed(_: str) -> str:
        one = said.pop(0)
        if isinstance(one, BaseException):
            raise one
        return str(one)

    monkeypatch.setattr("builtins.input", typed)
    with Recipe().apply(load(str(saved))) as session:
        talk = Talk(session, Conversation(session.tokenizer), 8, {}, 0, False)
        whole = session.generate

        def stopped(*args: Any, **kwargs: Any) -> Any:
            whole(*args, **{**kwargs, "max_new_tokens": 4})
            raise KeyboardInterrupt

        monkeypatch.setattr(session, "generate", stopped)
        talk.run(interactive=True)
        answer = talk.conversation.said[1]["content"]
    out, err = capsys.readouterr()
    assert not said
    assert answer
    assert answer in out
    assert [word in err for word in ("no command /nothing", "Ctrl-D ends", "[stopped]")] == [True] * 3


def test_a_model_without_room_says_so_and_one_with_rotary_positions_goes_on(
    run: Any, saved: Path, lines: Any, tmp_path: Path
) -> None:
    lines(SAY)
    assert "trained on; /reset" in run("chat", str(saved), "-n", "4000", "--temperature", "0", "--seed", "1")[2]
