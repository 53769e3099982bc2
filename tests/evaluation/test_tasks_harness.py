"""YAML files of lm-evaluation-harness: what they ask for by hand, oracles, chance, and refusals that name the key."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from paretolm.bench.plan import still_true
from paretolm.bench.workers.facts import parse_task, task_facts
from paretolm.contracts import Slot
from paretolm.errors import TextError
from paretolm.evaluation.task import Item, Task
from paretolm.evaluation.tasks import make
from tests.evaluation.judging import fake_run, judge, lm, source, tokenizer
from tests.evaluation.sets import described, write

TARGET = {"output_type": "loglikelihood", "doc_to_choice": None, "doc_to_target": " {{choices[answer]}}"}
ANSWER = TARGET | {
    "output_type": "generate_until",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 40, "do_sample": False},
}


def opened(to: Path, **keys: Any) -> tuple[Task, list[Item]]:
    task = make("lm-eval", yaml=str(described(to, **keys)))
    return task, task.items(source(), lm())


def says(item: Item, ids: list[int]):  # type: ignore[no-untyped-def]
    """Logits of a model sure of these tokens after the prompt, and then of its end."""
    told = [*ids, 0]

    def logits(seen: list[int]) -> torch.Tensor:
        at = min(len(seen) - item.prompt_length, len(told) - 1)
        return torch.nn.functional.one_hot(torch.tensor(told[at]), 400) * 20.0

    return logits


def scores(task: Task, item: Item, ids: list[int]) -> dict[str, float]:
    return {r.metric: r.value for r in task.score(fake_run(item, says(item, ids)), item, None).rows}


def test_choices_by_hand(tmp_path: Path) -> None:
    _, items = opened(tmp_path, description="Read.\n\n", target_delimiter="\n")
    question = items[1].data["question"]
    assert question.pairs[1] == (
        "Read.\n\nQuestion: Number 1? Which one is made of stone?\nAnswer:",
        "\na bridge of grey stone",
    )
    assert (question.answer, question.texts[2]) == (1, "paper")


def test_an_oracle_and_its_opposite(tmp_path: Path) -> None:
    task, items = opened(tmp_path)
    for item in items:
        answer = item.data["question"].answer
        right, wrong = (item.data["choices"][i].ids[0].tolist() for i in (answer, (answer + 1) % 4))
        found = scores(task, item, right)
        assert (found["acc"], found["acc_norm"], found["margin"] > 0) == (1, 1, True)
        assert scores(task, item, wrong)["acc"] == 0


def test_a_random_model_is_at_chance(tmp_path: Path) -> None:
    task, _ = opened(tmp_path)
    write(
        tmp_path / "docs.jsonl", ({"question": f"{n}?", "choices": list("abcd"), "answer": n % 4} for n in range(200))
    )

    def dice(seen: list[int]) -> torch.Tensor:
        return torch.from_numpy(np.random.default_rng(zlib.crc32(np.array(seen).tobytes())).standard_normal(400))

    task = make("lm-eval", yaml=str(tmp_path / "task.yaml"))
    items = task.items(source(), lm())
    hits = sum(task.score(fake_run(item, dice), item, None).rows[0].value for item in items)
    assert stats.binomtest(int(hits), len(items), 0.25).pvalue > 1e-3


def test_contexts_that_are_the_choices(tmp_path: Path) -> None:
    """As WinoGrande has it: the text is the number of the right context."""
    keys = {"doc_to_text": "{{answer % 2}}", "doc_to_target": "was late.", "doc_to_choice": ["So Ben", "So Sam"]}
    _, items = opened(tmp_path, **keys)
    assert items[3].data["question"].pairs == [("So Ben", " was late."), ("So Sam", " was late.")]
    assert [i.data["question"].answer for i in items[:3]] == [0, 1, 0]


@pytest.mark.parametrize(
    ("choice", "target"),
    [
        ("{{choices}}", "{{answer}}"),
        ({"a": "x", "b": "y", "c": "z", "d": "w"}, "answer"),
        (["x", "y", "z", "w"], "{{['x', 'y', 'z', 'w'][answer]}}"),
    ],
)
def test_choices_and_targets_in_other_forms(choice: Any, target: str, tmp_path: Path) -> None:
    _, items = opened(tmp_path, doc_to_choice=choice, doc_to_target=target)
    assert [i.data["question"].answer for i in items[:5]] == [0, 1, 2, 3, 0]


def test_only_the_metrics_asked_for_and_margin(tmp_path: Path) -> None:
    task, (item, *_) = opened(tmp_path, metric_list=[{"metric": "acc_bytes"}])
    assert set(scores(task, item, [1])) == {"acc_bytes", "margin"}
    assert task.headline == "acc_bytes"


def test_the_likelihood_of_a_target(tmp_path: Path) -> None:
    task, items = opened(tmp_path, **TARGET)
    (item, *_) = items
    assert item.data["question"].pairs[0][1] == " the river"
    assert scores(task, item, item.data["choices"][0].ids[0].tolist()) == {
        "target_nll": pytest.approx(0, abs=1e-4),
        "acc": 1.0,
    }
    assert scores(task, item, [1])["acc"] == 0.0
    assert task.headline == "target_nll"


def test_whole_texts_in_windows(tmp_path: Path) -> None:
    keys = {"output_type": "loglikelihood_rolling", "doc_to_target": "{{question}}", "doc_to_choice": None}
    task, items = opened(tmp_path, **keys, metric_list=[{"metric": "byte_perplexity"}])
    rows = judge(task, "dense", items)[0]
    assert {r.metric for r in rows} == {"byte_perplexity"}
    assert sum(r.weight for r in rows) == pytest.approx(
        sum(len(f"Number {n}? Which one is made of stone?") for n in range(12))
    )


def test_generated_answers(tmp_path: Path) -> None:
    task, items = opened(tmp_path, **ANSWER)
    assert (task.mode, task.visible(frozenset({Slot.DECODE})), task.headline) == ("generate", True, "exact_match")
    for n, item in enumerate(items[:4]):
        said = [" the river", " a bridge of grey stone", " paper", " morning music"][n]
        assert scores(task, item, tokenizer()(said)["input_ids"]) == {"exact_match": 1.0}
        assert scores(task, item, tokenizer()(" lamp")["input_ids"]) == {"exact_match": 0.0}


def test_filters_one_at_a_time(tmp_path: Path) -> None:
    """The first number, or the last; what does not match is [invalid]."""
    filters = [
        {"name": "first", "filter": [{"function": "regex", "regex_pattern": "([0-9]+)"}, {"function": "take_first"}]},
        {"name": "last", "filter": [{"function": "regex", "regex_pattern": "([0-9]+)", "group_select": -1}]},
    ]
    graded = [{"metric": "exact_match", "regexes_to_ignore": [",", "\\$"], "ignore_case": True}]
    keys = ANSWER | {"doc_to_target": "${{answer}}", "filter_list": filters, "metric_list": graded}
    task, items = opened(tmp_path, **keys)
    both = tokenizer()("1 or 7")["input_ids"]
    assert scores(task, items[1], both)["exact_match"] == 1
    last = make("lm-eval", yaml=str(tmp_path / "task.yaml"), filter="last")
    assert scores(last, last.items(source(), lm())[1], both)["exact_match"] == 0
    assert scores(task, items[1], tokenizer()("one")["input_ids"])["exact_match"] == 0
    with pytest.raises(TextError, match="has no filter 'best', only first, last"):
        make("lm-eval", yaml=str(tmp_path / "task.yaml"), filter="best")


def test_what_is_included_and_worked_examples(tmp_path: Path) -> None:
    described(tmp_path, num_fewshot=2, fewshot_split="dev", fewshot_config={"sampler": "first_n"})
    base = json.loads((tmp_path / "task.yaml").read_text())
    base["dataset_kwargs"]["data_files"]["dev"] = "docs.jsonl"
    (tmp_path / "base.yml").write_text(json.dumps(base))
    (tmp_path / "task.yaml").write_text("include: base.yml\ndescription: 'Think. '\n")
    task = make("lm-eval", yaml=str(tmp_path / "task.yaml"))
    before = task.items(source(), lm())[5].data["question"].pairs[0][0]
    shot = "Question: Number {n}? Which one is made of stone?\nAnswer: {a}\n\n"
    expected = "Think. " + shot.format(n=0, a="the river") + shot.format(n=1, a="a bridge of grey stone")
    assert before.startswith(expected + "Question: Number 5?")
    assert {f.name for f in task.files()} == {"task.yaml", "base.yml", "docs.jsonl"}


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"process_docs": "x"}, r"has process_docs: 'x', which is not supported"),
        ({"repeats": 3}, "has repeats: 3, which is not supported"),
        ({"group": "g"}, "is a group of tasks"),
        ({"task": ["a", "b"]}, "is a group of tasks"),
        ({"class": "x"}, r"is a task written in Python"),
        ({"output_type": "guess"}, "has the output_type guess; supported are multiple_choice"),
        ({"metric_list": [{"metric": "brier_score"}]}, "has the metric brier_score; of multiple_choice acc, acc_norm"),
        ({"num_fewshot": 5}, "draws its num_fewshot: 5 examples at random"),
        (
            {"doc_to_target": "{{nothing}}"},
            r"has a doc_to_target that cannot be filled in for .*line 1: 'nothing' is und",
        ),
        ({"doc_to_target": "9"}, "has a doc_to_target that is none of the 4 choices for .*line 1"),
        ({"doc_to_choice": "{{question}}"}, "has no doc_to_choice that gives two or more"),
        ({"test_split": None}, "names neither a test_split nor a validation_split"),
        ({"test_split": "train"}, "has no data_files of the split train"),
        ({"dataset_path": None}, "has no dataset_path"),
        (
            ANSWER | {"generation_kwargs": {"do_sample": True}},
            r"draws tokens \(do_sample\), and only greedy answers are supported",
        ),
        (ANSWER | {"generation_kwargs": {"num_beams": 2}}, "has num_beams among its generation_kwargs"),
        (ANSWER | {"filter_list": [{"name": "f", "filter": [{"function": "map"}]}]}, "has the filter map"),
        (ANSWER | {"metric_list": [{"metric": "bleu"}]}, "has the metric bleu"),
    ],
)
def test_what_is_not_supported_is_named(keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(TextError, match=rf"task\.yaml {told}"):
        opened(tmp_path, **keys)


def test_files_that_are_none(tmp_path: Path) -> None:
    file = described(tmp_path)
    for text, told in (
        ("doc_to_text: !function utils.text\n", r"has the Python function utils.text as doc_to_text"),
        ("metric_list:\n- metric: !function a.b\n", r"has the Python function a.b as metric_list"),
        ("- a\n", "describes no task"),
        ("a: [\n", "is not YAML"),
        ("include: task.yaml\n", "includes itself"),
        ("include: gone.yaml\n", r"gone\.yaml cannot be read: No such file"),
    ):
        file.write_text(text)
        with pytest.raises(TextError, match=told):
            make("lm-eval", yaml=str(file))
    with pytest.raises(TextError, match=r"lm-eval has no task of its own: give lm-eval\(yaml=\.\.\.\)"):
        make("lm-eval").items(source(), lm())


def test_a_template_cannot_reach_python(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="cannot be filled in"):
        opened(tmp_path, doc_to_text="{{ ''.__class__.__mro__[1].__subclasses__() }}")


def test_a_yaml_is_a_task_of_the_command_line(tmp_path: Path) -> None:
    file = described(tmp_path)
    assert parse_task(str(file), 3) == make("lm-eval", yaml=str(file), seed=3)
    facts = task_facts(lm(), str(file), source(), 0, None)
    assert (facts["name"], facts["num_items"], facts["headline"]) == ("lm-eval", 12, "acc")
    assert still_true(facts)
    (tmp_path / "docs.jsonl").write_text('{"question": "Q", "choices": ["a", "b"], "answer": 1}\n')
    assert not still_true(facts)
