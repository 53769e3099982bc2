"""What runs on a node of a cluster: a worker process as on any machine, heard and answered from elsewhere."""

from __future__ import annotations

import platform
import queue
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from ... import reference
from ...bridge.content import content_hash
from ...evaluation.isolated import describe
from ...evaluation.machine import machine
from ..records.keys import PACKAGE, device_kind, digest, file_hash, library_versions
from ..records.relay import RELAYED, Event
from ..workers.client import WorkerClient, WorkerDied

POLL_S = 1.0


def about(device: str) -> dict[str, Any]:
    """What must be equal on all machines, and which machine this is."""
    code = {f.relative_to(PACKAGE).as_posix(): file_hash(f) for f in sorted(PACKAGE.rglob("*.py"))}
    embedded = {name: content_hash(reference.model_path(name)) for name in reference.names()}
    embedded["text"] = file_hash(reference.text_path())
    same = {"paretolm": version("paretolm"), "the code of paretolm": digest(code), "Python": platform.python_version()}
    same["what is embedded in paretolm"] = digest(embedded)
    same |= library_versions() | {"the accelerator": device_kind(device)[1] or "none"}
    return {"same": same, "machine": machine().as_json()}


class Post:
    """One worker process, and what it said that was not fetched yet."""

    def __init__(self, threads: int, module: str) -> None:
        self._events, self._replies = queue.Queue[Event](), queue.Queue[Any]()
        self._client = WorkerClient(threads, module, env={RELAYED: "1"}, serve=self._serve)

    def ask(self, request: Mapping[str, Any]) -> None:
        """Begins a request; `hear` brings what comes of it, at the end 'end', 'error' or 'died'."""
        threading.Thread(target=self._run, args=(request,), daemon=True).start()

    def hear(self, replies: Sequence[Any]) -> list[Event]:
        """Answers what was asked, in order; what came since, as soon as there is anything or after a while."""
        for reply in replies:
            self._replies.put(reply)
        found: list[Event] = []
        with suppress(queue.Empty):
            found.append(self._events.get(timeout=POLL_S))
            while True:
                found.append(self._events.get_nowait())
        return found

    def _run(self, request: Mapping[str, Any]) -> None:
        last: Event
        try:
            last = {"event": "end", "result": self._client.ask(self._events.put, **request)}
        except WorkerDied as death:
            last = {"event": "died", "why": str(death), "cells": death.cells}
        except Exception as error:  # whatever it was, the machine of the call must hear of it
            last = {"event": "error", "error": describe(error)}
        self._events.put(last)

    def _serve(self, event: Event) -> Any:
        self._events.put(event)
        return self._replies.get() if event["wants"] else None
