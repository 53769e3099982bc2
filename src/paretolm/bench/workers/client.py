"""The parent's side of the worker: starts it, asks it, hears its events, notices its death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import psutil

from ...errors import CellError
from ...evaluation.isolated import THREAD_VARIABLES, rebuilt
from ..records.relay import Event, pass_on
from .watch import IDLE_S, Watch

WORKER = "paretolm.bench.workers.worker"
DEBUG = "PARETOLM_DEBUG"  # set: tracebacks are shown


def _environment(threads: int) -> dict[str, str]:
    """Thread pools pinned, and the same code, however it was found.

    Threads that wait must sleep: spinning ones stall each other on a busy machine, up to fifteenfold."""
    env = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    env |= {"TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "passive"}
    return env | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


class WorkerDied(CellError):
    """The process ended by itself; cells: what it was busy with."""

    def __init__(self, sentence: str, cells: list[str]) -> None:
        super().__init__(sentence)
        self.cells = cells


class WorkerClient:
    """A worker process: a module that calls `serve`. Ctrl-C in the terminal reaches only the parent, which then
    ends it. idle_s: a process that is silent and does nothing for so many seconds hangs and is ended. env: what it
    gets beside our own environment; serve: answers what it asks of a store elsewhere."""

    def __init__(
        self,
        threads: int,
        module: str = WORKER,
        *,
        idle_s: float = IDLE_S,
        env: Mapping[str, str] = MappingProxyType({}),
        serve: Callable[[Event], Any] = pass_on,
    ) -> None:
        self._idle_s = idle_s
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115, closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get(DEBUG) else self._stderr,
            env=_environment(threads) | dict(env),
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._serve, self._cells = serve, list[str]()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, hear: Callable[[Mapping[str, Any]], None] = lambda _: None, **request: Any) -> Any:
        """The answer to one request; events before it go to `hear`. Raises the worker's own error, or WorkerDied."""
        self._send(request)
        with Watch(self.pid, self._kill, self._idle_s) as watch:
            for event in self._events():
                watch.heard()
                match event["event"]:
                    case "end":
                        return event["result"]
                    case "error":
                        raise rebuilt(event["error"])
                    case "store" | "file":
                        self._answer(event)
                    case "at":
                        self._cells = event["cells"]
                        hear(event)
                    case _:
                        hear(event)
        raise WorkerDied(watch.why, self._cells) if watch.why else self._death()

    def _answer(self, event: Event) -> None:
        answer = self._serve(event)
        if event["wants"]:
            self._send({"reply": answer})

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _events(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):  # a line cut off by the process's end
                yield json.loads(line)

    def _death(self) -> WorkerDied:
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            cause = ", most likely for lack of memory" if name == "SIGKILL" else ""
            return WorkerDied(f"the process was ended by {name}{cause}", self._cells)
        self._stderr.seek(0)
        tail = " | ".join(self._stderr.read().decode(errors="replace").strip().splitlines()[-3:])
        return WorkerDied(f"the process ended with status {code}: {tail or 'it said nothing'}", self._cells)

    def close(self) -> None:
        """Ends the process and its children, at once."""
        self._kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]

    def _kill(self) -> None:
        if self._process.poll() is None:
            with suppress(psutil.Error):
                for child in psutil.Process(self._process.pid).children(recursive=True):
                    child.kill()
            self._process.kill()
