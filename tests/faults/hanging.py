"""A worker that hangs, computes in silence or talks slowly, as asked."""

from __future__ import annotations

import threading
import time

from paretolm.bench.workers.worker import Worker, serve


class Hanging(Worker):
    def do_hang(self) -> None:
        self.tell({"event": "at", "cells": ["one", "two"]})
        threading.Event().wait()

    def do_compute(self, seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sum(range(10_000))
        return "computed"

    def do_talk(self, times: int, pause_s: float) -> str:
        for _ in range(times):
            time.sleep(pause_s)
            self.tell({"event": "note", "text": "still here"})
        return "talked"


if __name__ == "__main__":
    serve(Hanging)
