"""Workers on a cluster for one comparison. A job whose worker is lost is asked again elsewhere."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Condition
from typing import Any

from ...errors import CellError, UserError
from ..workers.client import WORKER, WorkerDied
from ..workers.crew import Crew, Hear, Job
from ..workers.ending import undisturbed
from .cluster import Cluster
from .hand import RayHand

RETRIES = 2  # a cell that was under way when so many more workers than one were lost is broken


class Jobs:
    """Jobs of one round: each is handed out once, and again as often as its worker is lost and its cells may be tried."""

    def __init__(self, jobs: Sequence[Job], retries: int = RETRIES) -> None:
        self.broken: dict[str, str] = {}
        self._waiting, self._out, self._stopped = deque(jobs), 0, False
        self._lost, self._retries, self._changed = Counter[str](), retries, Condition()

    def any(self) -> bool:
        """Whether one waits."""
        return bool(self._waiting) and not self._stopped

    def await_one(self) -> bool:
        """Whether there is one, once that is known: a job at work may come back."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._out or self._stopped)
            return self.any()

    def take(self) -> Job | None:
        with self._changed:
            if not self.any():
                return None
            self._out += 1
            return self._waiting.popleft()

    def done(self) -> None:
        self._end(None)

    def lost(self, job: Job, death: WorkerDied) -> None:
        """Its worker is gone. What it was busy with is tried again, or broken; other cells are asked for in any case."""
        blamed = death.cells or [cell["key"] for cell in job]
        self._lost.update(blamed)
        over = {key: f"{death}; {self._lost[key]} workers were lost on it" for key in blamed if self._over(key)}
        self.broken |= over
        self._end(None if over else job)  # the others of a broken cell's job are asked for in the next round

    def _over(self, key: str) -> bool:
        return self._lost[key] > self._retries

    def _end(self, again: Job | None) -> None:
        with self._changed:
            self._out -= 1
            if again is not None:
                self._waiting.append(again)
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


class ClusterCrew:
    """A worker on this machine says what there is to measure, workers on the nodes measure it. same: what must be
    equal on all machines: 'the model' and 'the text' -> their hashes."""

    def __init__(self, cluster: Cluster, opening: Mapping[str, Any], hear: Hear, same: Mapping[str, str]) -> None:
        self.threads = cluster.threads
        self._cluster, self._opening, self._hear, self._same = cluster, opening, hear, dict(same)
        self._here = Crew(1, cluster.threads, opening, hear)
        self._hands: dict[int, RayHand] = {}
        self._unopened = 0  # workers lost while they loaded the model

    @property
    def size(self) -> int:
        return self._cluster.size

    def open(self) -> dict[str, Any]:
        return self._here.open()

    def ask(self, **request: Any) -> Any:
        return self._here.ask(**request)

    def close(self) -> None:
        with undisturbed():
            self._here.close()
            self._drop_all()
            self._cluster.close()

    def _drop_all(self) -> None:
        with undisturbed():
            for number in list(self._hands):
                self._drop(number)

    def _drop(self, number: int) -> None:
        if hand := self._hands.pop(number, None):
            hand.close()

    def measure(self, jobs: Sequence[Job], **common: Any) -> dict[str, str]:
        """As Crew.measure: cells that lost too many workers -> how."""
        self._here.close()  # its memory is not needed meanwhile
        todo = Jobs(jobs)
        with ThreadPoolExecutor(min(self.size, len(jobs))) as pool:
            shifts = [pool.submit(self._shift, n, todo, common) for n in range(min(self.size, len(jobs)))]
            try:
                for shift in wait(shifts, return_when=FIRST_EXCEPTION).done:
                    shift.result()
            except BaseException:
                todo.stop()
                self._drop_all()
                raise
        return todo.broken

    def _shift(self, number: int, todo: Jobs, common: Mapping[str, Any]) -> None:
        while todo.await_one():
            job: Job | None = None
            try:
                hand = self._hired(number, todo.any)
                job = todo.take() if hand else None
                if hand and job is not None:
                    self._check(hand, job)
                    hand.ask(self._hear, do="measure", cells=list(job), **common)
                    todo.done()
            except WorkerDied as death:
                self._drop(number)
                if job is not None:
                    todo.lost(job, death)

    def _hired(self, number: int, wanted: Callable[[], bool]) -> RayHand | None:
        if number not in self._hands and (hand := self._cluster.hire(WORKER, wanted)):
            self._hands[number] = hand
            try:
                hand.ask(self._hear, do="open", threads=self.threads, **self._opening)
            except WorkerDied as death:
                self._unopened += 1
                if self._unopened > RETRIES:
                    raise CellError(f"the model could not be loaded on the cluster: {death}") from death
                raise
        return self._hands.get(number)

    def _check(self, hand: RayHand, job: Job) -> None:
        """Raises UserError where the node has another model, text or data under the same names."""
        needs = {name: known for cell in job for name, known in cell.get("needs", {}).items()}
        there = hand.ask(do="hashes", names=list(needs))
        for name, known in (self._same | needs).items():
            if there[name] != known:
                raise UserError(
                    f"{name} is not on {hand.where} what it is here ({there[name][:12] or 'nothing'} there, "
                    f"{known[:12]} here); put the same under the same path on every node"
                )
