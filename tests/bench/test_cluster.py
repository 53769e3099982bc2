"""Workers elsewhere: what may be asked for, who gets which job, and what becomes of jobs whose worker is lost."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.bench.cluster import spec, staff
from paretolm.bench.cluster.cluster import Cluster, _alike
from paretolm.bench.cluster.crew import RETRIES, ClusterCrew, Jobs
from paretolm.bench.cluster.node import about
from paretolm.bench.cluster.spec import Workers, parse_workers
from paretolm.bench.compare import compare
from paretolm.bench.progress import Progress
from paretolm.bench.workers.client import WorkerDied
from paretolm.errors import UserError
from tests.bench.near import ELSEWHERE, NearCluster
from tests.bench.test_compare import everything, finished

RECIPES = ["window(window=32)", "window(window=24)"]
TASKS = ["perplexity(length=48, streams=6, audit=0)", "divergence(length=48, streams=6, positions=8)"]

# --- what may be asked for ---


@given(st.integers(1, 10**6))
def test_a_number_is_of_processes_here(count: int) -> None:
    assert parse_workers(str(count)) == Workers(count=count)


@pytest.mark.parametrize(
    ("text", "told"),
    [("ray", ""), ("ray://head:10001", "ray://head:10001"), (" ray://[::1]:6000 ", "ray://[::1]:6000")],
)
def test_a_cluster(text: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "find_spec", lambda name: object())
    assert parse_workers(text) == Workers(address=told)


@given(st.text(max_size=12).filter(lambda t: not t.strip().isdigit() and t.strip() != "ray"))
def test_garbage_is_told(text: str) -> None:
    with pytest.raises(UserError, match="--workers is "):
        parse_workers(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "٣", "", "ray://", "ray://head", "ray://head:0x", "ray://h:99999",
                                  "ray://head:1/path", "Ray", "dask://head:1"])  # fmt: skip
def test_what_cannot_be_meant(text: str) -> None:
    with pytest.raises(UserError, match="--workers is "):
        parse_workers(text)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'paretolm\[cluster\]'"):
        parse_workers("ray")


def test_nobody_at_home_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(UserError, match=f"nothing answers at {address}"):
        _ = Cluster(address, Path()).size


def test_more_processes_than_threads_are_refused(model: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--workers 3 are more than the 2 threads"):
        compare(str(model), RECIPES, TASKS, text=text, output=tmp_path, threads=2, workers=3)


def test_a_node_must_be_like_this_machine() -> None:
    here = about("cpu")
    assert _alike({"where": "n", **here}, here["same"]) == here["machine"]
    other = {"where": "n", "same": {**here["same"], "torch": "1.0"}, "machine": {}}
    with pytest.raises(UserError, match=r"torch differs on n: 1\.0 there"):
        _alike(other, here["same"])
    with pytest.raises(UserError, match="paretolm does not start on n"):
        _alike({"where": "n", "error": "No module named 'paretolm'"}, here["same"])


# --- jobs ---


def job(*keys: str) -> list[dict[str, Any]]:
    return [{"key": key} for key in keys]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_each_job_ends_once_however_often_its_worker_is_lost(losses: list[int]) -> None:
    jobs = [job(f"{n}") for n in range(len(losses))]
    todo, ended = Jobs(jobs), list[str]()
    left = dict(zip((one[0]["key"] for one in jobs), losses, strict=True))
    while todo.await_one():
        mine = todo.take()
        key = mine[0]["key"]
        if left[key]:
            left[key] -= 1
            todo.lost(mine, WorkerDied("it died", []))
        else:
            ended.append(key)
            todo.done()
    assert sorted([*ended, *todo.broken]) == sorted(left)
    assert set(todo.broken) == {str(n) for n, lost in enumerate(losses) if lost > RETRIES}


def test_only_what_was_under_way_is_blamed() -> None:
    todo = Jobs([job("a", "b")])
    for _ in range(RETRIES + 1):
        todo.lost(todo.take(), WorkerDied("it died", ["b"]))
    assert todo.broken == {"b": "it died; 3 workers were lost on it"}
    assert not todo.await_one(), "the others of its job are asked for in the next round"


def test_who_is_idle_waits_for_what_may_come_back() -> None:
    todo = Jobs([job("a")])
    mine, found = todo.take(), list[bool]()
    idle = threading.Thread(target=lambda: found.append(todo.await_one()))
    idle.start()
    todo.lost(mine, WorkerDied("it died", []))
    idle.join(10)
    assert found == [True]
    todo.stop()
    assert not todo.await_one()


# --- a comparison by workers that hold no store, on a cluster without Ray ---


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> list[NearCluster]:
    made: list[NearCluster] = []

    def cluster(*args: Any, **kwargs: Any) -> NearCluster:
        made.append(NearCluster(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(staff, "Cluster", cluster)
    monkeypatch.setattr(spec, "find_spec", lambda name: object())
    return made


class Killer(Progress):
    """Kills a worker in the middle of a cell of this name, so many times."""

    def __init__(self, near: list[NearCluster], label: str, times: int) -> None:
        self.near, self.label, self.times = near, label, times
        self.labels, self.failed = dict[str, str](), list[str]()

    def plan(self, labels: Any) -> None:
        self.labels |= labels

    def update(self, key: str, share: float) -> None:
        if self.times and self.labels[key] == self.label and 0.2 < share < 0.9:
            for hand in self.near[0].hired:
                if key in hand.actor._client._cells and hand.actor._client._process.poll() is None:
                    self.times -= 1
                    os.kill(hand.pid, signal.SIGKILL)

    def fail(self, key: str, reason: str) -> None:
        self.failed.append(f"{self.labels[key]}: {reason}")


def asked(model: Path, words: Path, output: Path) -> dict[str, Any]:
    more = {"text": str(words), "output": str(output), "threads": 1, "chunk": 1}
    return {"model": str(model), "recipes": RECIPES, "tasks": TASKS, **more}


@pytest.fixture(scope="module")
def alone(model: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("alone")
    compare(**asked(model, text, output))
    return output


def test_a_lost_worker_loses_no_cell_and_doubles_none(
    near: list[NearCluster], alone: Path, model: Path, text: Path, tmp_path: Path
) -> None:
    progress = Killer(near, f"window(window=32): {TASKS[0]}", 1)
    found = compare(**asked(model, text, tmp_path), workers="ray", progress=progress)
    assert (progress.times, progress.failed, found.failures) == (0, [], [])
    assert found.computed == 6
    assert everything(tmp_path) == everything(alone)
    assert any("6 of 6 quality cells were measured on other machines (another processor: 6)" in n for n in found.notes)
    assert near[0].closed, "the cluster is left"
    again = compare(**asked(model, text, tmp_path))
    assert (again.computed, again.reused) == (0, 6), "what was measured there counts here"


def test_a_cell_that_costs_every_worker_is_broken_and_the_others_are_not(
    near: list[NearCluster], alone: Path, model: Path, text: Path, tmp_path: Path
) -> None:
    progress = Killer(near, f"window(window=32): {TASKS[0]}", RETRIES + 1)
    found = compare(**asked(model, text, tmp_path), workers="ray", progress=progress)
    (failure,) = progress.failed
    assert failure.endswith("(on near); 3 workers were lost on it")
    assert found.computed == 6
    states = {(r.typed, c.task): c.state for r in found.recipes for c in r.cells}
    assert states.pop(("window(window=32)", "perplexity")) == "failed"
    assert set(states.values()) == {"done"}
    whole = everything(alone)
    assert all(item in whole[key] for key, items in everything(tmp_path).items() for item in items)


def test_another_model_under_the_same_path_is_refused(
    near: list[NearCluster], model: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staff, "content_hash", lambda place: "0" * 64)
    with pytest.raises(UserError, match="the model is not on near what it is here"):
        compare(**asked(model, text, tmp_path), workers="ray")
    assert not finished(tmp_path)
    assert all(hand.actor._client._process.poll() is not None for hand in near[0].hired), "no worker is left"


def test_ctrl_c_ends_all_workers_and_the_same_call_goes_on(
    near: list[NearCluster], alone: Path, model: Path, text: Path, tmp_path: Path
) -> None:
    class Stopping(Progress):
        def finish(self, key: str) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        compare(**asked(model, text, tmp_path), workers="ray", progress=Stopping())
    assert all(hand.actor._client._process.poll() is not None for hand in near[0].hired), "no worker is left"
    kept = finished(tmp_path)
    again = compare(**asked(model, text, tmp_path), workers="ray")
    assert again.computed == 6 - len(kept)
    assert kept.items() <= finished(tmp_path).items()
    assert everything(tmp_path) == everything(alone)


def test_ctrl_c_again_while_workers_are_ended_leaves_none(tmp_path: Path) -> None:
    class Impatient:
        def close(self) -> None:
            signal.raise_signal(signal.SIGINT)
            ended.append(self)

    ended: list[Impatient] = []
    cluster = NearCluster("ray", tmp_path)
    crew = ClusterCrew(cluster, {}, lambda _: None, {})
    crew._hands |= {n: Impatient() for n in range(3)}
    with pytest.raises(KeyboardInterrupt):
        crew.close()
    assert (len(ended), crew._hands, cluster.closed) == (3, {}, 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_machine_of_a_node_is_not_ours() -> None:
    assert ELSEWHERE["hash"] != about("cpu")["machine"]["hash"]
