"""Who may ask at all: keys, Host headers, sizes. Stands before every route."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from .limits import Limits
from .metrics import Metrics
from .page import PATHS
from .refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLIENT = "paretolm.client"  # in the scope of a request that was let in
OPEN = PATHS | {"/health"}  # need no key


def refused(refusal: Refusal) -> JSONResponse:
    headers = refusal.headers | ({"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {})
    return JSONResponse(refusal.body, refusal.status, headers)


class Guard:
    """hosts: names that a Host header may have, any where None, so that no page of another name reaches a server of
    this machine through a browser (DNS rebinding). paths: routes that are counted by their names."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Sequence[str],
        hosts: frozenset[str] | None,
        limits: Limits,
        metrics: Metrics,
        paths: Sequence[str],
    ) -> None:
        self._app, self._hosts, self._limits, self._metrics = app, hosts, limits, metrics
        self._keys, self._paths = [key.encode() for key in keys], set(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path, str(message["status"])).inc()
            await send(message)

        try:
            scope[CLIENT] = self._let_in(scope, Headers(scope=scope))
        except Refusal as refusal:
            await refused(refusal)(scope, receive, counted)
        else:
            await self._app(scope, receive, counted)

    def _let_in(self, scope: Scope, headers: Headers) -> str:
        """The client, for its turns: its key where several are given out, else its address. Raises Refusal."""
        host = _name(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            raise Refusal(f"the Host header names {host[:80]!r}, which this server is not; see --allowed-host", 421)
        size = sum(len(name) + len(value) for name, value in headers.raw)
        if size > self._limits.header_bytes:
            raise Refusal(f"the headers are longer than {self._limits.header_bytes} bytes", 431)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length[:20]) > self._limits.body_bytes:
            raise Refusal(f"the body is longer than {self._limits.body_bytes} bytes", 413)
        address = scope["client"][0] if scope.get("client") else ""
        if not self._keys or scope["path"] in OPEN:
            return str(address)
        number = self._key(headers.get("authorization", ""))
        return f"key {number}" if len(self._keys) > 1 else str(address)

    def _key(self, header: str) -> int:
        """The number of the key. Every key is compared, whichever fits, so that time tells nothing."""
        scheme, _, given = header.partition(" ")
        fits = [hmac.compare_digest(given.strip().encode(), key) for key in self._keys]
        if scheme.lower() != "bearer" or not any(fits):
            what = "is not one of this server's" if given else "is missing"
            raise Refusal(f"the API key {what}; send Authorization: Bearer KEY", 401, code="invalid_api_key")
        return fits.index(True)


def _name(host: str) -> str:
    """Without its port: 'localhost:8000', '[::1]:8000'."""
    name, _, port = host.rpartition(":")
    return (name if name and (port.isdigit() or not port) else host).strip("[]").lower()
