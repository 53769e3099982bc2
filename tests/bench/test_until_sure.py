"""--until-sure: scoring ends where a difference is decided, on items that both sides have, and goes on from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from paretolm.bench.compare import asked_sure, compare
from paretolm.bench.plan import DENSE, Cell
from paretolm.bench.records.store import Store
from paretolm.bench.report import text as words
from paretolm.bench.results.decisions import sequential_estimates
from paretolm.bench.results.types import CellResult, Comparison
from paretolm.bench.until import Docket, Sure
from paretolm.bench.workers.arm import make_arm
from paretolm.bench.workers.measure import TaskRun
from paretolm.bench.workers.referee import FEWEST, Referee, by_document
from paretolm.errors import UserError
from paretolm.evaluation.rows import Row
from paretolm.evaluation.sequential import Bounds, Rule, decide
from paretolm.evaluation.task import Base, Item, Run, Task
from paretolm.evaluation.task import Scored as TaskScored
from paretolm.evaluation.tasks.text.divergence import Divergence
from paretolm.evaluation.tasks.text.perplexity import Perplexity
from paretolm.recipes.recipe import Recipe
from tests.evaluation import judging

SAME, WORSE, NOISY = "window(window=40)", "window(window=16)", "window(window=8)"
LOSS = {"dense": 0.0, SAME: 0.0, WORSE: 0.4, NOISY: 0.015}
SPREAD = {"dense": 0.0, SAME: 0.001, WORSE: 0.05, NOISY: 0.4}


@dataclass(frozen=True, kw_only=True)
class Made(Task):
    """nll of a document drawn by its number: the recipe says how much is lost, nothing is read but the prompt."""

    name: ClassVar[str] = "made"
    headline: ClassVar[str] = "nll"

    num_items: int = 120
    per_document: int = 1
    breaks: str = ""

    def items(self, source: Any = None, lm: Any = None) -> list[Item]:
        ids = judging.torch.ones(1, 4, dtype=judging.torch.long)
        return [Item(f"i{i}", f"d{i // self.per_document}", ids) for i in range(self.num_items)]

    def score(self, run: Run, item: Item, base: Base | None) -> TaskScored:
        name = str(run.session.recipe)
        if name == self.breaks and item.id == "i100":
            raise RuntimeError("broken by the test")
        doc = int(item.doc[1:])
        rng = np.random.default_rng([doc, sorted(LOSS).index(name)])
        value = 3 + np.sin(doc) + LOSS[name] + SPREAD[name] * rng.standard_normal()
        return TaskScored([Row(item.id, item.doc, "nll", float(value), 10.0)])


@pytest.fixture
def store(tmp_path: Path) -> Iterable[Store]:
    with Store(tmp_path / "results.sqlite") as opened:
        yield opened


@dataclass
class Bench:
    """A task's run with a referee, as the worker sets it up."""

    store: Store
    task: Made = field(default_factory=Made)
    recipes: tuple[str, ...] = ("dense", SAME, WORSE, NOISY)
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def run(self, margin: float = 0.02) -> dict[str, Any]:
        """Recipe -> its decision."""
        items = by_document(self.task.items())
        self.store.plan({line: {} for line in self.recipes})
        taken = self.store.claim(list(self.recipes))
        names = {item.id for item in items}
        arms = [
            make_arm(judging.lm(), line, Recipe.parse(line), {}, names - self.store.item_names(line)) for line in taken
        ]
        memos = {line: f"{line} at {margin}" for line in self.recipes if line != "dense"}
        rule = Rule(margin, recipes=len(memos))
        referee = Referee(self.store, items, "nll", rule, "dense", dict(memos))
        TaskRun(judging.lm(), self.task, items, arms, self.store, self.events.append, referee=referee).run()
        return {line: self.store.recall(memo) for line, memo in memos.items()}

    def counts(self) -> dict[str, int]:
        return {line: len(self.store.item_names(line)) for line in self.recipes}

    def states(self) -> dict[str, str]:
        return {key: record.state for key, record in self.store.cells(self.recipes).items()}


def test_each_recipe_is_scored_until_it_is_decided(store: Store) -> None:
    bench = Bench(store)
    found = bench.run()
    assert {line: d["word"] for line, d in found.items()} == {SAME: "same", WORSE: "worse", NOISY: "undecided"}
    counts = bench.counts()
    assert counts[SAME] < 100, "a plain case needs a part of the items"
    assert counts[WORSE] < 100
    assert counts["dense"] == counts[NOISY] == 120, "the untouched model has the items of whoever needed most"
    assert bench.states() == {"dense": "done", SAME: "partial", WORSE: "partial", NOISY: "done"}
    for line, decision in found.items():
        assert store.item_names(line) == set(decision["items"])
        assert decision["of"] == 120
    assert sorted(e["cell"] for e in bench.events if e["event"] == "done") == sorted(bench.recipes)


