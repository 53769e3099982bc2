"""Conditions of a call, and workers inside this process, so that a comparison takes no second."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from paretolm.bench.records.keys import Conditions
from paretolm.bench.workers.worker import Worker
from paretolm.evaluation.isolated import rebuilt


def conditions(**changes: Any) -> Conditions:
    facts: dict[str, Any] = {
        "content": "c0",
        "model": "m0",
        "tokenizer": "t0",
        "template": "",
        "device": "cpu",
        "accelerator": "",
        "dtype": "float32",
        "attention": "sdpa",
        "threads": 1,
        "seed": 0,
        "versions": {"torch": "2.13"},
    }
    return Conditions(**{**facts, **changes})


class InlineCrew:
    """workers.crew.Crew without processes: one worker here, one job after the other."""

    def __init__(
        self, size: int, threads: int, opening: Mapping[str, Any], hear: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self.size, self.threads, self.facts = size, threads, dict[str, Any]()
        self._opening, self._hear = opening, hear
        self._worker: Worker | None = None
        self._answer: Any = None

    def close(self) -> None:
        self._worker = None

    def open(self, number: int = 0) -> dict[str, Any]:
        if self._worker is None:
            before = torch.get_num_threads()
            self._worker = Worker(self)  # type: ignore[arg-type]
            self.facts = self._ask(do="open", threads=self.threads, **self._opening)
            torch.set_num_threads(before)
        return self.facts

    def ask(self, number: int = 0, **request: Any) -> Any:
        self.open(number)
        return self._ask(**request)

    def measure(self, jobs: Sequence[Sequence[Mapping[str, Any]]], **common: Any) -> dict[str, str]:
        for job in jobs:
            self.ask(do="measure", cells=list(job), **common)
        return {}

    def _ask(self, **request: Any) -> Any:
        assert self._worker is not None
        self._worker.answer(json.loads(json.dumps(request)))
        return self._answer

    # --- the channel that the worker writes to ---

    def write(self, line: str) -> None:
        event = json.loads(line)
        if event["event"] == "error":
            raise rebuilt(event["error"])
        if event["event"] == "end":
            self._answer = event["result"]
        elif event["event"] != "at":
            self._hear(event)

    def flush(self) -> None:
        """Nothing is buffered."""
