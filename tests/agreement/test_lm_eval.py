"""The same model and the same items in lm-evaluation-harness and here: equal scores.

Behind the extra: pip install 'paretolm[lm-eval]', then pytest tests/agreement."""

from __future__ import annotations

import importlib.util
import math
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import paretolm
from paretolm.bridge.lm import LM
from paretolm.cards.judged import judged
from paretolm.evaluation._files import Raw
from paretolm.evaluation.rows import Row
from paretolm.evaluation.source import TextSource
from paretolm.evaluation.summary import summarise
from paretolm.evaluation.task import Task
from paretolm.evaluation.tasks import make
from tests.agreement import items
from tests.evaluation.sets import write

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("lm_eval") is None,
        reason="lm-evaluation-harness is not installed: pip install 'paretolm[lm-eval]'",
    ),
    pytest.mark.filterwarnings("ignore"),  # those of other packages are not ours to mend
]
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
CLOSE = 1e-4
SHIPPED = {
    "arc-easy": "arc/arc_easy.yaml",
    "arc-challenge": "arc/arc_challenge.yaml",
    "piqa": "piqa/piqa.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "winogrande": "winogrande/default.yaml",
    "mmlu": "mmlu/default/mmlu_anatomy.yaml",
    "blimp": "blimp/adjunct_island.yaml",
    "lambada": "lambada/lambada_openai.yaml",
}


@cache
def lm() -> LM:
    return paretolm.load("reference")


def ours(task: Task, source: TextSource | None = None) -> tuple[dict[str, float], list[Row]]:
    """Metric -> what the table shows, and the rows."""
    rows = judged(lm(), task, source or TextSource.of([Raw("d", "A text.", "", split="eval")], "text"))
    return {s.metric: s.mean for s in summarise({"dense": rows}, "dense")}, rows


@pytest.mark.parametrize("name", SHIPPED)
def test_the_tasks_that_come_with_it_give_the_same_scores(name: str, tmp_path: Path) -> None:
    from tests.agreement.standard import evaluated, shipped

    rows = items.rows(name)
    theirs, samples = evaluated(lm(), shipped(SHIPPED[name], rows, tmp_path / "theirs"))
    found, own = ours(make(name, path=str(write(tmp_path / "test.jsonl", rows))))
    compared = {key.partition(",")[0]: value for key, value in theirs.items() if key.endswith(",none")}
    compared = {key: value for key, value in compared.items() if key in ("acc", "acc_norm", "perplexity")}
    assert compared
    for metric, value in compared.items():
        mine = found["word_nll" if metric == "perplexity" else metric]
        assert mine == pytest.approx(value, rel=CLOSE), metric
    if name == "lambada":
        nll = [-s["resps"][0][0][0] for s in samples]
        assert [r.value for r in own if r.metric == "word_nll"] == pytest.approx(nll, abs=CLOSE)
        return
    margins = []
    for sample, row in zip(samples, rows, strict=True):
        lls = [r[0][0] for r in sample["resps"]]
        target = int(row["answer"]) - 1 if name == "winogrande" else int(sample["target"])
        margins.append(lls[target] - max(x for i, x in enumerate(lls) if i != target))
    mine = np.array([r.value for r in own if r.metric == "margin"])
    assert np.abs(mine - margins).max() < 2 * CLOSE  # nats of sums over 25 tokens, read in other pieces


def texts() -> list[Raw]:
    """Texts longer than a window, one as long as a window, and short ones."""
    found = [(d.id, d.text[: 900 * (i + 1)]) for i, d in enumerate(TextSource.open().eval_documents[:6])]
    return [Raw(name, text, "", split="eval") for name, text in found]


