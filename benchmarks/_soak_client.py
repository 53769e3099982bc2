"""Clients of serve_soak.py: what they ask, and what became of each request."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

PATHS = {"completion": "/v1/completions", "chat": "/v1/chat/completions"}
KINDS = 48  # different questions, each asked again and again
MALFORMED = (  # body, status
    (b"{", 400),
    (b"[" * 50_000, 400),
    (b'{"model": "soak", "prompt": []}', 400),
    (b'{"model": "soak", "prompt": "a", "temperature": -1}', 400),
    (b'{"model": "soak", "prompt": "a", "surprise": 1}', 400),
    (b'{"model": "other", "prompt": "a"}', 404),
    (b'{"model": "soak", "prompt": "' + b"a " * 700_000 + b'"}', 413),
)
WORDS = [
    "river",
    "stone",
    "lamp",
    "window",
    "garden",
    "paper",
    "silver",
    "morning",
    "letter",
    "bridge",
    "cloud",
    "engine",
    "winter",
    "music",
    "road",
]


@dataclass(frozen=True)
class Ask:
    """Question `kind` of KINDS; way: how it is asked, and how long its client stays."""

    number: int
    kind: int
    way: str  # whole, stream, malformed, abort, reset, leave

    @property
    def route(self) -> str:
        return "chat" if self.kind % 3 == 0 else "completion"

    @property
    def prompt(self) -> str:
        rng = random.Random(self.kind)
        return " ".join(rng.choices(WORDS, k=150 if self.kind % 5 == 0 else 6))

    @property
    def size(self) -> int:
        return 2 + 2 * (self.kind % 7)

    @property
    def body(self) -> dict[str, Any]:
        said = (
            {"messages": [{"role": "user", "content": self.prompt}]}
            if self.route == "chat"
            else {"prompt": self.prompt}
        )
        chance = {"temperature": self.kind % 2, "seed": self.kind, "max_tokens": self.size}
        return {"model": "soak", "stream": self.way not in ("whole", "leave"), **said, **chance}


def questions(count: int, seed: int) -> list[Ask]:
    rng = random.Random(seed)
    ways = ["whole"] * 9 + ["stream"] * 8 + ["malformed"] * 3 + ["abort"] * 2 + ["reset", "leave"]
    return [Ask(number, rng.randrange(KINDS), rng.choice(ways)) for number in range(count)]


@dataclass
class Server:
    """As clients know it. up: cleared before it is killed; life: how many times it was started."""

    port: int
    up: threading.Event = field(default_factory=threading.Event)
    life: int = 0

    def let_in(self) -> None:
        self.life += 1
        self.up.set()


class Wrong(Exception):
    """An answer that should not be."""


class Clients:
    """texts: the right answer of each kind. found: number -> what became of it; wrong: what should not be."""

    def __init__(self, server: Server, asks: list[Ask], texts: dict[int, str], timeout: float) -> None:
        self.server, self.texts, self.timeout = server, texts, timeout
        self._left = iter(asks)
        self._lock = threading.Lock()
        self.found: dict[int, str] = {}
        self.wrong: list[str] = []

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.found.values())

    def work(self) -> None:
        """One client, until nothing is left to ask."""
        while (ask := self._next()) is not None:
            self.server.up.wait()
            life = self.server.life
            try:
                outcome = self.send(ask)
            except Wrong as error:
                outcome = "wrong"
                self.wrong.append(f"{ask}: {error}")
            except (OSError, http.client.HTTPException) as error:
                outcome = "cut by a kill"
                if self.server.up.is_set() and self.server.life == life:
                    outcome = "lost"
                    self.wrong.append(f"{ask}: {type(error).__name__}: {error}")
            except Exception as error:  # a client that dies would be missed by nobody
                outcome = "wrong"
                self.wrong.append(f"{ask}: {type(error).__name__}: {error}")
            with self._lock:
                assert ask.number not in self.found
                self.found[ask.number] = outcome

    def end(self) -> None:
        """Nothing more is asked."""
        with self._lock:
            self._left = iter(())
        self.server.up.set()

    def _next(self) -> Ask | None:
        with self._lock:
            return next(self._left, None)

    def send(self, ask: Ask) -> str:
        malformed = MALFORMED[ask.kind % len(MALFORMED)] if ask.way == "malformed" else None
        body = malformed[0] if malformed else json.dumps(ask.body).encode()
        line = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=self.timeout)
        with contextlib.closing(line):
            path = PATHS["completion" if malformed else ask.route]
            line.request("POST", path, body, {"Content-Type": "application/json"})
            if ask.way == "leave":
                time.sleep(0.002 * (ask.number % 10))
                return "left unread"
            got = line.getresponse()
            if got.status != 200 or malformed:
                return self._refused(got, malformed[1] if malformed else None)
            return self._streamed(ask, line, got) if ask.body["stream"] else self._whole(ask, got)

    def _refused(self, got: http.client.HTTPResponse, expected: int | None) -> str:
        said = json.loads(got.read())
        if got.status == 200:
            raise Wrong(f"200 instead of {expected}: {said}")
        sentence = said["error"]["message"]
        if expected is None and got.status not in (429, 503):
            raise Wrong(f"refused with {got.status}: {sentence}")
        if expected is not None and got.status not in (expected, 503):
            raise Wrong(f"{got.status} instead of {expected}: {sentence}")
        if got.status == 429:
            time.sleep(float(got.headers["Retry-After"]))
        return f"refused, {got.status}"

    def _whole(self, ask: Ask, got: http.client.HTTPResponse) -> str:
        choice = json.loads(got.read())["choices"][0]
        self._check(ask, choice["message"]["content"] if ask.route == "chat" else choice["text"], whole=True)
        return "answered"

    def _streamed(self, ask: Ask, line: http.client.HTTPConnection, got: http.client.HTTPResponse) -> str:
        text, goes = "", 1 + ask.number % 3 if ask.way in ("abort", "reset") else None
        for count, event in enumerate(_events(got)):
            if "error" in event:
                return "cut at the end" if "ended before" in event["error"]["message"] else _raise(event)
            for choice in event["choices"]:
                text += (choice["delta"].get("content") or "") if ask.route == "chat" else choice["text"]
            if goes is not None and count >= goes:
                self._check(ask, text, whole=False)
                if ask.way == "reset" and line.sock is not None:
                    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                got.close()
                return "left in the middle"
        self._check(ask, text, whole=True)
        return "answered"

    def _check(self, ask: Ask, text: str, *, whole: bool) -> None:
        right = self.texts[ask.kind]
        if text != right if whole else not right.startswith(text):
            raise Wrong(f"{text!r} instead of {right!r}")


def _events(got: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Of a stream. Raises HTTPException where it ends without its end."""
    for raw in got:
        line = raw.decode().strip()
        if line == "data: [DONE]":
            got.read()
            return
        if line:
            try:
                event = json.loads(line.removeprefix("data: "))
            except ValueError:  # the connection ended within it
                raise http.client.IncompleteRead(raw) from None
            yield event
            if "error" in event:
                return
    raise http.client.IncompleteRead(b"")


def _raise(event: dict[str, Any]) -> str:
    raise Wrong(f"a stream said {event['error']['message']}")
