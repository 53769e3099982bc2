"""A YAML read by lm-evaluation-harness and by us: the same prompts, scores and graded answers.

Behind the extra: pip install 'paretolm[lm-eval]', then pytest tests/agreement."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from paretolm.evaluation.tasks import make
from tests.agreement import items
from tests.agreement.test_lm_eval import CLOSE, SHIPPED, lm, ours, pytestmark  # noqa: F401  (marks this module too)
from tests.evaluation.sets import write

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
LOCAL = ["arc-easy", "piqa", "openbookqa", "mmlu", "lambada", "blimp"]


def numbers(count: int = 16) -> list[dict[str, Any]]:
    return [
        {"question": f"What is {n} and {n + 1}?", "answer": f"{2 * n + 1}", "page": s}
        for n, s in enumerate(items.drawn(7, count))
    ]


GENERATED = {
    "output_type": "generate_until",
    "description": "Short answers. ",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n", "Question:"], "do_sample": False, "max_gen_toks": 24},
    "filter_list": [
        {
            "name": "last",
            "filter": [
                {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"},
                {"function": "take_first"},
            ],
        }
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True}],
}
ROLLING = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{page|regex_replace('the', 'a')}}",
    "metric_list": [{"metric": m} for m in ("word_perplexity", "bits_per_byte")],
}
SHOTS = {
    "output_type": "loglikelihood",
    "num_fewshot": 2,
    "fewshot_split": "dev",
    "fewshot_config": {"sampler": "first_n"},
    "description": "Sums.\n",
    "doc_to_text": "{{question}}",
    "doc_to_target": " {{answer}}",
    "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
}


def file_of(config: dict[str, Any], rows: list[dict[str, Any]], to: Path) -> Path:
    """A YAML whose items are these, and whose examples are others."""
    split = config.get("test_split") or config.get("validation_split") or "test"
    data = {split: str(write(to / "data.jsonl", rows))}
    if config.get("num_fewshot"):
        data["dev"] = str(write(to / "dev.jsonl", numbers(3)))
    local = {"task": "brought", "test_split": split, "dataset_path": "json", "dataset_kwargs": {"data_files": data}}
    nothing = dict.fromkeys(("dataset_name", "training_split", "validation_split"))
    file = to / "task.yaml"
    file.write_text(yaml.safe_dump(config | nothing | local), encoding="utf-8")
    return file


def theirs(file: Path) -> tuple[dict[str, float], list[dict[str, Any]]]:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    from tests.agreement.standard import evaluated

    return evaluated(lm(), ConfigurableTask(config=load_yaml(file)))


def compare(file: Path) -> list[dict[str, Any]]:
    expected, samples = theirs(file)
    found, _ = ours(make("lm-eval", yaml=str(file)))
    compared = {key.partition(",")[0]: v for key, v in expected.items() if "," in key and "stderr" not in key}
    names = {"perplexity": "target_nll"}
    assert compared
    for metric, value in compared.items():
        assert found[names.get(metric, metric)] == pytest.approx(value, rel=CLOSE), metric
    return samples


@pytest.mark.parametrize("name", LOCAL)
def test_files_that_come_with_it(name: str, tmp_path: Path) -> None:
    """Included from where they are, on items of the same columns."""
    from tests.agreement.standard import TASKS

    shipped = TASKS / SHIPPED[name]
    include = {"include": str(shipped), "fewshot_split": None, "fewshot_config": None}
    compare(file_of(include, items.rows(name, 12), tmp_path))


@pytest.mark.parametrize("config", [GENERATED, ROLLING, SHOTS], ids=["generated", "rolling", "shots"])
def test_files_of_a_user(config: dict[str, Any], tmp_path: Path) -> None:
    file = file_of(config, numbers(), tmp_path)
    samples = compare(file)
    if config is SHOTS:
        items_ = make("lm-eval", yaml=str(file)).items(None, lm())  # type: ignore[arg-type]
        asked = [(s["arguments"][0][0], s["arguments"][0][1]) for s in samples]
        assert [i.data["question"].pairs[0] for i in items_] == asked


def test_graded_answers_one_by_one(tmp_path: Path) -> None:
    """Answers made to match by their own greedy text, so that the share is neither 0 nor 1."""
    rows = numbers(8)
    _, samples = theirs(file_of(GENERATED, rows, tmp_path / "a"))
    for row, sample in list(zip(rows, samples, strict=True))[::2]:
        row["answer"] = str(sample["filtered_resps"][0])
    expected, _ = theirs(file_of(GENERATED, rows, tmp_path / "b"))
    assert 0 < expected["exact_match,last"] < 1
    compare(tmp_path / "b" / "task.yaml")


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs pip install 'paretolm[hub]'")
def test_a_set_that_the_datasets_library_reads(tmp_path: Path) -> None:
    """A folder stands in for a hub: the library reads both by one call."""
    write(tmp_path / "set" / "test.jsonl", items.rows("arc-easy", 5))
    by_library = make("arc-easy", path=f"hub:{tmp_path / 'set'}")
    by_file = make("arc-easy", path=str(tmp_path / "set" / "test.jsonl"))
    ids = [[(i.id, i.prompt_ids.tolist()) for i in task.items(None, lm())] for task in (by_library, by_file)]  # type: ignore[arg-type]
    assert ids[0] == ids[1]
    assert all(f.is_file() for f in by_library.files())
    assert by_library.files()