def test_the_untouched_model_stops_with_the_last_recipe(store: Store) -> None:
    bench = Bench(store, recipes=("dense", SAME, WORSE))
    bench.run()
    counts = bench.counts()
    assert counts["dense"] == max(counts[SAME], counts[WORSE]) < 120
    assert bench.states()["dense"] == "partial"


def test_a_decision_is_that_of_the_test_on_the_documents_in_order(store: Store) -> None:
    found = Bench(store).run()[WORSE]
    rows = {line: {s.item: s.rows[0].value for s in store.items(line)} for line in ("dense", WORSE)}
    differences = np.array([rows[WORSE][i] - rows["dense"][i] for i in found["items"]])
    expected = decide(10 * differences, np.full(len(differences), 10.0), Rule(0.02, recipes=3))
    assert (found["word"], found["after"]) == (expected.word, expected.after)
    assert found["e_value"] == pytest.approx(expected.e_value)
    assert found["after"] <= found["documents"] == len(found["items"])


def test_what_was_scored_before_changes_neither_decisions_nor_items(store: Store, tmp_path: Path) -> None:
    """Killed after some items, or complete already: the same decisions at the same looks."""
    fresh = Bench(store).run()
    with Store(tmp_path / "other.sqlite") as other:
        other.plan({line: {} for line in LOSS})
        for line in LOSS:
            for one in store.items(line)[:: 1 if line == SAME else 3]:
                other.add([(line, one)])
        assert Bench(other).run() == fresh
        assert Bench(other).counts() == Bench(store).counts()
    with Store(tmp_path / "whole.sqlite") as whole:
        whole.plan({line: {} for line in LOSS})
        items = Made().items()
        arms = [make_arm(judging.lm(), line, Recipe.parse(line), {}, {i.id for i in items}) for line in LOSS]
        TaskRun(judging.lm(), Made(), items, arms, whole, lambda _: None).run()
        again = Bench(whole)
        assert again.run() == fresh
        assert not [e for e in again.events if e["event"] == "progress"], "nothing is scored again"


def test_a_stricter_margin_goes_on_where_the_first_one_stopped(store: Store) -> None:
    bench = Bench(store, recipes=("dense", SAME))
    before = bench.run(margin=0.02)[SAME]["items"]
    kept = {s.item: s.rows for s in store.items(SAME)}
    after = bench.run(margin=0.0005)[SAME]["items"]
    assert after[: len(before)] == before
    assert len(after) > len(before)
    assert {s.item: s.rows for s in store.items(SAME) if s.item in kept} == kept


def test_a_failure_ends_its_own_cell_and_the_untouched_models_lets_all_run(store: Store, tmp_path: Path) -> None:
    bench = Bench(store, Made(breaks=NOISY))
    found = bench.run()
    assert found[NOISY] is None
    assert found[SAME]["word"] == "same"
    assert bench.states()[NOISY] == "failed"
    with Store(tmp_path / "other.sqlite") as other:
        alone = Bench(other, Made(breaks="dense"), recipes=("dense", NOISY))
        assert alone.run() == {NOISY: None}
        assert alone.states() == {"dense": "failed", NOISY: "done"}


def test_cells_that_failed_before_they_began_are_not_decided(store: Store) -> None:
    referee = Referee(store, Made(num_items=40).items(), "nll", Rule(0.1), "dense", {"a": "m", "b": "n"})
    assert not referee.drop({"b"})
    assert referee.open == {"a": "m"}
    assert not referee.drop({"a"})
    assert list(referee.parts()) == [], "nothing to decide, nothing to read"
    assert referee.drop({"dense"})


def test_documents_are_read_whole_and_looks_stand_between_them() -> None:
    items = Made(num_items=60, per_document=3).items()
    shuffled = [items[i] for i in np.random.default_rng(0).permutation(60)]
    ordered = by_document(shuffled)
    docs = [item.doc for item in ordered]
    assert list(dict.fromkeys(docs)) == list(dict.fromkeys(item.doc for item in shuffled))
    assert all(docs[i : i + 3] == [docs[i]] * 3 for i in range(0, 60, 3))
    parts = list(Referee(None, ordered, "nll", Rule(0.1), "dense", {"k": "m"}).parts())  # type: ignore[arg-type]
    assert [i.id for part in parts for i in part] == [i.id for i in ordered]
    assert all(len(part) % 3 == 0 and len(part) >= FEWEST for part in parts[:-1])


