"""Files and addresses: what a server on this machine can do wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from paretolm.catalogue import fetch
from paretolm.catalogue.fetch import FetchError, read
from paretolm.errors import UserError

ended = threading.Event()


class Answers(BaseHTTPRequestHandler):
    """By path. /drip: a byte at a time; /silent: nothing until the test is over."""

    agents: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.agents.append(self.headers["User-Agent"])
        status, headers, body = {
            "/feed": (200, {}, b"[]"),
            "/to/feed": (302, {"Location": "/feed"}, b""),
            "/loop": (302, {"Location": "/loop"}, b""),
            "/to/file": (302, {"Location": "file:///etc/passwd"}, b""),
            "/to/ftp": (302, {"Location": "ftp://127.0.0.1/x"}, b""),
            "/to/terminal": (302, {"Location": "x://\x1b2J"}, b""),
            "/busy": (429, {}, b"Rate exceeded."),
            "/large": (200, {}, b"x" * 2000),
            "/cut": (200, {"Content-Length": "50"}, b"x"),
        }.get(self.path, (404, {}, b""))
        if self.path in ("/drip", "/silent"):
            status, headers = 200, {"Content-Length": "100"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        while self.path in ("/drip", "/silent") and not ended.wait(0.02):
            if self.path == "/drip":
                self.wfile.write(b"x")

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    ended.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        ended.set()
        server.shutdown()


def test_an_answer_and_a_redirect_are_read(url: str) -> None:
    assert read(f"{url}/feed") == read(f"{url}/to/feed") == b"[]"
    assert all(agent.startswith("paretolm/") for agent in Answers.agents)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/nowhere", "answered 404: Not Found"),
        ("/loop", "302: .*infinite loop"),
        ("/to/file", "file:///etc/passwd.*not allowed"),
        ("/to/ftp", "leads on to ftp:"),
        ("/to/terminal", "x://.*not allowed"),
        ("/busy", "429.*wait some minutes"),
        ("/cut", "no whole answer"),
    ],
)
def test_what_goes_wrong_is_told(url: str, path: str, told: str) -> None:
    with pytest.raises(FetchError, match=told) as raised:
        read(url + path)
    assert str(raised.value).isprintable()


def test_what_is_too_large_is_not_read_to_its_end(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "LARGEST", 1000)
    with pytest.raises(FetchError, match="is larger than"):
        read(f"{url}/large")
    (tmp_path / "large").write_bytes(b"x" * 2000)
    with pytest.raises(FetchError, match="is larger than"):
        read(str(tmp_path / "large"))


def test_neither_silence_nor_a_drip_holds_on_to_the_user(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SILENCE", 0.2)
    with pytest.raises(FetchError, match="timed out"):
        read(f"{url}/silent")
    monkeypatch.setattr(fetch, "SILENCE", 60.0)
    monkeypatch.setattr(fetch, "WHOLE", 0.3)
    with pytest.raises(FetchError, match=r"took longer than 0\.3 seconds"):
        read(f"{url}/drip")


def test_nobody_answers() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        port = server.server_port
    with pytest.raises(FetchError, match="gave no answer"):
        read(f"http://127.0.0.1:{port}/feed")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("file:///etc/passwd", "file:// is not read"),
        ("ftp://127.0.0.1/x", "ftp:// is not read"),
        ("http://", "is no address"),
        ("http://[", "is no address"),
        ("http://127.0.0.1:x/", "is no address"),
        ("http://user:secret@127.0.0.1/", "is no address"),
        ("http://127.0.0.1/a b", "is no address"),
        ("nowhere.xml", "there is no file"),
        (".", "cannot be read"),
    ],
)
def test_mistakes_are_sentences(source: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as raised:
        read(source)
    assert "secret" not in str(raised.value)
