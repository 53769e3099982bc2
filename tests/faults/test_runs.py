"""What goes wrong while cells are measured: the cell says why, the others go on, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import torch

from paretolm.bench.records.store import Store
from paretolm.bench.workers import crew as crews
from paretolm.bench.workers import watch
from paretolm.bench.workers.client import WorkerClient, WorkerDied
from paretolm.bench.workers.crew import Crew
from paretolm.evaluation.task import Base, Item, Run, Scored
from tests.bench.test_measure import Reading, measured
from tests.evaluation import judging
from tests.waiting import wait_for

GPU = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 139.81 GiB."


# --- out of memory ---


@dataclass(frozen=True, kw_only=True)
class Greedy(Reading):
    """Asks for more than there is at the third item of one recipe."""

    device: str = "host"

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        if item.id == "item-3" and str(run.session.recipe) == "window(window=16)":
            if self.device == "gpu":
                raise torch.OutOfMemoryError(GPU)
            torch.empty(1 << 50, dtype=torch.uint8)
        return super().score(run, item, base)


@pytest.mark.parametrize(("device", "size"), [("host", "1024.0 TiB"), ("gpu", "2.5 GiB")])
def test_out_of_memory_costs_one_arm_and_says_the_bytes(tmp_path: Path, device: str, size: str) -> None:
    recipes = ["dense", "window(window=16)", "window(window=8)"]
    with Store(tmp_path / "results.sqlite") as store:
        found, events = measured(store, recipes, Greedy(device=device))
        records = store.cells(recipes)
        assert [records[r].state for r in recipes] == ["done", "broken", "done"]
        assert records["window(window=16)"].error == f"out of memory asking for {size}"
        assert len(found["window(window=16)"]) == 3, "what was scored before stays"
        assert store.claim(recipes) == ["window(window=16)"], "another call tries it again"
    assert [e["reason"] for e in events if e["event"] == "failed"] == [f"out of memory asking for {size}"]


# --- a worker that hangs ---


@pytest.fixture
def worker() -> Iterator[WorkerClient]:
    client = WorkerClient(1, "tests.faults.hanging", idle_s=1.5)
    yield client
    client.close()


def test_a_worker_that_hangs_is_ended_and_names_its_cells(worker: WorkerClient) -> None:
    with pytest.raises(
        WorkerDied, match=r"said nothing and used neither a processor nor a disk for 1\.5 s.*kept"
    ) as died:
        worker.ask(do="hang")
    assert died.value.cells == ["one", "two"]
    wait_for(lambda: not alive(worker.pid))


def test_silence_at_work_is_no_hanging(worker: WorkerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_CPU_S", 0.02)  # other work on the machine may leave it little
    assert worker.ask(do="compute", seconds=4.0) == "computed"


def test_news_at_rest_is_no_hanging(worker: WorkerClient) -> None:
    assert worker.ask(do="talk", times=8, pause_s=0.5) == "talked"


def test_a_day_of_silence_is_hanging_however_busy() -> None:
    ended: list[bool] = []
    with watch.Watch(os.getpid(), lambda: ended.append(True), idle_s=1.0, silent_s=0.5) as watched:
        deadline = time.monotonic() + 30
        while not ended and time.monotonic() < deadline:
            sum(range(10_000))
    assert "it said nothing for 0.5 s" in watched.why


# --- Ctrl-C ---


class Busy:
    """client.WorkerClient that measures until it is ended."""

    made: ClassVar[list[Busy]] = []

    def __init__(self, threads: int) -> None:
        self.over = threading.Event()
        self.made.append(self)

    def ask(self, *_: Any, do: str, **request: Any) -> dict[str, Any]:
        if do == "open":
            return {}
        self.over.wait(60)
        raise WorkerDied("ended", [])

    def close(self) -> None:
        time.sleep(0.1)
        self.over.set()


def test_ctrl_c_twice_starts_no_worker_anew_and_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six jobs for two workers: those whose worker was ended must not take the next job."""
    monkeypatch.setattr(crews, "WorkerClient", Busy)
    monkeypatch.setattr(Busy, "made", [])
    main = threading.main_thread().ident
    assert main is not None

    def press() -> None:
        while len(Busy.made) < 2:
            time.sleep(0.01)
        for pause in (0.1, 0.05):
            time.sleep(pause)
            signal.pthread_kill(main, signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Crew(2, 1, {}, lambda _: None).measure([[{"key": str(n)}] for n in range(6)])
    presser.join()
    assert time.monotonic() - began < 20
    assert len(Busy.made) == 2
    assert all(one.over.is_set() for one in Busy.made)


def test_ctrl_c_twice_while_cells_are_measured(tmp_path: Path) -> None:
    place, words, output = tmp_path / "model", tmp_path / "text.txt", tmp_path / "out"
    judging.save(place)
    words.write_text("\n\n".join(judging.document(i, 60) for i in range(30)), encoding="utf-8")
    call = ["compare", str(place), "--text", str(words), "-o", str(output), "-m", "window(window=16)", "-v"]
    call += [a for n in range(4) for a in ("-t", f"perplexity(length={64 + n}, streams=20)")]
    call += ["--threads", "2", "--chunk", "1"]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "from paretolm.cli import main; main()", *call]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    wait_for(lambda: "running" in states(output))
    workers = psutil.Process(process.pid).children()
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, "Traceback" in err) == ("", False), err
    assert "stopped" in err.splitlines()[-1]
    assert workers
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert "done" not in states(output) or "running" in states(output), "it was stopped in the middle"


def states(output: Path) -> set[str]:
    if not (output / "results.sqlite").exists():
        return set()
    with Store(output / "results.sqlite") as store:
        return {r.state for r in store.cells(store.cell_keys()).values()}


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
