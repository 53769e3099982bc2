"""One model, one request at a time: requests wait in turns, and a worker thread writes their texts.

Everything here but `_work` runs in the event loop, so nothing is locked.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..errors import ParetoError
from .asked import Asked
from .limits import Limits
from .metrics import Metrics
from .queue import Turns
from .refusal import Refusal
from .writer import Event

Write = Callable[[Asked, Callable[[Event], None], Callable[[], bool]], None]
_GOING = "the server is about to end and takes no more work"
_CUT = "the server ended before this was written"


@dataclass(eq=False)
class Job:
    """A request at work. news: what is written, then None for its end or the error it ended with."""

    asked: Asked
    client: str
    arrived: float = field(default_factory=time.monotonic)
    news: asyncio.Queue[Event | Refusal | None] = field(default_factory=asyncio.Queue)
    given_up: threading.Event = field(default_factory=threading.Event)
    ended: bool = False


class Engine:
    """write: the model's work, called in a thread of its own, for one request at a time."""

    def __init__(self, write: Write, limits: Limits, metrics: Metrics) -> None:
        self._write, self.limits, self.metrics = write, limits, metrics
        self._turns: Turns[Job] = Turns()
        self._running: Job | None = None
        self._awake = asyncio.Event()
        self.draining = False
        self._seconds = 1.0  # a request takes, of late

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "model") as thread:
            while True:
                await self._awake.wait()
                job = self._turns.next()
                if job is None:
                    self._awake.clear()
                    continue
                self._running, began = job, time.monotonic()
                self._show()
                try:
                    end = await loop.run_in_executor(thread, self._work, job, loop)
                finally:  # cancelled: the thread is waited for
                    job.given_up.set()
                self._end(job, end)
                self._seconds += 0.3 * (time.monotonic() - began - self._seconds)
                self._running = None
                self._show()

    def submit(self, asked: Asked, client: str) -> Job:
        """Raises Refusal where too many wait, or the server is about to end."""
        if self.draining:
            raise Refusal(_GOING, 503)
        if self._running is not None and len(self._turns) >= self.limits.waiting:
            wait = min(60, max(1, math.ceil(self._seconds * (len(self._turns) + 1))))
            raise Refusal(
                f"{len(self._turns)} requests wait already; try again in {wait} s",
                429,
                code="rate_limit_exceeded",
                retry_after=wait,
            )
        job = Job(asked, client)
        self._turns.add(client, job)
        self._awake.set()
        self._show()
        return job

    def leave(self, job: Job) -> None:
        """Nobody waits for it any more; where it still runs, it ends before its next token."""
        if not job.ended and not job.given_up.is_set():
            self.metrics.cancelled.inc()
        job.given_up.set()
        self._turns.remove(job.client, job)
        self._show()

    def drain(self) -> None:
        """What runs goes on, what waits is refused, nothing new comes in."""
        self.draining = True
        for job in self._turns.clear():
            self._end(job, Refusal(_GOING, 503))
        self._show()

    def cut(self) -> None:
        """What runs ends before its next token."""
        if self._running is not None:
            self._running.given_up.set()
            self._end(self._running, Refusal(_CUT, 503))

    def _end(self, job: Job, how: Refusal | None) -> None:
        if not job.ended:
            job.ended = True
            job.news.put_nowait(how)

    def _show(self) -> None:
        self.metrics.waiting.set(len(self._turns))
        self.metrics.running.set(self._running is not None)

    def _work(self, job: Job, loop: asyncio.AbstractEventLoop) -> Refusal | None:
        """In the worker thread. What went wrong, as a sentence."""

        def emit(event: Event) -> None:
            if not job.given_up.is_set():
                loop.call_soon_threadsafe(job.news.put_nowait, event)

        try:
            self._write(job.asked, emit, job.given_up.is_set)
        except Refusal as refusal:
            return refusal
        except ParetoError as error:
            return Refusal(str(error))
        except Exception as error:
            sentence = f"the model failed at this request ({type(error).__name__}: {error})"
            print(f"error: {sentence}", file=sys.stderr)
            return Refusal(sentence, 500)
        return None
