"""Multiple choice: prompts by hand, likelihoods against plain forwards, an oracle, chance, the recipe's cache."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from paretolm.bench.records.store import Store
from paretolm.bench.workers.arm import make_arm
from paretolm.bench.workers.measure import TaskRun
from paretolm.contracts import Slot
from paretolm.evaluation.rows import Row
from paretolm.evaluation.summary import summarise
from paretolm.evaluation.task import Item
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks._choice import ChoiceTask
from paretolm.evaluation.tasks._lm_eval import common_start, pair_ids
from paretolm.evaluation.tasks.choice.hellaswag import begun, tidy
from paretolm.recipes.recipe import Recipe
from paretolm.recipes.session import Session
from tests.evaluation import sets
from tests.evaluation.judging import fake_run, judge, lm, source, tokenizer

CHOICES = ["arc-challenge", "arc-easy", "blimp", "hellaswag", "mmlu", "openbookqa", "piqa", "winogrande"]
ALL = [*CHOICES, "lambada"]


def opened(name: str, to: Path, count: int = 12, **more: Any) -> tuple[ChoiceTask, list[Item]]:
    task = make(name, path=str(sets.folder(name, to, count)), **more)
    assert isinstance(task, ChoiceTask)
    return task, task.items(source(), lm())


def plain(context: str, continuation: str) -> tuple[float, bool]:
    """Log-likelihood by one forward over the whole text, and whether greedy decoding would have said it."""
    before, after = tokenizer()(context)["input_ids"] or [0], tokenizer()(context + continuation)["input_ids"]
    after = after[len(tokenizer()(context)["input_ids"]) :]
    with torch.no_grad():
        logs = lm().model(torch.tensor([before + after])).logits[0].double().log_softmax(-1)
    rows = logs[len(before) - 1 : -1]
    return float(rows[range(len(after)), after].sum()), bool((rows.argmax(-1) == torch.tensor(after)).all())


def values(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Item -> metric -> value."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row.item, {})[row.metric] = row.value
    return found


def says(item: Item, choice: int) -> Callable[[list[int]], torch.Tensor]:
    """Logits of a model sure of one choice of the item."""
    ids = item.data["choices"][choice].ids[0].tolist()

    def logits(seen: list[int]) -> torch.Tensor:
        at = len(seen) - item.prompt_length
        return torch.nn.functional.one_hot(torch.tensor(ids[min(at, len(ids) - 1)]), 400) * 20.0

    return logits


@pytest.mark.parametrize(
    ("name", "context", "continuation"),
    [
        ("arc-easy", "Question: Number 1? Which one is made of stone?\nAnswer:", " a bridge of grey stone"),
        ("arc-challenge", "Question: Number 1? Which one is made of stone?\nAnswer:", " a bridge of grey stone"),
        ("piqa", "Question: Number 1? Which one is made of stone?\nAnswer:", " a long silver road"),
        ("openbookqa", "Number 1? Which one is made of stone?", " a bridge of grey stone"),
        ("hellaswag", "Walking: A man has 1 dogs. He", " a bridge of grey stone"),
        ("winogrande", "1 letters for Ben, not Sam, as Sam", " was late."),
        ("blimp", "", " The 1 lamps are."),
        ("lambada", "The bridge and road 1 led to the", " river"),
        (
            "mmlu",
            "The following are multiple choice questions (with answers) about anatomy.\n\nNumber 1? Which one is made "
            "of stone?\nA. the river\nB. a bridge of grey stone\nC. paper\nD. morning music\nAnswer:",
            " B",
        ),
    ],
)
def test_prompts_are_those_of_lm_eval(name: str, context: str, continuation: str, tmp_path: Path) -> None:
    _, found = opened(name, tmp_path)
    question = found[1].data["question"]
    assert question.pairs[question.answer] == (context, continuation)


@pytest.mark.parametrize("name", ALL)
def test_likelihoods_are_those_of_one_plain_forward(name: str, tmp_path: Path) -> None:
    more = {"path": str(sets.folder(name, tmp_path, 4))}
    task = make(name, **more)
    items = task.items(source(), lm())
    found = values(judge(task, "dense", items, chunk=3)[0])
    for item in items:
        question, scores = item.data["question"], found[item.id]
        if item.prompt_length + max(c.ids.shape[1] for c in item.data["choices"]) > 128:
            continue  # cut from the left: below
        lls, top = zip(*(plain(*pair) for pair in question.pairs), strict=True)
        if name == "lambada":
            assert scores == {"acc": float(top[0]), "word_nll": pytest.approx(-lls[0], rel=1e-4)}
            continue
        wrong = max(x for i, x in enumerate(lls) if i != question.answer)
        assert scores["margin"] == pytest.approx(lls[question.answer] - wrong, abs=1e-4)
        assert scores["acc"] == float(np.argmax(lls) == question.answer)
        if question.texts:
            a_character = [x / len(t) for x, t in zip(lls, question.texts, strict=True)]
            assert scores["acc_norm"] == float(np.argmax(a_character) == question.answer)
    assert name == "mmlu" or any(i.prompt_length < 100 for i in items)


def test_lengths_by_hand(tmp_path: Path) -> None:
    """Likelihoods -12, -12, -12: by character 'ééé' (3) has the least of -4, by byte (6) -2 beats -12/4."""
    lines = [{"question": "Q", "choices": ["ééé", "abcd", "abcde"], "answer": a} for a in (0, 1, 2)]
    task = make("openbookqa", path=str(sets.write(tmp_path / "a.jsonl", lines)))
    for item, norm, by_byte in zip(task.items(source(), lm()), (0, 0, 1), (1, 0, 0), strict=True):
        from paretolm.evaluation.tasks._reading import Targets

        alike = [Targets(np.array([12.0]), np.array([True]))] * 3
        found = {r.metric: r.value for r in task.rows(item, alike)}
        assert (found["acc_norm"], found["acc_bytes"]) == (norm, by_byte)
        assert found["acc"] == float(item.data["question"].answer == 0), "the first of equals"
        assert found["margin"] == 0


@pytest.mark.parametrize("name", CHOICES)
def test_an_oracle_is_always_right_and_its_opposite_never(name: str, tmp_path: Path) -> None:
    task, items = opened(name, tmp_path)
    for item in items:
        answer = item.data["question"].answer
        right = task.score(fake_run(item, says(item, answer)), item, None).rows
        assert all(r.value == 1 for r in right if r.metric.startswith("acc"))
        assert next(r.value for r in right if r.metric == "margin") > 0
        wrong = (answer + 1) % len(item.data["choices"])
        assert task.score(fake_run(item, says(item, wrong)), item, None).rows[0].value == 0


def test_an_oracle_knows_the_last_word(tmp_path: Path) -> None:
    task, items = opened("lambada", tmp_path)
    for item in items:
        found = {r.metric: r.value for r in task.score(fake_run(item, says(item, 0)), item, None).rows}
        assert found == {"acc": 1.0, "word_nll": pytest.approx(0, abs=1e-2)}


@pytest.mark.parametrize(("name", "chance"), [("mmlu", 0.25), ("arc-easy", 0.25), ("winogrande", 0.5), ("blimp", 0.5)])
def test_a_random_model_is_at_chance(name: str, chance: float, tmp_path: Path) -> None:
    task, items = opened(name, tmp_path, 200)

    def dice(seen: list[int]) -> torch.Tensor:
        seed = zlib.crc32(np.array(seen).tobytes())
        return torch.from_numpy(np.random.default_rng(seed).standard_normal(400))

    hits = sum(task.score(fake_run(item, dice), item, None).rows[0].value for item in items)
    assert stats.binomtest(int(hits), len(items), chance).pvalue > 1e-3


def test_choices_are_read_through_the_recipe_s_cache(tmp_path: Path) -> None:
    task, items = opened("arc-easy", tmp_path, 6)
    dense, narrow = (values(judge(task, line, items)[0]) for line in ("dense", "window(window=8)"))
    gaps = [abs(dense[i.id]["margin"] - narrow[i.id]["margin"]) for i in items]
    assert min(gaps) > 1e-3
    assert task.visible(frozenset({Slot.KEEP}))
    assert task.visible(frozenset({Slot.TOKENS}))
    assert not task.visible(frozenset({Slot.DECODE, Slot.PROMPT}))


@pytest.mark.parametrize("recipes", [["dense"], ["dense", "snapkv(budget=12tok, window_size=4)"]])
def test_the_context_of_all_choices_is_read_once(
    recipes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, items = opened("arc-easy", tmp_path, 3)
    prefilled: list[int] = []
    original = Session.prefill

    def counted(self: Session, ids: torch.Tensor, **kwargs: Any) -> Any:
        prefilled.append(ids.shape[1])
        return original(self, ids, **kwargs)

    monkeypatch.setattr(Session, "prefill", counted)
    monkeypatch.setattr("paretolm.bench.workers.measure.read_prompt", None)
    with Store(tmp_path / "results.sqlite") as store:
        store.plan({line: {} for line in recipes})
        store.claim(recipes)
        names = {i.id for i in items}
        arms = [make_arm(lm(), line, Recipe.parse(line), {}, set(names)) for line in recipes]
        monkeypatch.setattr(TaskRun, "_weighed", lambda *_: {})
        TaskRun(lm(), task, items, arms, store, lambda _: None).run()
        found = values([row for one in store.items("dense") for row in one.rows])
    assert sorted(prefilled) == sorted(i.prompt_length for i in items)
    alone = values(judge(task, "dense", items)[0])
    assert all(found[i]["margin"] == pytest.approx(alone[i]["margin"], abs=1e-4) for i in alone)


@pytest.mark.parametrize("name", ["arc-easy", "mmlu"])
def test_a_context_that_is_too_long_loses_its_beginning(name: str, tmp_path: Path) -> None:
    long = {"id": "x", "subject": "law", "question": "river stone " * 80 + "end?", "answer": 1}
    lines = [long | {"choices": ["a", "a bridge", "the silver road", "b"]}]
    task = make(name, path=str(sets.write(tmp_path / "a.jsonl", lines)))
    (item,) = task.items(source(), lm())
    context = item.data["question"].pairs[0][0]
    longest = max(c.ids.shape[1] for c in item.data["choices"])
    assert item.prompt_length + longest == lm().view.trained_length + 1, "the last token is not fed"
    assert item.prompt_ids[0].tolist() == tokenizer()(context)["input_ids"][-item.prompt_length :]
    (scores,) = values(judge(task, "dense", [item])[0]).values()
    assert np.isfinite(scores["margin"])


def test_where_the_names_part_the_choices_begin(tmp_path: Path) -> None:
    _, (item, *_) = opened("winogrande", tmp_path)
    read = tokenizer().decode(item.prompt_ids[0])
    assert "0 letters for Ben, not Sam, as".startswith(read[:20])
    for choice, name in zip(item.data["choices"], ("Ben", "Sam"), strict=True):
        assert tokenizer().decode(choice.ids[0, -choice.scored :]) == " was late."
        whole = read + tokenizer().decode(choice.ids[0])
        assert whole == f"0 letters for Ben, not Sam, as {name} was late."


def test_a_space_at_the_end_of_a_context_goes_to_the_choice() -> None:
    assert pair_ids(tokenizer(), "The river  ", "road") == pair_ids(tokenizer(), "The river", "  road")
    assert pair_ids(tokenizer(), "", "road") == ([0], tokenizer()("road")["input_ids"])
    assert [common_start(x) for x in ([[1, 2], [1, 3]], [[1], [1, 2]], [[1], [2]])] == [1, 1, 0]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("A man sits in the wilderness. then he", "A man sits in the wilderness. Then he"),
        ("Two men fight over the ball. 50", "Two men fight over the ball. 50"),
        ("Cut it. Stir well.", "Cut it. Stir well."),
        ("no sentence ends here", "no sentence ends here"),
    ],
)
def test_a_sentence_that_breaks_off_begins_with_a_capital(given: str, found: str) -> None:
    assert begun(given) == found


def test_marks_of_sections_are_taken_out() -> None:
    assert tidy(" [header] How to swim [title] Begin. [step] Go in. ") == " How to swim. Begin. Go in."


def test_tags_and_mcnemar(tmp_path: Path) -> None:
    _, items = opened("mmlu", tmp_path)
    assert {i.data["question"].tags["subject"] for i in items} == {"world_religions", "anatomy"}
    rows = [Row(i.id, i.doc, "acc", 1.0, 1.0, i.data["question"].tags) for i in items]
    worse = [Row(r.item, r.doc, "acc", float(n > 5), 1.0, r.tags) for n, r in enumerate(rows)]
    found = next(s for s in summarise({"dense": rows, "worse": worse}, "dense") if s.recipe == "worse")
    assert found.p == pytest.approx(stats.binomtest(6, 6).pvalue), "six lost, none won"
    _, pairs = opened("blimp", tmp_path / "b")
    assert pairs[1].data["question"].tags == {"paradigm": "two", "phenomenon": "kind-two"}


def test_worked_examples_come_before_the_question(tmp_path: Path) -> None:
    to = sets.folder("mmlu", tmp_path)
    shot = {"subject": "anatomy", "question": "Bone? ", "choices": ["w", "x", "y", "z"], "answer": 2}
    sets.write(to / "dev.jsonl", [shot, shot | {"subject": "world_religions", "answer": 3}])
    items = make("mmlu", path=str(to), num_fewshot=1).items(source(), lm())
    head = "The following are multiple choice questions (with answers) about anatomy.\n\n"
    example = "Bone?\nA. w\nB. x\nC. y\nD. z\nAnswer: C\n\n"
    assert items[1].data["question"].pairs[0][0].startswith(f"{head}{example}Number 1?")


def test_another_tokenizer_reads_the_same_texts(tmp_path: Path) -> None:
    task, (item, *_) = opened("piqa", tmp_path)
    other = task.retokenised(item, tokenizer(280))
    assert tokenizer(280).decode(other.prompt_ids[0]) == tokenizer().decode(item.prompt_ids[0])
    for ours, theirs in zip(item.data["choices"], other.data["choices"], strict=True):
        assert tokenizer(280).decode(theirs.ids[0]) == tokenizer().decode(ours.ids[0])
