"""Bytes of a file, or of an address that the user named. Nothing here asks the network on its own."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from importlib.metadata import version
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from ..errors import RunError, UserError
from .facts import plain

LARGEST = 16 << 20  # bytes; arXiv's largest answers, 2,000 entries, have 5 MB
REDIRECTS = 5
SILENCE, WHOLE = 20.0, 90.0  # seconds: between two bytes, and for all of it


class FetchError(RunError):
    """An address or a file that gave nothing to read."""


def read(source: str) -> bytes:
    """Of a path, or an http(s) address. Raises UserError for another scheme or no such file, FetchError for the rest."""
    if "://" in source:
        return _answer(source)
    path = Path(source)
    try:
        with path.open("rb") as file:
            return _whole(file, source)
    except FileNotFoundError:
        raise UserError(f"there is no file {source}; give a file, or an address with https://") from None
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror}") from None


def _answer(url: str) -> bytes:
    """In a thread, so that a server which drips or a name that is never found ends after WHOLE seconds."""
    _check(url)
    got: list[bytes | FetchError] = []
    worker = threading.Thread(target=lambda: got.append(_asked(url)), daemon=True)
    worker.start()
    worker.join(WHOLE)
    answer = got[0] if got else FetchError(f"{url} took longer than {WHOLE:g} seconds; nothing of it was used")
    if isinstance(answer, FetchError):
        raise answer
    return answer


def _asked(url: str) -> bytes | FetchError:
    headers = {"User-Agent": f"paretolm/{version('paretolm')} (papers sync)", "Accept-Encoding": "identity"}
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(), _Redirects(),
        urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=SILENCE) as answer:
            data, length = _whole(answer, url), answer.headers.get("Content-Length")
        if length is not None and length != str(len(data)):
            return FetchError(f"{url} gave no whole answer: {len(data):,} bytes of {length}")
        return data
    except urllib.error.HTTPError as error:
        error.close()
        said = plain(str(error.reason))  # of the server, as all that follows
        told = "" if error.code != 429 else "; it asks for fewer questions, so wait some minutes"
        return FetchError(f"{url} answered {error.code}: {said}{told}")
    except urllib.error.URLError as error:
        return FetchError(f"{url} gave no answer: {plain(str(error.reason))}")
    except (OSError, HTTPException, ValueError) as error:
        return FetchError(f"{url} gave no whole answer: {plain(str(error)) or type(error).__name__}")
    except FetchError as error:
        return error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """A few, and never to another scheme or from TLS to none."""

    max_redirections = REDIRECTS
    max_repeats = 2

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        to = urlsplit(newurl).scheme
        if to not in ("https", req.type):
            fp.close()
            raise FetchError(
                f"{req.full_url} leads on to {plain(newurl)}, which is no https; ask for that one if you trust it"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _whole(file: IO[bytes], name: str) -> bytes:
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise FetchError(
            f"{name} is larger than {LARGEST >> 20} MiB, which no feed of papers is; nothing of it was used"
        )
    return data


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"{url!r} is no address: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise UserError(f"{parts.scheme}:// is not read; give a file, or an address with https://")
    if not host or parts.username is not None or not re.fullmatch("[!-~]+", url):
        raise UserError(f"{parts.scheme}://{host or ''}... is no address to read; write it as https://host/path?query")
