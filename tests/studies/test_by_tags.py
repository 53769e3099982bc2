"""Benchmark tasks as studies: tables by hand, and an oracle in the place of a model."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from paretolm.evaluation.tasks.context import l_eval as l_eval_task
from paretolm.studies import _by_tags, l_eval, licon_bench, m4le, needle_threading
from paretolm.studies._by_tags import Answered, average, by, curves, difference, grid
from paretolm.studies.study import Findings, Place
from tests.evaluation.asked import item_of
from tests.evaluation.judging import lm, source


def one(number: int, length: int, kind: str, value: float) -> Answered:
    return Answered(f"i{number}", f"d{number}", {"length": length, "kind": kind}, {"f1": value}, {"characters": length})


ITEMS = {"tiny": [one(0, 20, "a", 1.0), one(1, 10, "a", 0.5), one(2, 10, "b", 0.0), one(3, 10, "a", 1.0)]}


def test_a_grid_by_hand() -> None:
    table = grid("f1", ITEMS, "f1", "kind", "length")
    assert [c.name for c in table.columns] == ["model", "kind", "length 10", "length 20", "all", "items"]
    assert table.rows == (("tiny", "a", 75.0, 100.0, pytest.approx(250 / 3), 3), ("tiny", "b", 0.0, None, 0.0, 1))


def test_groups_curves_and_differences_by_hand() -> None:
    assert list(by(ITEMS["tiny"], "length")) == [10, 20], "numbers in order"
    assert list(by(ITEMS["tiny"], "kind")) == ["a", "b"]
    first, _ = curves("c", ITEMS, "f1", "kind", "length", lambda i: 2.0 * float(i.tags["length"])).lines
    assert (first.name, first.x, first.y) == ("a", (20.0, 40.0), (75.0, 100.0))
    found = difference([one(0, 1, "a", 1.0), one(1, 1, "a", 0.0)], [one(2, 1, "a", 0.0)], "f1")
    assert (found.value, found.n) == (50.0, 3)
    assert found.high == pytest.approx(50 + 1.96 * (5000 / 2) ** 0.5)
    assert average([1.0, 3.0], ["x", "y"], "%").value == 2.0


def oracle(right: bool) -> Any:
    """Stands for `answered`: every item, scored as a model that says the right answer, or nothing."""

    def answers(at: Place, line: str, seed: int) -> dict[str, list[Answered]]:
        from paretolm.bench.workers.facts import parse_task

        task: Any = parse_task(line, seed)
        found = []
        for question in task.questions(source(), lm()):
            said = question.answers[0] if right else " -"
            facts = {
                "output": said,
                "characters": len(question.prompt),
                "prompt": item_of(task, question).prompt_length,
            }
            values = {k: float(v) for k, v in task.grade(said, question).items()}
            found.append(Answered(question.id, question.doc, question.tags, values, facts | dict(question.facts)))
        return {"tiny": found}

    return answers


STUDIES: list[tuple[ModuleType, Any]] = [
    (needle_threading, needle_threading.NeedleThreadingStudy(form="number", lengths=(5.0, 8.0), repeats=2)),
    (m4le, m4le.M4leStudy(lengths=(8.0, 12.0), repeats=1)),
    (l_eval, l_eval.LEvalStudy(length=1536, limit=1)),
    (licon_bench, licon_bench.LiconBenchStudy(lengths=(12.0, 16.0), queries=3)),
]


def ran(module: ModuleType, study: Any, right: bool, monkeypatch: pytest.MonkeyPatch) -> Findings:
    monkeypatch.setattr(module, "answered", oracle(right))
    found: Findings = study.run(Place(("tiny",)))
    assert found.rows
    assert found.lines()
    assert all("output" in row for row in found.rows), "every output is kept"
    return found


SHARES = ("values found", "f1", "exact_match", "rouge_l", "right", "at the shortest", "said a label")


@pytest.mark.parametrize(("module", "study"), STUDIES, ids=lambda x: getattr(x, "name", ""))
def test_right_answers_score_all_and_none_nothing(
    module: ModuleType, study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for right, value in ((True, 100.0), (False, 0.0)):
        numbers = ran(module, study, right, monkeypatch).numbers
        found = {k: n.value for k, n in numbers.items() if k.endswith(SHARES)}
        assert found
        assert set(found.values()) == {value}, found
    assert set(_by_tags.SOURCES) <= set(study.sources())


def test_effective_length_is_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ran(*STUDIES[0], True, monkeypatch)
    longest = max(row["characters"] for row in found.rows if row["kind"] == "single")
    assert 0.9 * longest <= found.numbers["single: effective length"].value <= longest
    assert ran(*STUDIES[0], False, monkeypatch).numbers["single: effective length"].value == 0


def test_the_task_of_l_eval_reads_whole_documents_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert l_eval_task.LEval(length=1536).length == 1536
    (table,) = ran(*STUDIES[2], True, monkeypatch).tables
    assert {row[1] for row in table.rows} == {"closed", "open"}
    assert all(row[3] == 100 if row[1] == "closed" else row[4] == 100 for row in table.rows)