def test_a_document_of_several_items_is_one_draw(store: Store) -> None:
    """Streams of work A, of A and a little B, of B, of C with D: rows count where their document is at home."""
    ids = judging.torch.ones(1, 1, dtype=judging.torch.long)
    docs = {"b": ("A", "B"), "c": ("B",), "d": ("C", "D"), "a": ("A",)}
    items = by_document([Item(name, name, ids, docs=mine) for name, mine in docs.items()])
    assert [item.id for item in items] == ["b", "a", "c", "d"]
    rows = {name: [Row(name, doc, "nll", float(ord(name)), 1.0) for doc in mine] for name, mine in docs.items()}
    base = {name: [Row(r.item, r.doc, "nll", 0.0, 1.0) for r in mine] for name, mine in rows.items()}
    referee = Referee(store, items, "nll", Rule(0.1), "dense", {"k": "m"})
    list(referee.parts())
    sums, weights = referee.documents(rows, base)
    assert sums.tolist() == [ord("b") + ord("a"), ord("c"), ord("d"), ord("d")]
    assert weights.tolist() == [2.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "task", [Perplexity(length=64, streams=4, documents=3, audit=0), Divergence(length=64, streams=4)]
)
def test_items_of_streams_name_the_documents_of_their_rows(task: Task) -> None:
    items = task.items(judging.source(), judging.lm())
    rows, _ = judging.judge(task, "dense", items)
    for item in items:
        weights = dict.fromkeys(item.docs, 0.0)
        for row in rows:
            if row.item == item.id and row.metric == task.headline:
                weights[row.doc] += row.weight
        assert set(weights) == set(item.docs), "no row comes from elsewhere"
        assert weights[item.main_doc] >= 0.8 * max(weights.values())


def test_right_and_wrong_answers_have_bounds_that_count_the_largest_document(store: Store) -> None:
    items = [Item(f"i{i}", f"d{i // 4}", judging.torch.ones(1, 1)) for i in range(40)]
    referee = Referee(store, items, "acc", Rule(0.1), "dense", {})
    rows = {i.id: [Row(i.id, i.doc, "acc", 1.0)] for i in items}
    assert referee._bounds(rows) == Bounds(1.0, 4.0)
    assert referee._bounds({i: [Row(i, "elsewhere", "acc", 1.0)] for i in rows}) is None
    assert Referee(store, items, "nll", Rule(0.1), "dense", {})._bounds(rows) is None
    better = referee._differences([Row("i0", "d0", "acc", 1.0)], [Row("i0", "d0", "acc", 0.0)])
    assert better == [("d0", -1.0, 1.0)], "positive is worse"


# --- what is shown ---


def test_a_decided_difference_has_its_confidence_sequence_and_no_p_value() -> None:
    base = [Row(f"i{i}", f"d{i}", "acc", float(i % 3 > 0)) for i in range(60)]
    mine = [Row(f"i{i}", f"d{i}", "acc", float(i % 3 > 1)) for i in range(30)]
    kept = {"low": 0.2, "high": 0.5}
    metrics, _ = sequential_estimates({DENSE: base, "r": mine}, "acc", 0, {"r": kept})["r"]
    assert metrics[0].delta is not None
    assert (metrics[0].delta.low, metrics[0].delta.high) == (-50.0, -20.0)
    assert metrics[0].delta.value == pytest.approx(-100 / 3)
    assert metrics[0].estimate.value == pytest.approx(100 * 2 / 3 - 100 / 3), "on all items of the untouched model"
    assert (metrics[0].p_value, metrics[0].smallest_effect, metrics[0].estimate.low) == (None, None, None)
    nll = [Row(r.item, r.doc, "nll", r.value) for r in base]
    ratio, _ = sequential_estimates({DENSE: nll, "r": nll[:20]}, "nll", 0, {"r": {"low": None, "high": 0.1}})["r"]
    assert ratio[0].delta is not None
    assert (ratio[0].delta.value, ratio[0].delta.low) == (0.0, None)
    assert ratio[0].delta.high == pytest.approx(100 * (np.exp(0.1) - 1))


