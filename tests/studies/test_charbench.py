"""Characters in words as a study: properties of tokens by hand, the task's own scores, and correlations that must be there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paretolm import studies
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks.characters._words import Asked
from paretolm.studies import charbench
from paretolm.studies.charbench import FORMS, _above, _constant_right, _properties, _scored
from paretolm.studies.study import Place
from tests.evaluation.judging import judge, lm, source, tokenizer


def test_tokens_of_a_word_by_hand() -> None:
    """The tiny tokenizer knows no word of these but `river`, which it cuts where the quotes let it."""
    asked = Asked("last_position", "river", "r")
    found = _properties(asked, tokenizer())
    assert "".join(found["tokens"]) == "river"
    assert found["num_tokens"] == len(found["tokens"])
    assert (found["word_length"], found["answer"], found["answer_over_length"]) == (5, 4, 0.8)
    assert found["token_length"] == len(found["tokens"][-1])
    assert found["characters_a_token"] == 5 / found["num_tokens"]
    assert _properties(Asked("first_position", "river", "i"), tokenizer())["token_length"] == len(
        next(t for i, t in enumerate(found["tokens"]) if sum(map(len, found["tokens"][: i + 1])) > 1)
    )
    assert _properties(Asked("count_unique", "river", "i"), tokenizer())["token_length"] is None


@pytest.mark.parametrize("form", FORMS)
def test_scores_are_those_of_the_task(form: str) -> None:
    name, metric = FORMS[form]
    task = make(name, limit=12, num_fewshot=1)
    items = task.items(source(), lm())
    rows = {r.item: r.value for r in judge(task, "dense", items)[0] if r.metric == metric}
    assert {i.id: right for i, right in _scored(lm(), task, Place(), metric)} == rows


def test_the_best_constant_by_hand() -> None:
    facts = [
        {"kind": k, "answer": a, "word": f"{n}", "right": a == 4}
        for n, (k, a) in enumerate((("a", 1), ("a", 1), ("a", 2), ("b", 3), ("b", 4)))
    ]
    assert _constant_right(facts) == [True, True, False, True, False]
    assert _above(facts, 0).value == pytest.approx(100 * (1 - 3) / 5)


def test_what_is_wrong_for_long_tokens_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A model that finds characters in tokens of at most two: planted, so that the study has to print it."""

    def planted(model: Any, task: Any, at: Place, metric: str) -> Any:
        for record, item in zip(task.records(), task.items(at.source, model), strict=True):
            held = _properties(record.fields["asked"], tokenizer())["token_length"]
            yield item, float(held is None or held <= 2)

    monkeypatch.setattr(charbench, "_scored", planted)
    monkeypatch.setattr(Place, "load", lambda *_: lm())
    monkeypatch.setattr(Place, "content", lambda *_: "hash")
    found = studies.find("charbench")(items=112, num_fewshot=0).run(Place(output=tmp_path))
    r = found.numbers["correlation, chosen, positions, token_length"]
    assert r.high is not None
    assert r.value < r.high < -0.4
    assert found.numbers["accuracy, chosen, count unique"].value == 100
    assert found.numbers["correlation, chosen, counts, word_length"].n == 0, "always right: nothing to be told"


def test_a_run_prints_accuracy_and_correlations(run, saved: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, err = run("study", "charbench(items=28, num_fewshot=0)", str(saved), "-o", "out", "-q", "--json")
    assert code == 0, err
    numbers = json.loads(out.splitlines()[-1])["numbers"]
    rows = [json.loads(x) for x in Path("out/charbench.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 28
    chosen = [r["right"] for r in rows if r["form"] == "chosen"]
    assert numbers["accuracy, chosen, all"]["value"] == pytest.approx(100 * sum(chosen) / 28)
    assert numbers["accuracy, generated, all"]["n"] == 28
    assert all(r["tokens"] and "".join(r["tokens"]) == r["word"] for r in rows)
