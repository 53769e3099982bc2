"""compare from end to end, on a tiny model: what is finished stays finished, whoever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from paretolm.bench.compare import compare
from paretolm.bench.progress import Progress
from paretolm.bench.records.store import Store
from paretolm.bench.results.types import Comparison
from paretolm.bench.workers.crew import Crew, crew_size
from paretolm.errors import ConflictError, ModelError, RecipeError, TextError
from tests.waiting import wait_for

RECIPES = [
    "window(window=32)",
    "snapkv(budget=25%)",
    "finequant(bits=8) + token-recycling",
    "token-recycling",
    "knn-lm(k=8)",
]
TASKS = ["perplexity(length=96, streams=20, audit=0)", "divergence(length=64, streams=20, positions=8)"]


def request(place: Path, words: Path, output: Path, **more: Any) -> dict[str, Any]:
    asked = {"model": str(place), "recipes": RECIPES, "tasks": TASKS, "text": str(words), "output": str(output)}
    return asked | {"threads": 1} | more


@pytest.fixture(scope="module")
def first(model: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    output = tmp_path_factory.mktemp("first")
    return compare(**request(model, text, output)), output


def everything(output: Path) -> dict[str, Any]:
    """All rows of a store, by cell and item."""
    with Store(output / "results.sqlite") as store:
        keys = [k for (k,) in store._db.execute("SELECT key FROM cells ORDER BY key")]
        return {k: [(s.item, s.doc, s.rows) for s in store.items(k)] for k in keys}


def finished(output: Path) -> dict[str, float | None]:
    with Store(output / "results.sqlite") as store:
        keys = [k for (k,) in store._db.execute("SELECT key FROM cells WHERE state = 'done'")]
        return {k: r.finished for k, r in store.cells(keys).items()}


def test_what_a_comparison_holds(first: tuple[Comparison, Path]) -> None:
    found, _ = first
    assert [r.typed for r in found.recipes] == ["dense", *RECIPES]
    assert [t.name for t in found.tasks] == ["perplexity", "divergence"]
    assert (found.trained_length, found.conditions["threads"], found.failures) == (128, 1, [])
    window = found.recipe("window(window=32)").cell("perplexity")
    assert window is not None
    assert window.state == "done"
    metric = window.metric("perplexity")
    assert metric is not None
    assert metric.delta is not None
    assert metric.estimate.num_documents >= 10
    assert found.recipe("window(window=32)").acted["window"]["tokens_evicted"] > 0
    divergence = found.recipe("snapkv(budget=25%)").cell("divergence")
    assert divergence is not None
    assert divergence.metrics[0].name == "kl"
    assert divergence.metrics[0].estimate.value > 0
    assert json.loads(json.dumps(found.to_dict()))["recipes"][0]["line"] == "dense"


def test_recipes_shared_among_workers_get_the_same_numbers(
    first: tuple[Comparison, Path], model: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paretolm.bench.shares.FEW", 1)
    compare(**request(model, text, tmp_path, threads=2))
    assert everything(tmp_path) == everything(first[1])


def test_what_a_task_cannot_see_is_not_given_a_number(first: tuple[Comparison, Path]) -> None:
    blind = first[0].recipe("token-recycling")
    assert {(c.state, c.metrics) for c in blind.cells} == {("n/a", ())}
    half = first[0].recipe("finequant(bits=8) + token-recycling").cell("perplexity")
    assert half is not None
    assert (half.state, half.unseen) == ("done", ("token-recycling",))


def test_methods_that_need_it_are_fitted_on_what_is_not_judged(first: tuple[Comparison, Path]) -> None:
    cell = first[0].recipe("knn-lm(k=8)").cell("perplexity")
    assert cell is not None
    assert cell.state == "done"


def test_bytes_held_lie_in_the_prediction(first: tuple[Comparison, Path]) -> None:
    for recipe in first[0].recipes:
        if recipe.kv_bytes and recipe.kv_bytes.held:
            assert recipe.kv_bytes.predicted_low is not None
            assert recipe.kv_bytes.predicted_high is not None
            assert 0.99 * recipe.kv_bytes.predicted_low <= recipe.kv_bytes.held <= 1.01 * recipe.kv_bytes.predicted_high


SECOND = """
import sys, time
start = time.perf_counter()
from paretolm.bench.compare import compare
from paretolm.bench.workers.crew import Crew, crew_size
import json
found = compare(**json.loads(sys.argv[1]))
print(json.dumps([found.computed, found.reused, time.perf_counter() - start, sorted({"torch", "transformers", "scipy"} & set(sys.modules)), found.to_dict()]))
"""


def test_a_second_call_measures_nothing_and_loads_nothing(
    first: tuple[Comparison, Path], model: Path, text: Path
) -> None:
    found, output = first
    before = everything(output)
    command = [sys.executable, "-c", SECOND, json.dumps(request(model, text, output))]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    computed, reused, seconds, heavy, again = json.loads(answer)
    assert (computed, reused, heavy) == (0, 10, [])
    assert seconds < 10
    assert again["recipes"] == json.loads(json.dumps(found.to_dict()))["recipes"]
    assert everything(output) == before


def test_only_what_changed_is_measured_again(first: tuple[Comparison, Path], model: Path, text: Path) -> None:
    _, output = first
    before = finished(output)
    recipes = ["window(window=32)", "window(window=24)", "h2o + snapkv"]
    more = compare(**request(model, text, output, recipes=recipes))
    assert (more.computed, more.reused) == (2, 4)
    assert before.items() <= finished(output).items()
    assert {(r.typed, c.state) for r, c in more.failures} == {("h2o + snapkv", "failed")}, "a conflict stands beside"
    assert all("snapkv" in c.reason for _, c in more.failures)
    assert [r.ranked for r in more.recipes] == [True, True, True, False]


def test_a_killed_call_continues_where_it_stood(
    first: tuple[Comparison, Path], model: Path, text: Path, tmp_path: Path
) -> None:
    """kill -9 in the middle of it; nothing that was finished is measured again, no row is lost or doubled."""
    asked = request(model, text, tmp_path)
    code = "import sys, json; from paretolm.bench.compare import compare; compare(**json.loads(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, json.dumps(asked)])
    wait_for(lambda: done_cells(tmp_path) >= 2)
    workers = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.wait()
    gone, left = psutil.wait_procs(workers, timeout=10)
    assert gone, "the worker was busy"
    assert not left, "a worker ends with its parent"
    survived = finished(tmp_path)
    assert 2 <= len(survived) < 10
    again = compare(**asked)
    assert again.computed == 10 - len(survived)
    assert survived.items() <= finished(tmp_path).items()
    original = everything(first[1])
    assert {k: original[k] for k in everything(tmp_path)} == everything(tmp_path)


class Killer(Progress):
    """Kills the worker in the middle of a cell of this name, while it has several of its items before it."""

    def __init__(self, label: str) -> None:
        self.label, self.labels, self.failed = label, dict[str, str](), list[str]()

    def plan(self, labels: Any) -> None:
        self.labels |= labels

    def update(self, key: str, share: float) -> None:
        if self.labels[key] == self.label and 0.3 < share < 0.4:
            for child in psutil.Process().children():
                child.kill()

    def fail(self, key: str, reason: str) -> None:
        self.failed.append(f"{self.labels[key]}: {reason}")


def test_a_killed_worker_costs_the_cell_it_was_busy_with(model: Path, text: Path, tmp_path: Path) -> None:
    """Token by token an item takes long enough for the signal to arrive."""
    task = "perplexity(length=48, streams=6, audit=0)"
    progress = Killer(f"window(window=32): {task}")
    recipes = ["window(window=32)", "window(window=24)"]
    asked = request(model, text, tmp_path, recipes=recipes, tasks=[task], chunk=1)
    found = compare(**asked, progress=progress)
    states = {r.typed: c.state for r in found.recipes for c in r.cells}
    assert states == {"dense": "done", "window(window=32)": "failed", "window(window=24)": "done"}
    (failure,) = progress.failed
    assert failure.endswith("the process was ended by SIGKILL, most likely for lack of memory")
    assert compare(**asked).computed == 1, "another call tries it again"


def done_cells(output: Path) -> int:
    return len(finished(output)) if (output / "results.sqlite").exists() else 0


# --- what was asked wrongly ---


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (RecipeError, {"recipes": ["window(window=32)", "h3o"]}),
        (RecipeError, {"tasks": ["perplexty"]}),
        (TextError, {"text": "empty.txt"}),
        (TextError, {"text": "nowhere.txt"}),
        (ModelError, {"model": "nothing"}),
    ],
)
def test_mistakes_are_raised_before_a_worker_is_started(
    error: type[Exception],
    changes: dict[str, Any],
    model: Path,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("")
    monkeypatch.setattr(Crew, "open", lambda self, number=0: pytest.fail("a worker was started"))
    with pytest.raises(error):
        compare(**request(model, text, tmp_path / "out", **changes))


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (RecipeError, {"recipes": ["snapkv(budget=8tok, window_size=16)"]}),
        (ConflictError, {"recipes": ["h2o + snapkv"]}),
        (TextError, {"text": "short.txt"}),
    ],
)
def test_mistakes_that_only_the_model_shows_are_raised_before_anything_is_measured(
    error: type[Exception],
    changes: dict[str, Any],
    model: Path,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short.txt").write_text("Hardly any words.")
    with pytest.raises(error):
        compare(**request(model, text, tmp_path / "out", **changes))
    assert not everything(tmp_path / "out")


@pytest.mark.parametrize(
    ("device", "weights", "threads", "size"),
    [("cpu", 8 << 20, 2, 2), ("cpu", 8 << 20, 16, 4), ("cpu", 8 << 30, 16, 1), ("cuda", 8 << 20, 16, 1)],
)
def test_small_models_have_several_workers(device: str, weights: int, threads: int, size: int) -> None:
    assert crew_size(device, weights, threads) == size


def test_the_environment_of_the_worker_is_pinned(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from paretolm.bench.workers import client

    found = client._environment(3)
    assert found["OMP_NUM_THREADS"] == "3"
    assert set(sys.path) - {""} <= set(found["PYTHONPATH"].split(os.pathsep))
