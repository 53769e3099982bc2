"""Pruned versions: losses, rank correlations and gains with known answers; text of a task; a whole small run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from paretolm.errors import RecipeError
from paretolm.evaluation._files import Raw
from paretolm.evaluation.rows import Row
from paretolm.evaluation.source import TextSource
from paretolm.evaluation.tasks import make
from paretolm.studies import parse
from paretolm.studies._pruned import GENERAL, TASK, Losses, Version, correlations, gain, kept, rank_correlation
from paretolm.studies._versions import Bench, planted_texts
from paretolm.studies.js_compression_eval import JsCompressionEval
from paretolm.studies.study import Place
from tests.evaluation import judging


def version(
    right: int, nll: float, js: float, method: str = "wanda", on: str = GENERAL, sparsity: float = 0.5
) -> Version:
    """`right` of 20 answers, of 10 documents each with the same nll."""
    text = [
        {"item": "s", "doc": f"d{i}", "metric": "nll", "value": nll + i / 10, "weight": 1.0, "tags": {}}
        for i in range(10)
    ]
    scores = {"recall": {f"i{n}": float(n < right) for n in range(20)}}
    return Version(method, sparsity, on, text, js, scores)


DENSE = version(20, 3.0, 0.0, "dense")


def test_losses_by_hand() -> None:
    lost = Losses(DENSE, [version(15, 3, 0), version(20, 3, 0)], seed=0)
    assert lost.mean.tolist() == [25, 0]
    assert lost.by_task.shape == (2, 1)
    low, high = np.percentile(lost.drawn[:, 0], [2.5, 97.5])
    assert low < 25 < high
    assert not lost.drawn[:, 1].any(), "what loses nothing loses nothing in any draw"


def test_the_measure_that_orders_losses_is_ahead() -> None:
    """Divergence rises with the loss, perplexity falls: correlations 1 and -1 whatever is drawn, 2 apart."""
    versions = [version(20 - 6 * k, 3 - k / 10, 0.1 * k) for k in range(4)]
    found = correlations(versions, Losses(DENSE, versions, seed=0))
    assert found["rank correlation of js and task loss"].value == 1
    assert found["rank correlation of perplexity and task loss"].value == -1
    ahead = found["the same, js minus perplexity"]
    assert ahead.value == 2
    assert ahead.low is not None
    assert ahead.low > 1


def test_no_order_is_no_correlation() -> None:
    assert rank_correlation([1, 2, 3], [5, 5, 5]) == 0
    assert rank_correlation([1, 2, 3], [1, 3, 2]) == 0.5


def test_a_rise_of_perplexity_in_percent() -> None:
    one = version(10, 3 + np.log(1.2), 0.1)
    found = kept(DENSE, [one], Losses(DENSE, [one], seed=0), seed=0)
    assert found["wanda at 0.5, rise of perplexity"].value == pytest.approx(20)
    assert found["wanda at 0.5, task loss"].value == 50


def test_a_gain_is_the_mean_over_sparsities() -> None:
    """4 and 2 answers more of 20."""
    made = [(10, GENERAL, 0.3), (14, TASK, 0.3), (3, GENERAL, 0.7), (5, TASK, 0.7)]
    found = gain([version(r, 3, 0, "wanda", on, s) for r, on, s in made], "wanda", "recall", seed=0)
    assert found.value == pytest.approx(15)
    assert found.low is not None
    assert found.low > 0


def test_text_of_the_task_asks_and_answers() -> None:
    lm: Any = SimpleNamespace(tokenizer=judging.tokenizer(), view=SimpleNamespace(trained_length=600))
    documents = [judging.document(i, sentences=150) for i in range(4)]
    texts = planted_texts(lm, documents, seed=0)
    assert texts == planted_texts(lm, documents, seed=0)
    assert texts != planted_texts(lm, documents, seed=1)
    asked = [t for t in texts if "Question:" in t and "Answer:" in t]
    assert len(asked) > len(texts) / 2
    assert all(len(judging.tokenizer()(t)["input_ids"]) <= 600 for t in texts), "a piece stays one piece"


def tasks() -> dict[str, tuple[object, Sequence[object]]]:
    made = {
        "perplexity": make("perplexity", length=64, streams=1, documents=4, audit=0),
        "divergence": make("divergence", length=64, streams=1, positions=4),
        "recall": make("recall", lengths=(2.0,), depths=(0.5,), repeats=2),
        "closed-book": make("closed-book", limit=3),
    }
    return {name: (task, task.items(judging.source(), judging.lm())) for name, task in made.items()}


def test_nothing_pruned_is_the_whole_model() -> None:
    bench = Bench(judging.lm(), tasks())  # type: ignore[arg-type]
    whole = bench.dense()
    same = bench.version("wanda(sparsity=0, nsamples=1)", [judging.document(0)])
    rows: list[Row] = [r for name in whole for r in same[name]]
    assert rows == [r for name in whole for r in whole[name]]
    other = bench.version("magnitude(sparsity=0.9)", [])
    assert max(r.value for r in other["divergence"] if r.metric == "js") > 0.01


def test_a_whole_run_and_its_resumption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "load", lambda self, model: judging.lm())
    monkeypatch.setattr(Place, "content", lambda self, model: "tiny")
    raws = [Raw(f"d{i}", judging.document(i), "", split="fit" if i < 3 else "eval") for i in range(8)]
    monkeypatch.setattr(Place, "source", TextSource.of(raws, "text"))
    monkeypatch.setattr(JsCompressionEval, "_tasks", lambda self, lm, at: tasks())
    study = JsCompressionEval(sparsities=(0.5, 0.9), nsamples=1)
    found = study.run(Place(output=tmp_path))
    assert [len(t.rows) for t in found.tables] == [1 + 6 + 4, 2, 4]
    assert {"gain of wanda by task text", "sparsegpt at 0.9, task loss", "the same, js minus perplexity"} <= set(
        found.numbers
    )
    monkeypatch.setattr(Bench, "version", None)  # nothing is measured again
    assert study.run(Place(output=tmp_path)).to_dict() == found.to_dict()


@pytest.mark.parametrize("knobs", ["sparsities=0.5", "sparsities=0.5/0.5", "sparsities=0.5/1.0"])
def test_sparsities_out_of_range(knobs: str) -> None:
    with pytest.raises(RecipeError, match="two or more numbers between 0 and 1"):
        parse(f"js-compression-eval({knobs})")
