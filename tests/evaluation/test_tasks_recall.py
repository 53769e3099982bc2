"""Recall: what is planted where, an oracle, chance, and generate against streams."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from paretolm.errors import RecipeError
from paretolm.evaluation.metrics.answers import first_number
from paretolm.evaluation.streams import encode
from paretolm.evaluation.task import Item, Run
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks.context.recall import plant
from paretolm.recipes.recipe import Recipe
from tests.evaluation.judging import fake_run, judge, lm, read, source, tokenizer


def items(**knobs: object) -> tuple[object, list[Item]]:
    task = make("recall", **({"lengths": (2.0,), "repeats": 1} | knobs))
    return task, task.items(source(), lm())


def says(item: Item, word: str):  # type: ignore[no-untyped-def]
    """Logits of a model that continues the prompt with `word` and then a full stop."""
    ids = encode(tokenizer(), f" {word}.")[0]

    def logits(seen: list[int]) -> torch.Tensor:
        at = len(seen) - item.prompt_length
        return torch.nn.functional.one_hot(torch.tensor(ids[min(at, len(ids) - 1)]), 400) * 20.0

    return logits


def scores(task: object, item: Item, word: str) -> dict[str, float]:
    return {r.metric: r.value for r in task.score(fake_run(item, says(item, word)), item, None).rows}


def test_the_fact_is_planted_at_its_depth_and_asked_for_at_the_end() -> None:
    task, found = items(depths=(0.0, 0.5, 1.0))
    for item, depth in zip(found, (0.0, 0.5, 1.0), strict=True):
        text = tokenizer().decode(item.prompt_ids[0], skip_special_tokens=True)
        (fact,) = re.finditer(r"Remember: the key of (\w+) is (\d{4})\.", text)
        name, key = fact.groups()
        assert key == item.data["key"]
        assert text.endswith(f"\n\nQuestion: What is the key of {name}? Answer: The key of {name} is")
        context = text[: text.index("\n\nQuestion")]
        assert fact.start() / (len(context) - len(fact[0])) == pytest.approx(depth, abs=0.1)
        assert item.prompt_length == pytest.approx(2 * 128, abs=14)
        assert task.tokens(item) <= 2 * 128 + 8
        start, end = item.spans["question"]
        assert tokenizer().decode(item.prompt_ids[0, start:end]).strip().startswith("Question")
        assert end == item.prompt_length


def test_plant_by_hand() -> None:
    pieces = ["One", " two", ".", " Three", " four", "."]
    assert plant(pieces, ["FACT."], [0.0]) == "FACT. One two. Three four."
    assert plant(pieces, ["FACT."], [0.6]) == "One two. FACT. Three four."
    assert plant(pieces, ["FACT.", "NEXT."], [1.0, 1.0]) == "One two. Three four. FACT. NEXT."
    assert plant(["a"] * 200, ["F"], [0.5]).split() == ["a" * 100, "F", "a" * 100]


def test_several_facts_differ_and_one_is_asked_for() -> None:
    _, found = items(num_facts=(4,), lengths=(3.0,))
    for item in found:
        text = tokenizer().decode(item.prompt_ids[0])
        facts = dict(re.findall(r"the key of (\w+) is (\d{4})\.", text))
        assert len(facts) == len(set(facts.values())) == 4
        asked = re.search(r"What is the key of (\w+)\?", text)[1]
        assert facts[asked] == item.data["key"]


def test_paraphrases_share_the_name_alone() -> None:
    _, found = items(kinds=("paraphrased",), repeats=4)
    for item in found:
        text = tokenizer().decode(item.prompt_ids[0])
        assert item.data["key"] in text
        assert "Remember" not in text
    assert len({i.data["question"] for i in found}) > 3


def test_an_oracle_recalls_everything_and_a_guesser_nothing() -> None:
    task, found = items(repeats=2)
    assert all(scores(task, i, i.data["key"])["recall"] == 1 for i in found)
    assert all(scores(task, i, i.data["key"])["answer_logprob"] > -1e-3 for i in found)
    rng = np.random.default_rng(0)
    guesses = [scores(task, i, str(rng.integers(1000, 10_000))) for i in found]
    assert sum(s["recall"] for s in guesses) == 0
    assert all(s["answer_logprob"] < -10 for s in guesses)


def test_a_number_that_only_begins_like_the_key_is_wrong() -> None:
    task, (item, *_) = items()
    assert scores(task, item, item.data["key"] + "7")["recall"] == 0
    assert scores(task, item, f'"{item.data["key"]}')["recall"] == 1  # right, though begun in other words
    assert first_number("none") is None


def test_any_planted_key_is_right_one_time_in_four() -> None:
    task, found = items(num_facts=(4,), lengths=(3.0,), repeats=20)
    rng = np.random.default_rng(1)
    hits = []
    for item in found:
        keys = re.findall(r"the key of \w+ is (\d{4})\.", tokenizer().decode(item.prompt_ids[0]))
        hits.append(scores(task, item, rng.choice(keys))["recall"])
    assert np.mean(hits) == pytest.approx(0.25, abs=0.13)


def test_the_answer_s_probability_is_the_plain_forward_s() -> None:
    task, (item, *_) = items()
    rows, _ = judge(task, "dense", [item], chunk=3)
    answer = item.data["answer_ids"]
    assert tokenizer().decode(answer[0]) == f" {item.data['key']}"
    with torch.no_grad():
        logits = lm().model(torch.cat([item.prompt_ids, answer], 1)).logits[0, -1 - answer.shape[1] : -1]
    plain = torch.log_softmax(logits, -1).gather(1, answer[0, :, None]).sum().item()
    assert {r.metric: r.value for r in rows}["answer_logprob"] == pytest.approx(plain, rel=1e-4)
    assert rows[0].tags == {"depth": 0.0, "length": 256, "num_facts": 1, "kind": "literal"}


def test_a_stream_continues_as_generate_does() -> None:
    from paretolm.evaluation.tasks.context.recall import _greedy

    _, found = items()
    with Recipe.parse("streaming-llm(sinks=2, window=32)").apply(lm()) as session:
        for item in found[:2]:
            chosen = _greedy(*read(session, item.prompt_ids, 16))
            generated = session.generate(item.prompt_ids, max_new_tokens=8).ids.tolist()
            assert chosen[: len(generated)] == generated


def test_recipes_only_generate_obeys_are_scored_by_what_they_generate() -> None:
    task, (item, *_) = items()
    for text, value in ((f" {item.data['key']}.", 1.0), (" 12.", 0.0)):
        session = SimpleNamespace(generate=lambda ids, max_new_tokens, t=text: SimpleNamespace(text=t))
        rows = task.score(Run(session, None, None, 16, True, None), item, None).rows
        assert [(r.metric, r.value) for r in rows] == [("recall", value)]


def test_another_tokenizer_reads_the_same_question() -> None:
    task, (item, *_) = items()
    other = task.retokenised(item, tokenizer(280))
    assert tokenizer(280).decode(other.prompt_ids[0]) == tokenizer().decode(item.prompt_ids[0])
    assert other.prompt_length > item.prompt_length
    assert tokenizer(280).decode(other.data["answer_ids"][0]) == f" {item.data['key']}"
    assert other.doc == item.doc


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"lengths": ()}, "lengths are"),
        ({"lengths": (0.0,)}, "lengths are positive"),
        ({"depths": (1.5,)}, "depths are numbers from 0 to 1"),
        ({"num_facts": (0,)}, "num_facts are whole"),
        ({"kinds": ("loud",)}, "kinds are literal or paraphrased"),
    ],
)
def test_knobs_are_checked(knobs: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        make("recall", **knobs)


def test_a_length_without_room_for_a_text_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"text of 64 tokens has no room.* give lengths of 1\.\d"):
        items(lengths=(0.5,))
