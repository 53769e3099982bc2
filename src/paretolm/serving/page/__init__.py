"""The page at `/`: a chat, and what it costs while it is written.

It is static and the same for everyone, so it is given out without a key; all that it shows it asks the API for, with
the key that its reader types in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_SHARED = ("paretolm.bench.report", "assets/report.css")  # the look of the reports
_PARTS = {
    "/": ("text/html", [(__package__, "index.html")]),
    "/page.css": ("text/css", [_SHARED, (__package__, "page.css")]),
    "/page.js": ("text/javascript", [(__package__, "page.js")]),
    "/stream.js": ("text/javascript", [(__package__, "stream.js")]),
    "/figures.js": ("text/javascript", [(__package__, "figures.js")]),
}
PATHS = frozenset(_PARTS)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def routes() -> list[Route]:
    """Read once, given out from memory."""
    return [Route(path, _giving(kind, parts)) for path, (kind, parts) in _PARTS.items()]


def _giving(kind: str, parts: list[tuple[str, str]]) -> Callable[[Request], Awaitable[Response]]:
    body = "".join((files(package) / name).read_text(encoding="utf-8") for package, name in parts)

    async def give(_: Request) -> Response:
        return Response(body, media_type=kind, headers=HEADERS)

    return give
