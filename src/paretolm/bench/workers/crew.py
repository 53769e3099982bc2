"""The workers of one request: one for a large model; for a small one as many as there are threads, a task each."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from ...errors import CellError
from .client import WorkerClient, WorkerDied
from .ending import undisturbed

SMALL = 512 << 20  # bytes of weights up to which several copies cost little, and one thread runs a forward best
MOST = 4

Hear = Callable[[Mapping[str, Any]], None]
Job = Sequence[Mapping[str, Any]]  # cells of one task


def crew_size(device: str, weight_bytes: int, threads: int) -> int:
    """How many workers share the threads. It depends on nothing that changes from call to call."""
    return min(threads, MOST) if device == "cpu" and weight_bytes <= SMALL else 1


class Crew:
    """Workers that are started when they are needed; opening: what each is told to open."""

    def __init__(self, size: int, threads: int, opening: Mapping[str, Any], hear: Hear) -> None:
        self.size, self.threads = size, threads
        self._opening, self._hear = opening, hear
        self._workers: list[WorkerClient | None] = [None] * size
        self._stopping = Event()  # no worker is started any more
        self.facts: dict[str, Any] = {}

    def close(self) -> None:
        """Ends all workers at once; they can be started again."""
        with undisturbed():
            for number in range(self.size):
                self._drop(number)

    def _drop(self, number: int) -> None:
        worker = self._workers[number]
        if worker is not None:
            worker.close()
            self._workers[number] = None

    def open(self, number: int = 0) -> dict[str, Any]:
        """Starts a worker unless it is there; what it says of the model."""
        if self._workers[number] is None:
            self._hear({"event": "note", "text": "loading the model"})
            worker = WorkerClient(self.threads)
            self._workers[number] = worker
            if self._stopping.is_set():
                self._drop(number)
                raise CellError("the comparison was stopped")
            try:
                self.facts = worker.ask(do="open", threads=self.threads, **self._opening)
            except WorkerDied as death:
                raise CellError(f"the model could not be loaded: {death}") from death
        return self.facts

    def ask(self, number: int = 0, **request: Any) -> Any:
        self.open(number)
        worker = self._workers[number]
        assert worker is not None
        return worker.ask(self._hear, **request)

    def measure(self, jobs: Sequence[Job], **common: Any) -> dict[str, str]:
        """Measures the cells of each job; those whose process died -> how. One job at a time a worker."""
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        try:
            with ThreadPoolExecutor(self.size) as pool:
                try:
                    shifts = [pool.submit(self._shift, n, waiting, common) for n in range(min(self.size, len(jobs)))]
                    return {key: why for shift in shifts for key, why in shift.result().items()}
                except BaseException:
                    self._stopping.set()  # else a shift whose worker is gone would go on with a new one
                    self.close()  # what others are busy with ends with them
                    raise
        finally:
            self._stopping.clear()

    def _shift(self, number: int, waiting: queue.SimpleQueue[Job], common: Mapping[str, Any]) -> dict[str, str]:
        died: dict[str, str] = {}
        while not self._stopping.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                break
            try:
                self.ask(number, do="measure", cells=list(job), **common)
            except WorkerDied as death:
                self._drop(number)
                died |= dict.fromkeys(death.cells or [cell["key"] for cell in job], str(death))
        return died
