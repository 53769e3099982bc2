"""Generated answers: filters and scores by outside authority, an oracle, generate against streams, repetition."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from paretolm.bridge.twin import twin
from paretolm.errors import RecipeError, TextError
from paretolm.evaluation.metrics.answers import exact_match, f1, last_number, marked_number, normalised, same_number
from paretolm.evaluation.metrics.repetition import diversity, repeated
from paretolm.evaluation.task import Item, Run, Task
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks._generation import Decoding, continued
from paretolm.evaluation.tasks.generation import generation_quality
from paretolm.recipes.recipe import Recipe
from tests.evaluation import sets
from tests.evaluation.judging import fake_run, judge, lm, read, source, tokenizer


def opened(name: str, to: Path, **more: Any) -> tuple[Task, list[Item]]:
    task = make(name, path=str(sets.folder(name, to)), **(sets.ROOM.get(name, {}) | more))
    return task, task.items(source(), lm())


def says(item: Item, text: str):  # type: ignore[no-untyped-def]
    """Logits of a model that continues the prompt with `text` and then its end."""
    ids = [*tokenizer()(text)["input_ids"], 0]

    def logits(seen: list[int]) -> torch.Tensor:
        at = len(seen) - item.prompt_length
        return torch.nn.functional.one_hot(torch.tensor(ids[min(at, len(ids) - 1)]), 400) * 20.0

    return logits


def scores(task: Task, item: Item, text: str) -> dict[str, float]:
    return {r.metric: r.value for r in task.score(fake_run(item, says(item, text)), item, None).rows}


# --- filters and scores ---


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("She makes 9 * 2 = $18 a day.\n#### 18", "18", "18"),
        ("#### 1,250.\n\nQuestion: no", "1,250.", "1,250."),
        ("#### -3 and 5", "-3", "5"),
        ("The answer is $1,000.50.", None, "$1,000.50."),
        ("It costs 7 or -12", None, "-12"),
        ("nobody knows", None, None),
    ],
)
def test_filters_find_what_the_patterns_of_lm_eval_find(text: str, strict: str | None, flexible: str | None) -> None:
    assert (marked_number(text), last_number(text)) == (strict, flexible)


def test_numbers_are_the_same_without_their_ornaments() -> None:
    assert all(same_number(x, "1250") for x in ("1,250", "$1250", "1250.", "$1,250."))
    assert not same_number("125", "1250")
    assert not same_number(None, "1250")
    assert same_number("18", "She sells them.\n#### 18"), "an answer with its solution before it"


def test_squad_s_normalisation_and_scores() -> None:
    """As evaluate-v1.1.py: case, punctuation, articles and spaces do not count."""
    assert normalised("The  Denver-Broncos, an A!") == "denverbroncos"
    assert exact_match(" the Santa Clara, California.", ["Levi's Stadium", "Santa Clara, California"])
    assert not exact_match("Santa Clara", ["Santa Clara, California"])
    assert f1("Santa Clara, California", ["Levi's Stadium, Santa Clara, California"]) == pytest.approx(2 * 3 / (3 + 5))
    assert f1("to to be", ["to be"]) == pytest.approx(2 * 2 / (3 + 2)), "a word counts as often as both have it"
    assert f1("1976", ["1967", "1976"]) == 1
    assert f1("", ["1976"]) == 0


# --- tasks that grade answers ---


def test_gsm8k_prompts_and_an_oracle(tmp_path: Path) -> None:
    task, items = opened("gsm8k", tmp_path)
    for n, item in enumerate(items):
        assert tokenizer().decode(item.prompt_ids[0]) == f"Question: {n} plus 1?\nAnswer:"
        assert scores(task, item, f" #### {n + 1}") == {"exact_match": 1, "flexible_match": 1}
        assert scores(task, item, f" so {n + 1}") == {"exact_match": 0, "flexible_match": 1}
        assert scores(task, item, f" so {n + 2}.") == {"exact_match": 0, "flexible_match": 0}
    assert scores(task, items[0], " is 1 Question: 7") == {"exact_match": 0, "flexible_match": 1}, "it stops there"


def test_gsm8k_s_worked_examples(tmp_path: Path) -> None:
    to = sets.folder("gsm8k", tmp_path)
    sets.write(to / "train.jsonl", [{"question": "1 plus 1?", "solution": "Two.", "answer": "2"}])
    item = make("gsm8k", path=str(to), num_fewshot=1, max_new_tokens=16).items(source(), lm())[3]
    shot = "Question: 1 plus 1?\nAnswer: Two.\n#### 2\n\n"
    assert tokenizer().decode(item.prompt_ids[0]) == f"{shot}Question: 3 plus 1?\nAnswer:"


def test_squad_prompts_and_an_oracle(tmp_path: Path) -> None:
    task, items = opened("squad", tmp_path)
    assert [i.id for i in items[:3]] == ["p-0-0", "p-0-1", "p-1-0"]
    assert [i.doc for i in items[:3]] == ["p-0", "p-0", "p-1"]
    prompt = "Background: Lamp 1 was silver.\n\nQuestion: What was silver?\n\nAnswer:"
    assert tokenizer().decode(items[2].prompt_ids[0]) == prompt
    assert scores(task, items[2], " The lamp.\n\nQuestion") == {"exact_match": 1, "f1": 1}
    assert scores(task, items[2], " lamp 2") == {"exact_match": 0, "f1": pytest.approx(2 / 3)}
    assert scores(task, items[2], " road") == {"exact_match": 0, "f1": 0}


def test_a_prompt_that_is_too_long_loses_its_beginning(tmp_path: Path) -> None:
    lines = [{"question": "river " * 100 + "end?", "answer": "1"}]
    place = str(sets.write(tmp_path / "a.jsonl", lines))
    (item,) = make("gsm8k", path=place, max_new_tokens=16).items(source(), lm())
    assert item.prompt_length == 128 - 16
    assert tokenizer().decode(item.prompt_ids[0]).endswith("river end?\nAnswer:")
    with pytest.raises(TextError, match="256 new tokens leave no room for a prompt in the 128"):
        make("gsm8k", path=place).items(source(), lm())


@pytest.mark.parametrize("line", ["dense", "window(window=16)"])
def test_a_stream_says_what_generate_says(line: str, tmp_path: Path) -> None:
    _, (item, *_) = opened("gsm8k", tmp_path)
    with Recipe.parse(line).apply(lm()) as session:
        run = Run(session, *read(session, item.prompt_ids, 16), 16, True, lambda c: read(session, item.prompt_ids, c))
        streamed = continued(run, item.prompt_ids, item.data["how"])
        generated = continued(Run(session, None, None, 16, True, run.restart), item.prompt_ids, item.data["how"])
    assert streamed == generated
    assert len(streamed) <= 16


def test_generate_is_asked_with_stops_and_its_text_is_cut(tmp_path: Path) -> None:
    task, items = opened("squad", tmp_path)
    asked: list[dict[str, Any]] = []

    def generate(ids: torch.Tensor, **options: Any) -> Any:
        asked.append(options)
        return SimpleNamespace(ids=torch.tensor(tokenizer()(" silver\nroad")["input_ids"]))

    run = Run(SimpleNamespace(generate=generate), None, None, 16, True, None)  # type: ignore[arg-type]
    rows = task.score(run, items[1], None).rows
    assert {r.metric: r.value for r in rows} == {"exact_match": 1, "f1": 1}
    assert asked == [{"max_new_tokens": 32, "stop": ("\n",)}]


def test_another_tokenizer_reads_the_same_prompt(tmp_path: Path) -> None:
    task, (item, *_) = opened("squad", tmp_path)
    other = task.retokenised(item, tokenizer(280))
    assert tokenizer(280).decode(other.prompt_ids[0]) == tokenizer().decode(item.prompt_ids[0])
    assert other.data["how"].tokenizer is tokenizer(280)


def test_sampling_follows_the_distribution_and_its_seed(tmp_path: Path) -> None:
    _, (item, *_) = opened("gsm8k", tmp_path)
    wanted = torch.tensor([0.5, 0.3, 0.2]).log()

    def logits(seen: list[int]) -> torch.Tensor:
        return torch.cat([torch.full((1,), -1e9), wanted * 2.0, torch.full((396,), -1e9)])

    how = Decoding(3000, frozenset(), tokenizer(), (), 2.0, 7)
    drawn = continued(fake_run(item, logits), item.prompt_ids, how)
    assert np.bincount(drawn, minlength=4)[1:4] / 3000 == pytest.approx([0.5, 0.3, 0.2], abs=0.04)
    assert drawn == continued(fake_run(item, logits), item.prompt_ids, how)


# --- quality of continuations ---


def test_repetition_by_hand() -> None:
    assert repeated([1, 2, 3, 1, 2], 2) == pytest.approx(1 / 4), "(1, 2) stands there twice among four pairs"
    assert repeated([1, 2, 3, 1, 2], 1) == pytest.approx(2 / 5)
    assert repeated([5] * 10, 3) == pytest.approx(7 / 8)
    assert repeated([1, 2], 3) == repeated([], 2) == 0
    assert diversity([5] * 10) == pytest.approx((1 / 9) * (1 / 8) * (1 / 7))
    assert diversity(range(9)) == 1


def quality(**knobs: Any) -> tuple[Task, list[Item]]:
    task = make("generation-quality", **({"prompts": 2, "max_new_tokens": 12} | knobs))
    return task, task.items(source(), lm())


def test_one_word_for_ever_and_a_word_with_an_end() -> None:
    task, (item, *_) = quality()
    same = {r.metric: r.value for r in task.score(fake_run(item, lambda _: torch.eye(400)[9] * 9), item, None).rows}
    assert (same["new_tokens"], same["distinct_1"], same["rep_2"]) == (
        12,
        pytest.approx(1 / 12),
        pytest.approx(10 / 11),
    )
    ended = scores(task, item, "river")
    assert ended["new_tokens"] == len(tokenizer()("river")["input_ids"])
    assert (ended["rep_4"], ended["diversity"]) == (0, 1)
    nothing = scores(task, item, "")
    assert (nothing["new_tokens"], nothing["diversity"]) == (0, 1)
    assert np.isfinite(nothing["judge_nll"]), "of the end token"


def test_the_judge_is_the_model_without_the_recipe() -> None:
    task, items = quality()
    rows, _ = judge(task, "finequant(bits=4)", items)
    found = {r.item: r.value for r in rows if r.metric == "judge_nll"}
    for item in items:
        with Recipe.parse("finequant(bits=4)").apply(lm()) as session:
            run = Run(session, *read(session, item.prompt_ids, 16), 16, True, lambda c: None)  # type: ignore[arg-type]
            new = continued(run, item.prompt_ids, item.data["how"])
        ids = torch.cat([item.prompt_ids, torch.tensor([new])], 1)
        with torch.no_grad():
            logs = lm().model(ids).logits[0, item.prompt_length - 1 : -1].log_softmax(-1)
        plain = -logs.gather(1, torch.tensor(new)[:, None]).mean().item()
        assert found[item.id] == pytest.approx(plain, rel=1e-4)


def test_a_twin_shares_every_byte_and_no_module() -> None:
    ours, other = lm().model, twin(lm().model)
    assert all(a is b for a, b in zip(ours.parameters(), other.parameters(), strict=True))
    assert not {id(m) for m in ours.modules()} & {id(m) for m in other.modules()}
    assert other.config is not ours.config


def test_another_judge_reads_the_text_in_its_own_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    from paretolm.bridge.lm import LM

    asked: list[str] = []

    def load(name: str, **_: Any) -> LM:
        asked.append(name)
        return LM.from_model(lm().model, tokenizer(280), "other")

    monkeypatch.setattr(generation_quality, "load", load)
    task, (item, *_) = quality(judge="other")
    assert asked == ["other"]
    found = scores(task, item, " river")["judge_nll"]
    before, after = (tokenizer(280)(t)["input_ids"] for t in (tokenizer().decode(item.prompt_ids[0][1:]), " river"))
    ids = torch.tensor([[0, *before, *after]])
    with torch.no_grad():
        logs = lm().model(ids).logits[0, -1 - len(after) : -1].log_softmax(-1)
    assert found == pytest.approx(-logs.gather(1, torch.tensor(after)[:, None]).mean().item(), rel=1e-4)


def test_more_than_the_model_was_trained_for_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"100 \+ 64 tokens are more than the 128"):
        quality(length=100, max_new_tokens=64)
