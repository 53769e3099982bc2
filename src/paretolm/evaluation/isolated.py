"""One function in a fresh process: nothing measured there is disturbed by what ran before.

`python -m paretolm.evaluation.isolated module:function` reads its keyword arguments as JSON from stdin and
answers JSON on stdout; whatever the function prints goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

import psutil

from .. import errors
from ..errors import CellError, ParetoError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_POLL_S = 0.05
_ASKED = re.compile(r"[Tt]ried to allocate ([0-9.]+)\s*(bytes|[KMGT]iB)?")
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def run_isolated(
    job: str,
    arguments: Mapping[str, Any],
    *,
    threads: int | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> Any:
    """What `module:function` answers to `arguments` (JSON) in a fresh process.

    threads pins every thread pool through the environment; the process never reaches for the network.
    A mistake of the user comes back as the error it was; everything else (an exception, out of memory,
    a signal, the time limit) as CellError.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(json.dumps(arguments).encode())
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "paretolm.evaluation.isolated", job],
            stdin=given,
            stdout=out,
            stderr=err,
            env=environment(threads, env or {}),
        )
        try:
            peak = _wait(process, job, timeout_s)
        finally:
            _kill(process)
        return _answer(job, process.returncode, _text(out), _text(err), peak)


def environment(threads: int | None, extra: Mapping[str, str]) -> dict[str, str]:
    pinned = {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))
    path = os.pathsep.join(p for p in sys.path if p)  # the same code, however it was found
    offline = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    return {**os.environ, **offline, **pinned, **extra}


def _wait(process: subprocess.Popen[bytes], job: str, timeout_s: float | None) -> int:
    """Waits for the end; the largest resident size seen meanwhile, in bytes."""
    start, peak = time.monotonic(), 0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        if timeout_s is not None and time.monotonic() - start > timeout_s:
            raise CellError(f"{job} ran past its limit of {timeout_s:g} s and was stopped")
        time.sleep(_POLL_S)
    return peak


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of the process and its children."""
    if process.poll() is not None:
        return
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    process.kill()
    process.wait()


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def _answer(job: str, code: int, out: str, err: str, peak: int) -> Any:
    if code < 0:
        held = f", when it held {size_text(peak)}" if peak else ""
        cause = "; the system ended it, most likely for memory" if -code == getattr(signal, "SIGKILL", 9) else ""
        raise CellError(f"{job} was killed by {signal_name(-code)}{held}{cause}")
    try:
        answer = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        tail = " | ".join(err.strip().splitlines()[-3:]) or "it said nothing"
        raise CellError(f"{job} ended with status {code} and no answer: {tail}") from None
    if "error" in answer:
        raise rebuilt(answer["error"], job)
    return answer["result"]


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def rebuilt(error: Mapping[str, str], job: str = "") -> ParetoError:
    """The package's own error again, or a CellError that tells of a foreign one."""
    kind = getattr(errors, error["kind"], None)
    if isinstance(kind, type) and issubclass(kind, ParetoError):
        return kind(error["message"])
    return CellError(f"{job} failed: " * bool(job) + f"{error['kind']}: {error['message']}")


def size_text(count: float) -> str:
    """1536 -> '1.5 KiB'."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def describe(error: BaseException) -> dict[str, str]:
    """An exception as JSON; out of memory becomes one sentence with the bytes asked for, where known."""
    text = str(error)
    lowered = text.lower()
    if isinstance(error, MemoryError) or "out of memory" in lowered or "can't allocate memory" in lowered:
        asked = _ASKED.search(text)
        size = float(asked[1]) * _UNITS[asked[2] or "bytes"] if asked else None
        return {"kind": "CellError", "message": f"out of memory{f' asking for {size_text(size)}' if size else ''}"}
    return {"kind": type(error).__name__, "message": text}


@contextmanager
def _stdout_to_stderr() -> Iterator[IO[str]]:
    """The real stdout, while descriptor 1 points at stderr: libraries print where they should not."""
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(real, "w") as channel:
        yield channel


def main(job: str) -> None:
    """The child's side."""
    with _stdout_to_stderr() as channel:
        try:
            module, _, function = job.partition(":")
            call = getattr(importlib.import_module(module), function)
            answer = {"result": call(**json.load(sys.stdin))}
        except Exception as error:  # whatever it was, the parent must hear of it
            answer = {"error": describe(error)}
        channel.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
