"""The process: a socket, uvicorn, and an orderly end."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import uvicorn

from ..errors import UserError
from .app import App, Served
from .connections import Connection

_GRACE_S = 2  # for telling those whose requests were cut


class Server(uvicorn.Server):
    """uvicorn's, with an end in order: nothing new is taken, what waits is refused, what runs ends within
    Limits.drain, and the process goes on afterwards instead of being killed by the signal again."""

    def __init__(self, served: Served) -> None:
        self.app = App(served)
        limits = served.limits
        config = uvicorn.Config(
            self.app.asgi(),
            http=cast(type[Connection], partial(Connection, limits, self.app.metrics)),
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=2 * limits.header_bytes,
            timeout_graceful_shutdown=math.ceil(limits.drain) + _GRACE_S,
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        engine = self.app.engine
        engine.drain()
        asyncio.get_running_loop().call_later(engine.limits.drain, engine.cut)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Raises UserError where the address cannot be had. Port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(f"{host}:{port} cannot be listened on ({error}); choose another --host or --port") from None


def serve(served: Served, place: socket.socket, ready: Callable[[], None]) -> None:
    """Until SIGINT or SIGTERM. ready: called when requests are taken."""
    server = Server(served)

    async def run() -> None:
        task = asyncio.create_task(server.serve(sockets=[place]))
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        if server.started:
            ready()
        await task

    asyncio.run(run())
