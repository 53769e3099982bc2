"""A server on a free port of this machine, in a thread of its own, with a tiny model."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import openai
import pytest

from paretolm.bridge.lm import LM
from paretolm.recipes.recipe import Recipe
from paretolm.recipes.session import Session
from paretolm.serving.app import Served
from paretolm.serving.limits import Limits
from paretolm.serving.models import side_by_side
from paretolm.serving.server import Server, listen
from tests.evaluation import judging

NAME = "tiny"
LIMITS = Limits(tokens=judging.TRAINED)
LOCAL = frozenset({"localhost", "127.0.0.1"})


class Running:
    """A server at work; `ask` speaks plain HTTP to it, `client` as OpenAI's library does."""

    def __init__(self, session: Session, server: Server, port: int) -> None:
        self.session, self.server, self.port = session, server, port
        self._clients: dict[str, openai.OpenAI] = {}
        self.engine, self.metrics = server.app.engine, server.app.metrics

    def client(self, key: str = "none") -> openai.OpenAI:
        if key not in self._clients:
            url = f"http://127.0.0.1:{self.port}/v1"
            self._clients[key] = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=20)
        return self._clients[key]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def ask(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None, method: str = ""
    ) -> tuple[int, dict[str, str], str]:
        """(status, headers by lower name, text). A body that is no bytes is sent as JSON."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as line:
            line.request(method or ("GET" if body is None else "POST"), path, raw, sent)
            got = line.getresponse()
            return got.status, {k.lower(): v for k, v in got.getheaders()}, got.read().decode()

    def refused(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """(status, sentence)."""
        status, _, text = self.ask(path, body, headers)
        return status, json.loads(text)["error"]["message"]

    def wait(self, what: Any, seconds: float = 5.0) -> float:
        """Seconds until `what()` is true."""
        began = time.monotonic()
        while not what():
            assert time.monotonic() - began < seconds, "it did not come to that"
            time.sleep(0.01)
        return time.monotonic() - began

    @property
    def busy(self) -> bool:
        return self.metrics.running._value.get() == 1

    @property
    def waiting(self) -> int:
        return int(self.metrics.waiting._value.get())


@contextlib.contextmanager
def running(recipe: str = "", tokenizer: Any = None, **changes: Any) -> Iterator[Running]:
    """changes: of Limits, keys and hosts of Served, and lm, by default a tiny one."""
    own = {name: changes.pop(name) for name in ("keys", "hosts") if name in changes}
    lm = changes.pop("lm", None) or LM.from_model(
        copy.deepcopy(judging.lm().model), tokenizer or judging.tokenizer(), NAME
    )
    with (
        side_by_side(replace(lm, recipe_left=recipe)) as (session, untouched),
        listen("127.0.0.1", 0) as place,
    ):
        fingerprint, limits = f"recipe-{Recipe.parse(recipe).hash}", replace(LIMITS, **changes)
        server = Server(Served(session, NAME, fingerprint, limits, **{"hosts": LOCAL, "untouched": untouched, **own}))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[place])))
        thread.start()
        at_work = Running(session, server, place.getsockname()[1])
        try:
            at_work.wait(lambda: server.started)
            yield at_work
        finally:
            at_work.close()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture(scope="package")
def server() -> Iterator[Running]:
    """The untouched model, without keys."""
    with running() as at_work:
        yield at_work


@pytest.fixture
def in_threads() -> Iterator[Callable[..., Future[Any]]]:
    """A call in a thread of its own -> its future."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit
