"""Quality cells: one prefill for all that share it, and a failure that stays in its cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from paretolm.bench.records.store import Store
from paretolm.bench.workers import measure
from paretolm.bench.workers.arm import Arm, in_order, make_arm, reason
from paretolm.bench.workers.measure import TaskRun
from paretolm.errors import CallError, CellError, ConflictError
from paretolm.evaluation.rows import Row
from paretolm.evaluation.task import Base, Item, Run, Scored, Task
from paretolm.recipes.recipe import Recipe
from paretolm.recipes.session import Session
from tests.evaluation import judging

LENGTH, PROMPT = 48, 32


@dataclass(frozen=True, kw_only=True)
class Reading(Task):
    """nll of what follows a prompt, and whether the base of the untouched model came along."""

    name: ClassVar[str] = "reading"
    headline: ClassVar[str] = "nll"
    needs_base: ClassVar[bool] = True

    num_items: int = 5
    breaks: str = ""  # recipe whose third item raises
    poisons: str = ""  # recipe whose third item is NaN

    def items(self, source: Any = None, lm: Any = None) -> list[Item]:
        dice = torch.Generator().manual_seed(self.seed)
        ids = [torch.randint(1, 400, (1, LENGTH), generator=dice) for _ in range(self.num_items)]
        return [Item(f"item-{i}", f"doc-{i}", x[:, :PROMPT], {"rest": x[:, PROMPT:]}) for i, x in enumerate(ids)]

    def tokens(self, item: Item) -> int:
        return LENGTH

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        name = str(run.session.recipe)
        if item.id == "item-3" and name == self.breaks:
            raise RuntimeError("something of ours broke")
        assert run.stream is not None
        assert run.prompt_end is not None
        logits = [run.prompt_end.logits[:, -1:]]
        for a in range(0, LENGTH - PROMPT - 1, run.chunk):
            logits.append(run.stream.step(item.data["rest"][:, a : a + run.chunk][:, : LENGTH - PROMPT - 1 - a]).logits)
        scores = torch.cat(logits, dim=1).log_softmax(-1)
        nll = -scores.gather(-1, item.data["rest"][..., None]).mean().item()
        poisoned = item.id == "item-3" and name == self.poisons
        rows = [Row(item.id, item.doc, "nll", float("nan") if poisoned else nll)]
        if base is not None:
            rows.append(Row(item.id, item.doc, "kl", nll - float(base["nll"][0])))
        return Scored(rows, {"nll": np.array([nll])} if base is None else None, {"said": f"{item.id}, {name}"})


@pytest.fixture
def store(tmp_path: Path) -> Iterable[Store]:
    with Store(tmp_path / "results.sqlite") as opened:
        yield opened


def arms(recipes: Iterable[str], items: Iterable[Item]) -> list[Arm]:
    names = {item.id for item in items}
    return [make_arm(judging.lm(), line, Recipe.parse(line), {}, set(names)) for line in recipes]


def measured(
    store: Store, recipes: list[str], task: Task, **more: Any
) -> tuple[dict[str, dict[str, float]], list[Mapping[str, Any]]]:
    """Recipe -> item -> nll, and the events."""
    events: list[Mapping[str, Any]] = []
    items = task.items(None, judging.lm())  # type: ignore[arg-type]
    store.plan({line: {} for line in recipes})
    store.claim(recipes)
    TaskRun(judging.lm(), task, items, arms(recipes, items), store, events.append, **more).run()
    return {r: {s.item: s.rows[0].value for s in store.items(r)} for r in recipes}, events


def alone(line: str, item: Item, chunk: int) -> float:
    """The same by hand: one recipe, one item, a stream of its own."""
    with Recipe.parse(line).apply(judging.lm()) as session:
        stream = session.stream()
        out = stream.read(item.prompt_ids, last=True)
        run = Run(session, stream, out, chunk, True, lambda size: (stream, out))
        return Reading().score(run, item, {"nll": np.zeros(1)}).rows[0].value


RECIPES = ["dense", "snapkv(budget=12tok, window_size=4)", "window(window=16)", "finequant(bits=4)"]


def test_what_is_shared_equals_what_is_read_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    prefilled: list[int] = []
    original = Session.prefill

    def counted(self: Session, ids: torch.Tensor, **kwargs: Any) -> Any:
        prefilled.append(ids.shape[1])
        return original(self, ids, **kwargs)

    monkeypatch.setattr(Session, "prefill", counted)
    task = Reading()
    found, _ = measured(store, RECIPES, task)
    for line in RECIPES:
        for item in task.items():
            assert found[line][item.id] == pytest.approx(alone(line, item, 256), abs=1e-5), (line, item.id)
    assert len(prefilled) == 2 * len(task.items()), "one prefill an item serves dense and snapkv, one finequant"
    assert store.cells(RECIPES)["dense"].state == "done"


def test_company_changes_no_bit(store: Store, tmp_path: Path) -> None:
    found, _ = measured(store, RECIPES, Reading())
    for line in RECIPES:
        with Store(tmp_path / f"{line}.sqlite") as other:
            assert measured(other, [line], Reading())[0][line] == found[line], line


def test_facts_of_an_item_are_its_own(store: Store) -> None:
    measured(store, ["dense", "window(window=16)", "finequant(bits=4)"], Reading())
    window = [s.facts for s in store.items("window(window=16)")]
    assert all(f["counters"]["window"]["tokens_evicted"] == 2 * (LENGTH - 1 - 15) for f in window), (
        "two layers hold 15 each"
    )
    assert all(f["prompt"] == PROMPT and f["kv_bytes"] < 8192 / 2 for f in window)
    assert all(f["predicted"][0] <= f["kv_bytes"] <= f["predicted"][1] for f in window)
    weights = [s.facts for s in store.items("finequant(bits=4)")]
    assert weights[0]["weight_bytes"] < 0.7 * store.items("dense")[0].facts["weight_bytes"]
    assert any(any(f["counters"]["finequant"].values()) for f in weights), "what opening did is counted too"
    assert [f["said"] for f in window][:2] == ["item-0, window(window=16)", "item-1, window(window=16)"], (
        "the task's own"
    )


def test_a_failure_ends_its_own_cell(store: Store) -> None:
    recipes = ["dense", "window(window=16)", "window(window=8)"]
    found, events = measured(store, recipes, Reading(breaks="window(window=16)"))
    states = store.cells(recipes)
    assert [states[r].state for r in recipes] == ["done", "failed", "done"]
    assert states["window(window=16)"].error is not None
    assert states["window(window=16)"].error.startswith("RuntimeError: something of ours broke (test_measure.py, line ")
    assert len(found["window(window=16)"]) == 3, "what was scored before stays"
    assert [e["cell"] for e in events if e["event"] == "failed"] == ["window(window=16)"]
    assert sorted(e["cell"] for e in events if e["event"] == "done") == ["dense", "window(window=8)"]


def test_a_number_that_is_none_fails_the_cell(store: Store) -> None:
    measured(store, ["dense", "window(window=16)"], Reading(poisons="window(window=16)"))
    record = store.cells(["window(window=16)"])["window(window=16)"]
    assert (record.state, record.error) == ("failed", "nll of item item-3 is nan, not a number that can be averaged")
    assert "item-3" not in store.item_names("window(window=16)")


def test_only_what_is_missing_is_scored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    task, line = Reading(), "window(window=16)"
    whole, _ = measured(store, ["dense", line], task)
    scored: list[str] = []
    original = Reading.score
    monkeypatch.setattr(
        Reading,
        "score",
        lambda self, run, item, base: (
            scored.append(f"{run.session.recipe} {item.id}") or original(self, run, item, base)
        ),
    )
    store.plan({"again": {}})
    arm = make_arm(judging.lm(), "again", Recipe.parse(line), {}, {"item-1", "item-4"})
    TaskRun(judging.lm(), task, task.items(), [arm], store, lambda _: None).run()
    assert sorted(scored) == ["dense item-1", "dense item-4", f"{line} item-1", f"{line} item-4"], "and its bases"
    assert {s.item: s.rows[0].value for s in store.items("again")} == {i: whole[line][i] for i in ("item-1", "item-4")}
    assert all(len(s.rows) == 2 for s in store.items("again")), "the base came along"


def test_small_batches_change_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = measured(store, RECIPES, Reading())
    monkeypatch.setattr(measure, "BATCH_BYTES", 1)
    with Store(tmp_path / "other.sqlite") as other:
        assert measured(other, RECIPES, Reading())[0] == found


def test_a_bound_on_chunks_is_kept(store: Store) -> None:
    measured(store, ["dense", "h2o(budget=50%)"], Reading(), chunk=3)
    assert {s.facts["chunk"] for line in ("dense", "h2o(budget=50%)") for s in store.items(line)} == {3}


def test_a_recipe_that_cannot_stand_is_refused() -> None:
    with pytest.raises(ConflictError):
        make_arm(judging.lm(), "k", Recipe.parse("h2o + snapkv"), {}, set())


def test_items_come_in_seeded_random_order() -> None:
    items = Reading(num_items=20).items()
    order = [i.id for i in in_order(items, 0, None)]
    assert order != [i.id for i in items]
    assert sorted(order) == sorted(i.id for i in items)
    assert [i.id for i in in_order(items, 0, 5)] == order[:5]
    assert [i.id for i in in_order(items, 1, None)] != order


@pytest.mark.parametrize(
    ("error", "sentence", "again"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), "out of memory asking for 8 bytes", True),
        (MemoryError(), "out of memory", True),
        (CallError("this call\nneeds fork"), "this call needs fork", False),
        (CellError("the recipe gives logits that are no numbers"), "the recipe gives logits that are no numbers", False),
    ],
)  # fmt: skip
def test_a_failure_is_one_sentence(error: Exception, sentence: str, again: bool) -> None:
    assert reason(error) == (sentence, again)
