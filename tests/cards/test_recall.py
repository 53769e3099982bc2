"""Recall's cells: as many questions as asked for, each in one cell and one depth."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from paretolm.cards import recall as module
from paretolm.cards.recall import recall
from paretolm.evaluation.rows import Row
from tests.cards.made import roomy
from tests.evaluation import judging


def test_counts_by_cell_and_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that finds literal facts in the second half and nothing else."""

    def judge(lm: object, task: object, source: object, tell: object) -> list[Row]:
        cells = [
            {"kind": kind, "num_facts": num, "depth": depth, "length": length}
            for kind in task.kinds
            for num in task.num_facts
            for depth in task.depths
            for length in task.lengths
        ] * task.repeats
        rows = [
            Row(f"{i}", "d", "recall", float(c["kind"] == "literal" and c["depth"] > 0.5), 1.0, c)
            for i, c in enumerate(cells)
        ]
        return [*rows, Row("0", "d", "answer_logprob", -1.0, 1.0, cells[0])]

    monkeypatch.setattr(module, "judged", judge)
    lm = SimpleNamespace(view=SimpleNamespace(trained_length=1024))
    found = recall(lm, judging.source(), 100)
    told = {
        (c["kind"], c["num_facts"]): (c["trials"], c["value"], [d["value"] for d in c["by_depth"]])
        for c in found["cells"]
    }
    literal, none = (100, 0.4, [0, 0, 0, 1, 1]), (100, 0, [0] * 5)
    assert told == {(k, n): literal if k == "literal" else none for k in ("literal", "paraphrased") for n in (1, 2, 4)}
    assert all(d["trials"] == 20 for c in found["cells"] for d in c["by_depth"])


def test_a_real_model_is_asked() -> None:
    found = recall(roomy(), judging.source(), 10, kinds=("literal",), num_facts=(1, 2))
    assert [(c["num_facts"], c["trials"], len(c["by_depth"])) for c in found["cells"]] == [(1, 10, 5), (2, 10, 5)]
    assert all(0 <= c["low"] <= c["value"] <= c["high"] <= 1 for c in found["cells"])
