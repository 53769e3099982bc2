"""tune from end to end on a tiny model: found and proved, resumed after a kill, impossible budgets named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from paretolm.bench.progress import Progress
from paretolm.bench.records.store import Store
from paretolm.bench.tune import candidates
from paretolm.bench.tune.judge import count_held_out
from paretolm.bench.tune.rung_progress import RungProgress
from paretolm.bench.tune.tune import tune
from paretolm.bench.tune.types import Tuned
from paretolm.bench.workers.crew import Crew
from paretolm.errors import TextError, UserError
from paretolm.recipes.index import methods
from tests.waiting import wait_for

SEARCHED = ("window", "think", "finequant", "specpc", "yarn", "gemfilter")
KNOWN = [m for m in methods() if m.name in SEARCHED]


@pytest.fixture(autouse=True, scope="module")
def few_methods() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "methods", lambda: KNOWN)
        yield


def request(model: Path, text: Path, output: Path, **more: Any) -> dict[str, Any]:
    asked = {"model": str(model), "kv": "60%", "quality": ["kl<2"], "context": 96, "text": str(text)}
    return asked | {"output": str(output), "threads": 1} | more


KILLED = """
import json, sys
from paretolm.bench.tune import candidates
from paretolm.bench.tune.tune import tune
from paretolm.recipes.index import methods
known = [m for m in methods() if m.name in sys.argv[2].split(",")]
candidates.methods = lambda: known
tune(**json.loads(sys.argv[1]))
"""
BEFORE = 5  # items that are there when the process is killed


def start_and_kill(asked: dict[str, Any], output: Path) -> None:
    """kill -9 in the middle of the first rung."""
    call = [sys.executable, "-c", KILLED, json.dumps(asked), ",".join(SEARCHED)]
    process = subprocess.Popen(call, start_new_session=True, env=os.environ)
    try:
        wait_for(lambda: items(output) >= BEFORE, process, 240)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def first(model: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuned, Path]:
    """A search that was killed, and went on."""
    output = tmp_path_factory.mktemp("first")
    asked = request(model, text, output)
    start_and_kill(asked, output)
    return tune(**asked), output


def scored(found: Tuned) -> dict[str, Any]:
    return {p.line: (p.stage, p.scores) for p in found.points}


def items(output: Path) -> int:
    if not (output / "results.sqlite").exists():
        return 0
    with Store(output / "results.sqlite") as store:
        return sum(len(store.item_names(key)) for key in store.cell_keys())


def test_the_best_recipe_meets_every_limit_in_its_proof(first: tuple[Tuned, Path]) -> None:
    found, _ = first
    assert found.best is not None
    assert [c.limit for c in found.best.checks] == ["kl<2", "--kv 60%"]
    assert all(c.met for c in found.best.checks)
    kl, kv = found.best.checks
    assert kl.estimate.high is not None
    assert kl.estimate.high < 2
    assert kv.estimate.value < 0.6
    assert kv.dense == 1
    winner = next(p for p in found.points if p.line == found.best.line)
    held = found.best.beside["held_kv_bytes"]
    assert winner.foreseen.kv[0] <= held * 1.1
    assert found.best.beside["peak_total_bytes"] > held


def test_combinations_were_scored_beside_singles_and_the_untouched_model(first: tuple[Tuned, Path]) -> None:
    found, _ = first
    assert {"dense"} < {p.line for p in found.points}
    assert any(len(p.foreseen.methods) == 2 for p in found.points)
    assert {m for p in found.points for m in p.foreseen.methods} == {"window", "think"}
    ranked = [p for p in found.points if p.stage == "ranked"]
    assert {p.items for p in ranked} == {found.counts["items"]}
    assert found.counts["held out"] >= found.counts["items"] // 2


def test_what_was_left_out_has_its_reason(first: tuple[Tuned, Path]) -> None:
    told = {m: left.reason for left in first[0].left_out for m in left.methods}
    assert told == {
        "specpc": "needs a second model, which only you can name",
        "finequant": "saves nothing of what is limited",
        "yarn": "saves nothing of what is limited",
        "gemfilter": "acts where no quality asked for can see it",
    }


def test_the_proof_is_on_items_that_the_search_has_not_seen(first: tuple[Tuned, Path]) -> None:
    found, output = first
    assert found.best is not None
    with Store(output / "results.sqlite") as store:
        cells = store.cells(store.cell_keys())
        mine = [c for c in cells.values() if c.meta["task"].startswith("divergence")]
        counts = {c.meta["recipe"]: len(store.item_names(c.key)) for c in mine}
        left = next(c for c in mine if len(store.item_names(c.key)) == 1)
    total = found.counts["items"] + found.counts["held out"]
    assert counts[found.best.line] == counts["dense"] == total
    assert left.state == "partial"


def test_a_second_call_measures_nothing_and_starts_no_worker(
    first: tuple[Tuned, Path], model: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(Crew, "open", refused)
    again = tune(**request(model, text, first[1]))
    assert (again.computed, again.best, scored(again)) == (0, first[0].best, scored(first[0]))
    assert again.reused == first[0].computed + first[0].reused


def test_killed_it_went_on_from_what_was_there(first: tuple[Tuned, Path]) -> None:
    found, output = first
    assert found.reused >= BEFORE
    assert found.computed > 0
    counted = sum(1 for p in found.points if p.stage != "predicted")
    assert found.computed + found.reused >= counted
    with Store(output / "results.sqlite") as store:
        cells = store.cells(store.cell_keys()).values()
        quality = [c for c in cells if c.meta["task"].startswith("divergence")]
        assert found.computed + found.reused == sum(len(store.item_names(c.key)) for c in quality)


def test_a_size_nothing_fits_names_the_limit_and_the_least_there_is(
    first: tuple[Tuned, Path], model: Path, text: Path
) -> None:
    found = tune(**request(model, text, first[1], kv=None, memory="1KiB"))
    assert found.best is None
    assert found.binds.startswith("--memory 1KiB binds: the least that any of ")
    assert "whatever its quality" in found.binds
    assert found.nearest is not None
    assert found.proofs == ()
    assert [r.limit for r in found.relaxed] == ["memory"]


class Noted(Progress):
    def __init__(self) -> None:
        self.planned: list[str] = []
        self.finished: list[str] = []

    def plan(self, labels: Any) -> None:
        self.planned += labels

    def finish(self, key: str) -> None:
        self.finished.append(key)


def test_each_rung_is_counted_by_itself() -> None:
    inner = Noted()
    progress = RungProgress(inner)
    for _ in range(2):
        progress.plan({"a": "label"})
        progress.hear({"event": "done", "cell": "a"})
    assert inner.planned == inner.finished == ["1 a", "2 a"]


def test_too_little_text_for_a_proof_is_said() -> None:
    assert [count_held_out(["stream"] * n, "perplexity") for n in (2, 3, 12)] == [1, 1, 6]
    with pytest.raises(TextError, match="enough for one item of perplexity; a proof needs another"):
        count_held_out(["stream"], "perplexity")


def test_what_cannot_be_read_is_said_before_anything_is_made(model: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--quality knows no 'kll'"):
        tune(**request(model, text, tmp_path / "out", quality=["kll<1"]))
    assert not (tmp_path / "out").exists()
