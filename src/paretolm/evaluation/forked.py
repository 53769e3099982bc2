"""One function in a process of its own, forked from one that has only imported what it needs.

As clean as a fresh process for timing (nothing ran in it before) without paying for imports each time. For memory,
where even imported pages count, there is `isolated`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

from ..errors import CellError
from .isolated import describe, environment, rebuilt, signal_name

PRELOADED = ["paretolm.recipes.convert", "paretolm.evaluation.arms"]


def run_forked(
    job: str, arguments: Mapping[str, Any], *, threads: int | None = None, timeout_s: float | None = None
) -> Any:
    """What `module:function` answers to `arguments` (JSON). Thread pools, errors and limits as in `run_isolated`;
    where the system has no fork server the process is a fresh one."""
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    with _pinned(threads):
        process = context.Process(target=_run, args=(sender, job, dict(arguments)), daemon=True)
        process.start()
    sender.close()
    try:
        return _answer(job, process, receiver, timeout_s)
    finally:
        process.kill()
        process.join()
        receiver.close()


@cache
def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@contextmanager
def _pinned(threads: int | None) -> Iterator[None]:
    """The environment the server starts with; the first call decides, as one comparison has one thread count."""
    before = dict(os.environ)
    os.environ.update(environment(threads, {}))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _answer(job: str, process: Any, receiver: Connection, timeout_s: float | None) -> Any:
    try:
        if not receiver.poll(timeout_s):
            raise CellError(f"{job} ran past its limit of {timeout_s:g} s and was stopped")
        answer = receiver.recv()
    except EOFError:
        process.join()
        code = process.exitcode
        if code is not None and code < 0:
            cause = "; the system ended it, most likely for memory" if -code == signal.SIGKILL else ""
            raise CellError(f"{job} was killed by {signal_name(-code)}{cause}") from None
        raise CellError(f"{job} ended with status {code} and no answer") from None
    if "error" in answer:
        raise rebuilt(answer["error"], job)
    return answer["result"]


def _run(sender: Connection, job: str, arguments: dict[str, Any]) -> None:
    """The child's side."""
    sys.stdout.flush()
    os.dup2(2, 1)  # libraries print where they should not
    try:
        _limit_threads()
        module, _, function = job.partition(":")
        answer = {"result": getattr(importlib.import_module(module), function)(**arguments)}
    except Exception as error:  # whatever it was, the parent must hear of it
        answer = {"error": describe(error)}
    sender.send(answer)
    sender.close()


def _limit_threads() -> None:
    import torch

    asked = os.environ.get("OMP_NUM_THREADS")
    if asked:
        torch.set_num_threads(int(asked))
