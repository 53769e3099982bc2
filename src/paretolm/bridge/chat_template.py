"""Chat templates, which are programs that came with a model: they run in a process of their own, within bounds.

The process is forked once a tokenizer, so that it needs nothing loaded and runs the very template that the tokenizer
holds; it ends with the tokenizer, or when a template goes beyond its bounds. What a template may touch is bounded by
transformers' sandbox; here are bounds on time, memory and length. Where the system has no fork (Windows) only the
sandbox stands.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, NoReturn

import psutil

from ..errors import CallError

TIME_S = 5.0
MEMORY = 1 << 30  # bytes beyond what the process holds anyway
LENGTH = 16 << 20  # characters
_PARALLEL = "TOKENIZERS_PARALLELISM"
_HOSTILE = "and was stopped; it may be hostile"


def render(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Any] | None = None, answer: bool
) -> str:
    """The text that the tokenizer's chat template makes of messages, with the start of an answer where asked for.

    Raises CallError for what the template refuses, and for a template that takes more than TIME_S, MEMORY or LENGTH."""
    call: dict[str, Any] = {"tokenize": False}
    call |= {"add_generation_prompt": True} if answer else {}
    call |= {"tools": list(tools)} if tools else {}
    if hasattr(os, "fork"):
        said = _renderer(tokenizer).ask([list(messages), call])
    else:
        said = _rendered(tokenizer, list(messages), call)
    if "text" not in said:
        raise CallError(f"the model's chat template {said['error']}")
    return whole(said["text"], "what the chat template makes of the conversation")


def whole(text: str, what: str) -> str:
    """Text that has bytes in UTF-8. Raises CallError for half of a surrogate pair, which tokenizers refuse."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CallError(
            f"{what} is not whole: character {error.start + 1} is no character of UTF-8 (half of a pair, or a byte of "
            "another encoding); give UTF-8 text"
        ) from None
    return text


def _rendered(tokenizer: Any, messages: list[Any], call: Mapping[str, Any]) -> dict[str, str]:
    try:
        text = tokenizer.apply_chat_template(messages, **call)
    except MemoryError:
        return {"error": f"took more than {MEMORY >> 20} MiB of memory {_HOSTILE}"}
    except Exception as error:  # templates raise what they like
        return {"error": f"refuses these messages: {error}"}
    if len(text) > LENGTH:
        return {"error": f"wrote more than {LENGTH >> 20} million characters {_HOSTILE}"}
    return {"text": text}


# --- the process ---

_RENDERERS: weakref.WeakKeyDictionary[Any, _Renderer] = weakref.WeakKeyDictionary()
_LOCK = Lock()


def _renderer(tokenizer: Any) -> _Renderer:
    """The tokenizer's process; a new one where its template was changed, or the process is gone."""
    with _LOCK:
        known = _RENDERERS.get(tokenizer)
        if known is None or known.template != tokenizer.chat_template or not known.alive:
            known = _RENDERERS[tokenizer] = _Renderer(tokenizer)
        return known


class _Renderer:
    """One process with one template; a request and its answer are a line each."""

    def __init__(self, tokenizer: Any) -> None:
        import jinja2.sandbox  # noqa: F401, before the fork and outside of its bound on memory

        self.template = tokenizer.chat_template
        self._lock = Lock()
        ours, theirs = socket.socketpair()
        with _forking():
            self._pid = os.fork()
        if not self._pid:
            _serve(theirs, tokenizer)
        theirs.close()
        self._channel = ours
        self._end = weakref.finalize(self, _stop, self._pid, ours)

    @property
    def alive(self) -> bool:
        return bool(self._end.alive)

    def ask(self, request: list[Any]) -> dict[str, str]:
        """What the process answers; why it was ended, where it does not."""
        with self._lock:
            try:
                self._channel.sendall(json.dumps(request).encode() + b"\n")
                raw = self._read(time.monotonic() + TIME_S)
            except (OSError, EOFError):
                self._end()
                return {"error": f"ended its process, most likely for more than {MEMORY >> 20} MiB of memory"}
            if raw is None:
                self._end()
                return {"error": f"was not done after {TIME_S:g} s {_HOSTILE}"}
            return dict(json.loads(raw))

    def _read(self, deadline: float) -> bytes | None:
        """A line; None where it does not come in time. Raises EOFError where the process is gone."""
        found = []
        while select.select([self._channel], [], [], max(0.0, deadline - time.monotonic()))[0]:
            chunk = self._channel.recv(1 << 20)
            if not chunk:
                raise EOFError
            found.append(chunk)
            if chunk.endswith(b"\n"):
                return b"".join(found)
        return None


def _stop(pid: int, channel: socket.socket) -> None:
    """It is waited for nowhere else, so the number is its own."""
    channel.close()
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(channel: socket.socket, tokenizer: Any) -> NoReturn:
    """The child's side. Ends the process whatever happens: nothing of the parent's may be run or closed twice."""
    try:
        gc.disable()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _bound_memory()
        for line in channel.makefile("rb"):
            channel.sendall(json.dumps(_rendered(tokenizer, *json.loads(line))).encode() + b"\n")
    finally:
        os._exit(0)


def _bound_memory() -> None:
    import resource  # not on every system

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    bound = psutil.Process().memory_info().vms + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (bound if most == resource.RLIM_INFINITY else min(bound, most), most))


@contextmanager
def _forking() -> Iterator[None]:
    """Without the warnings for children that go on with threads of their parent's: ours only runs Python."""
    before = os.environ.get(_PARALLEL)
    os.environ.setdefault(_PARALLEL, "true")  # what it is by default; unset, the tokenizers' library warns
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        if before is None:
            os.environ.pop(_PARALLEL, None)
