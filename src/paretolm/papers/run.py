"""All checks, a few side by side, each in a process of its own; what is checked is written at once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from ..bench.progress import Progress
from ..bench.workers.client import WorkerClient
from ..errors import ParetoError
from . import find
from .check import FAILED, failed
from .records import read_records, write_record

WORKER = "paretolm.papers.worker"
THREADS = 1  # a process: models of this size are fastest so, and numbers stay the same on any machine


@dataclass(frozen=True)
class Call:
    """ids: papers; output: directory of records; store: directory of rows and stopped work; data: of sets given by
    path."""

    ids: tuple[str, ...]
    output: Path
    store: Path
    data: Path | None = None
    workers: int = 2


def run(call: Call, progress: Progress) -> list[dict[str, Any]]:
    """The records of the papers asked for, in order. Raises UserError for an id nobody knows; a check that fails is
    a record that says so."""
    for name in call.ids:
        find(name)
    progress.plan({name: name for name in call.ids})
    checks = _Checks(call, progress)
    with progress.showing(), ThreadPoolExecutor(call.workers) as pool:
        try:
            waiting = {name: pool.submit(checks.check, name) for name in _longest_first(call)}
            return [waiting[name].result() for name in call.ids]
        except BaseException:
            checks.stop()
            raise


def _longest_first(call: Call) -> list[str]:
    """By the seconds of the records that are there, so that none of the long ones is left alone at the end."""
    took = {r["id"]: r["seconds"] for r in read_records(call.output)}
    return sorted(call.ids, key=lambda name: -took.get(name, 0))


class _Checks:
    """Checks at work side by side."""

    def __init__(self, call: Call, progress: Progress) -> None:
        self.call, self.progress = call, progress
        self._lock = Lock()
        self._clients: set[WorkerClient] = set()
        self._stopped = False

    def check(self, name: str) -> dict[str, Any]:
        """The record of one paper, written; KeyboardInterrupt where all was stopped."""
        client = self._start()
        call = self.call
        try:
            record: dict[str, Any] = client.ask(
                self._hear,
                do="check",
                name=name,
                store=str(call.store.resolve()),
                data=None if call.data is None else str(call.data.resolve()),
                threads=THREADS,
            )
        except ParetoError as error:
            record = failed(name, " ".join(str(error).split()))
        finally:
            self._end(client)
        if self._stopped:
            raise KeyboardInterrupt
        write_record(call.output, record)
        broken = [c["why"] for c in record["claims"] if c["state"] == FAILED]
        self._hear(
            {"event": "failed", "cell": name, "reason": broken[0]} if broken else {"event": "done", "cell": name}
        )
        return record

    def stop(self) -> None:
        """Ends what is under way; what waits ends as it starts."""
        with self._lock:
            self._stopped = True
            for client in self._clients:
                client.close()

    def _start(self) -> WorkerClient:
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            client = WorkerClient(THREADS, WORKER)
            self._clients.add(client)
        return client

    def _end(self, client: WorkerClient) -> None:
        with self._lock:
            self._clients.discard(client)
            client.close()

    def _hear(self, event: Mapping[str, Any]) -> None:
        with self._lock:  # checks are heard side by side
            self.progress.hear(event)