@pytest.mark.parametrize("length", [None, 100])
def test_perplexity_in_disjoint_windows(length: int | None, tmp_path: Path) -> None:
    from lm_eval.api.task import ConfigurableTask

    from tests.agreement.standard import evaluated, model

    raws = texts()
    file = write(tmp_path / "docs.jsonl", [{"page": r.text} for r in raws])
    config = {
        "task": "pages",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{page}}",
        "metric_list": [{"metric": m} for m in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
    }
    harness = model(lm())
    assert harness.max_length == lm().view.trained_length
    harness._max_length = length
    try:
        theirs, samples = evaluated(lm(), ConfigurableTask(config=config))
    finally:
        harness._max_length = None
    source = TextSource.of([*raws, *(Raw(f"x{i}", f"Short text {i}.", "", split="fit") for i in range(20))], "t")
    found, rows = ours(make("rolling-perplexity", length=length), source)
    for metric in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert found[metric] == pytest.approx(theirs[f"{metric},none"], rel=CLOSE)
    by_document: dict[str, float] = {}
    for row in rows:
        if row.metric == "bits_per_byte":
            by_document[row.doc] = by_document.get(row.doc, 0.0) + row.value * row.weight * math.log(2)
    logged = {s["doc"]["page"]: -s["resps"][0][0] for s in samples}
    assert [by_document[r.id] for r in raws] == pytest.approx([logged[r.text] for r in raws], rel=CLOSE)


def test_windows_are_those_of_its_own_function() -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    from paretolm.evaluation.tasks._rolling import windows

    for count in (1, 7, 8, 9, 15, 16, 17, 40):
        for length, context in ((8, 1), (8, 3), (8, 8), (5, 2)):
            tokens = list(range(1, count + 1))
            theirs = map(make_disjoint_window, get_rolling_token_windows(tokens, 0, length, context))
            ids = [0, *tokens]
            assert [(ids[a:b], ids[b:c]) for a, b, c in windows(count, length, context)] == list(theirs)


SPANS = [
    ("The cat sat.", ["the cat", "a cat sat"]),
    ("an apple, a pear", ["apple pear"]),
    ("", ["no"]),
    ("in 1999!", ["1999", "in the year 1999"]),
]  # an answer of articles alone is right by the script of SQuAD 2, as here, and has F1 0 by that of SQuAD 1.1


@pytest.mark.parametrize(("said", "answers"), SPANS)
def test_answers_are_graded_as_its_port_of_squad_s_script_does(said: str, answers: list[str]) -> None:
    from lm_eval.tasks.mlqa.utils import exact_match_score, f1_score

    from paretolm.evaluation.metrics.answers import exact_match, f1

    assert exact_match(said, answers) == any(exact_match_score(said, a, "en") for a in answers)
    assert f1(said, answers) == pytest.approx(max(f1_score(said, a, "en") for a in answers))


def test_squad_is_answered_with_the_same_texts(tmp_path: Path) -> None:
    """Greedy answers of the same prompts, up to the first line break."""
    from lm_eval.api.instance import Instance

    from paretolm.evaluation.metrics.answers import f1
    from tests.agreement.standard import model

    rows = []
    for number in range(12):
        said = items.drawn(number, 3)
        answer = said[1].split()[0]
        rows.append({"title": "Sea", "context": " ".join(said), "question": f"What comes after {said[0]}?"})
        rows[-1]["answers"] = {"text": [answer], "answer_start": [0]}
    task = make("squad", path=str(write(tmp_path / "test.jsonl", rows)))
    prompts = [
        f"Title: {r['title']}\n\nBackground: {r['context']}\n\nQuestion: {r['question']}\n\nAnswer:" for r in rows
    ]
    asked = [Instance("generate_until", {}, (p, {"until": ["\n"], "max_gen_toks": 32}), 0) for p in prompts]
    theirs = model(lm()).generate_until(asked, disable_tqdm=True)
    assert any(t.strip() for t in theirs)
    _, found = ours(task)
    graded = [f1(said, r["answers"]["text"]) for said, r in zip(theirs, rows, strict=True)]
    assert [r.value for r in found if r.metric == "f1"] == pytest.approx(graded)
