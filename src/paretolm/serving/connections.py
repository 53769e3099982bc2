"""Connections: how many there are at a time, and how long a client may keep the server waiting on one."""

from __future__ import annotations

import asyncio
import http
import json
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import Limits
from .metrics import Metrics
from .refusal import Refusal


class Connection(H11Protocol):
    """uvicorn's, with an end to waiting. A client that owes the server something (the head of a request, the rest of a
    body that was answered already) or takes nothing from it has Limits.patience for that, however often it sends a
    byte. The time of a body that is being read is the application's, that of an idle connection uvicorn's."""

    def __init__(self, limits: Limits, metrics: Metrics, **given: Any) -> None:
        super().__init__(**given)
        self._limits, self._metrics = limits, metrics
        self._sending = Clock(limits.patience, self._sent_too_slowly)
        self._taking = Clock(limits.patience, self._taken_too_slowly)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        most = self._limits.connections
        if len(self.connections) > most:
            self._send_away(Refusal(f"there are {most} connections already; try again later", 503, retry_after=1))
        else:
            self._sending.run(True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sending.run(False)
        self._taking.run(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._sending.run(self._owes and not self.transport.is_closing())

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._sending.run(self._owes and not self.transport.is_closing())

    @property
    def _owes(self) -> bool:
        theirs = self.conn.their_state
        if theirs is h11.IDLE:
            return bool(self.conn.trailing_data[0]) or self.cycle is None
        return theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE

    def _sent_too_slowly(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self._send_away(Refusal(f"the request did not begin within {self._limits.patience:g} s", 408))
        else:
            self.transport.abort()

    def _taken_too_slowly(self) -> None:
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        size = self._limits.header_bytes
        self._send_away(Refusal(f"this is no HTTP/1.1, or has headers of more than {size} bytes", 400))

    def _send_away(self, refusal: Refusal) -> None:
        """Before any route is known."""
        body = json.dumps(refusal.body).encode()
        about = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        head = h11.Response(
            status_code=refusal.status,
            headers=list((about | refusal.headers).items()),
            reason=http.HTTPStatus(refusal.status).phrase.encode(),
        )
        self.transport.write(
            b"".join(self.conn.send(e) or b"" for e in (head, h11.Data(data=body), h11.EndOfMessage()))
        )
        self.transport.close()
        self._metrics.requests.labels("other", str(refusal.status)).inc()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking.run(True)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taking.run(False)


class Clock:
    """Calls `late` when it ran for `seconds`; telling it to run while it runs does not set it back."""

    def __init__(self, seconds: float, late: Callable[[], None]) -> None:
        self._seconds, self._late = seconds, late
        self._timer: asyncio.TimerHandle | None = None

    def run(self, runs: bool) -> None:
        if runs and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._late)
        elif not runs and self._timer is not None:
            self._timer.cancel()
            self._timer = None
