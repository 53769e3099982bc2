"""All checks, a few side by side, each in a process of its own; what is checked is written at once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from ..bench.cluster.cluster import Cluster
from ..bench.cluster.crew import RETRIES
from ..bench.cluster.hand import RayHand
from ..bench.cluster.spec import parse_workers
from ..bench.progress import Progress
from ..bench.workers.client import WorkerClient, WorkerDied
from ..bench.workers.ending import undisturbed
from ..errors import ParetoError
from . import find
from .check import FAILED, failed
from .records import read_records, write_record

WORKER = "paretolm.papers.worker"
THREADS = 1  # a process: models of this size are fastest so, and numbers stay the same on any machine


@dataclass(frozen=True)
class Call:
    """ids: papers; output: directory of records; store: directory of rows and stopped work; data: of sets given by
    path; workers: processes side by side on this machine; cluster: has them on its nodes instead, as many as fit."""

    ids: tuple[str, ...]
    output: Path
    store: Path
    data: Path | None = None
    workers: int = 2
    cluster: Cluster | None = None


def called(ids: tuple[str, ...], output: Path, store: Path, data: Path | None, workers: str) -> Call:
    """workers: as --workers has them. Raises UserError where they cannot be."""
    asked = parse_workers(workers)
    cluster = None if asked.address is None else Cluster(asked.address, store, THREADS)
    return Call(ids, output, store, data, asked.count or 1, cluster)


def run(call: Call, progress: Progress) -> list[dict[str, Any]]:
    """The records of the papers asked for, in order. Raises UserError for an id nobody knows; a check that fails is
    a record that says so."""
    for name in call.ids:
        find(name)
    progress.plan({name: name for name in call.ids})
    checks = _Checks(call, progress)
    try:
        size = min(call.cluster.size, len(call.ids)) if call.cluster else call.workers
        with progress.showing(), ThreadPoolExecutor(size) as pool:
            try:
                waiting = {name: pool.submit(checks.check, name) for name in _longest_first(call)}
                return [waiting[name].result() for name in call.ids]
            except BaseException:
                checks.stop()
                raise
    finally:
        if call.cluster:
            call.cluster.close()


def _longest_first(call: Call) -> list[str]:
    """By the seconds of the records that are there, so that none of the long ones is left alone at the end."""
    took = {r["id"]: r["seconds"] for r in read_records(call.output)}
    return sorted(call.ids, key=lambda name: -took.get(name, 0))


class _Checks:
    """Checks at work side by side."""

    def __init__(self, call: Call, progress: Progress) -> None:
        self.call, self.progress = call, progress
        self._lock = Lock()
        self._clients: list[WorkerClient | RayHand] = []
        self._stopped = False

    def check(self, name: str) -> dict[str, Any]:
        """The record of one paper, written; KeyboardInterrupt where all was stopped."""
        record = self._checked(name, RETRIES if self.call.cluster else 0)
        if self._stopped:
            raise KeyboardInterrupt
        write_record(self.call.output, record)
        broken = [c["why"] for c in record["claims"] if c["state"] == FAILED]
        self._hear(
            {"event": "failed", "cell": name, "reason": broken[0]} if broken else {"event": "done", "cell": name}
        )
        return record

    def _checked(self, name: str, retries: int) -> dict[str, Any]:
        """Asked again elsewhere where a worker on a node was lost; what was measured there is kept."""
        call, client = self.call, self._start()
        try:
            record: dict[str, Any] = client.ask(
                self._hear,
                do="check",
                name=name,
                store=str(call.store.resolve()),
                data=None if call.data is None else str(call.data.resolve()),
                threads=THREADS,
            )
            return record
        except ParetoError as error:
            if self._stopped or not retries or not isinstance(error, WorkerDied):
                return failed(name, " ".join(str(error).split()))
        finally:
            self._end(client)
        return self._checked(name, retries - 1)

    def stop(self) -> None:
        """Ends what is under way; what waits ends as it starts."""
        with undisturbed(), self._lock:
            self._stopped = True
            for client in self._clients:
                client.close()

    def _start(self) -> WorkerClient | RayHand:
        cluster = self.call.cluster
        client = cluster.hire(WORKER, lambda: not self._stopped) if cluster else WorkerClient(THREADS, WORKER)
        with self._lock:
            if client and not self._stopped:
                self._clients.append(client)
                return client
        if client:
            client.close()
        raise KeyboardInterrupt

    def _end(self, client: WorkerClient | RayHand) -> None:
        with self._lock:
            self._clients.remove(client)
            client.close()

    def _hear(self, event: Mapping[str, Any]) -> None:
        with self._lock:  # checks are heard side by side
            self.progress.hear(event)