def test_unequal_items_are_refused_where_nothing_was_decided() -> None:
    base = [Row(f"i{i}", f"d{i}", "acc", 1.0) for i in range(60)]
    with pytest.raises(UserError, match="not scored on the same items"):
        sequential_estimates({DENSE: base[:20], "r": base}, "acc", 0, {"r": {"low": None, "high": None}})


def test_a_mistake_in_what_was_asked_is_one_sentence() -> None:
    assert asked_sure(False, None, None) is None
    assert asked_sure(True, None, None) == Sure(0.01, 0.05)
    assert asked_sure(True, 0.1, 0.01) == Sure(0.1, 0.01)
    for given in ((True, 0.0, None), (True, float("nan"), None), (True, None, 1.0), (False, 0.1, None)):
        with pytest.raises(UserError, match=r"--(margin|alpha)"):
            asked_sure(*given)


def test_a_cell_is_open_until_its_decision_is_there(store: Store) -> None:
    cells = [Cell(DENSE, "t", "kd"), Cell("r", "t", "kr"), Cell(DENSE, "speed", "ks", kind="speed")]
    docket = Docket(Sure(), store, cells)
    states = {"kd": "partial", "kr": "done", "ks": "new"}
    assert [docket.is_open(c, states) for c in cells] == [True, True, True]
    job, rule = docket.told("t", [{"key": "kr"}], states)
    assert [one["key"] for one in job] == ["kr", "kd"]
    assert rule == {"margin": 0.01, "alpha": 0.05, "recipes": 1}
    store.remember(job[0]["decision"], {"word": "same"})
    assert [docket.is_open(c, states) for c in cells] == [False, False, True]
    assert Docket(Sure(0.02), store, cells).decision(cells[1]) is None, "another margin is another question"
    assert [Docket(None, store, cells).is_open(c, states) for c in cells] == [True, False, True]
    docket.lost.add("kd")
    assert docket.told("t", [{"key": "kr"}], states) == ([{"key": "kr"}], None)


# --- from end to end ---

TASK = "perplexity(length=64, streams=24, documents=1, audit=0)"


def asked(model: Path, text: Path, output: Path, **more: Any) -> Comparison:
    options = {"recipes": ["finequant(bits=8)", "window(window=8)"], "tasks": [TASK], "threads": 1}
    return compare(str(model), text=str(text), output=output, **(options | more))


def cells(found: Comparison) -> list[CellResult]:
    return [r.cells[0] for r in found.recipes]


def test_compare_until_sure(model: Path, text: Path, tmp_path: Path) -> None:
    """A margin wide enough for both; then a call without it reads the rest and nothing twice."""
    found = asked(model, text, tmp_path, until_sure=True, margin=1.0, alpha=0.5)
    dense, *others = cells(found)
    assert dense.decision is None
    assert not found.failures
    for cell in others:
        assert cell.decision is not None
        assert (cell.state, cell.decision.recipes, cell.decision.needed) == ("done", 2, 8.0)
        assert cell.metrics[0].delta is not None
        assert cell.metrics[0].p_value is None
        assert cell.metrics[0].estimate.num_items == cell.decision.items
        assert words.decision(cell.decision).startswith(f"{cell.decision.word} ")
    again = asked(model, text, tmp_path, until_sure=True, margin=1.0, alpha=0.5)
    assert (again.computed, again.recipes) == (0, found.recipes)
    whole = asked(model, text, tmp_path)
    assert {c.metrics[0].estimate.num_items for c in cells(whole)} == {found.tasks[0].num_items}
    assert all(c.decision is None for c in cells(whole))
    with Store(tmp_path / "elsewhere" / "results.sqlite"):
        fresh = asked(model, text, tmp_path / "elsewhere")
    assert [c.metrics for c in cells(fresh)] == [c.metrics for c in cells(whole)], "as if never stopped"
    after = asked(model, text, tmp_path, until_sure=True, margin=1.0, alpha=0.5)
    assert (after.computed, after.recipes) == (0, found.recipes), "and decided as before"


def test_the_phrase_of_a_decision() -> None:
    from paretolm.bench.results.types import Decision

    def phrase(word: Any, items: int) -> str:
        return words.decision(Decision(word, 0.01, "share", items, 400, items, 50.0, 40.0, 0.05, 1))

    assert phrase("same", 64) == "same within 0.01 (after 64 of 400)"
    assert phrase("worse", 16) == "worse by over 0.01 (after 16 of 400)"
    assert phrase("undecided", 400) == "undecided at 0.01 (all 400)"
