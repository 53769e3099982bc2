"""Who is let in: keys, Host headers, sizes, and how many wait."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Event

import openai
import pytest

from paretolm.serving.writer import Ended

from .conftest import NAME, Running, running

ASKED = {"model": NAME, "prompt": "river", "max_tokens": 1}
PATH = "/v1/completions"


@pytest.fixture(scope="module")
def locked() -> Iterator[Running]:
    with running(keys=("first-key", "second-key")) as at_work:
        yield at_work


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/completions", "/nowhere"])
def test_every_route_but_health_needs_a_key(locked, path):
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "first-key"}):
        status, headers, text = locked.ask(path, headers=header)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert json.loads(text)["error"]["code"] == "invalid_api_key"
    assert locked.ask("/health")[0] == 200


def test_each_key_opens(locked):
    for key in ("first-key", "second-key"):
        assert locked.client(key).completions.create(**ASKED).usage.completion_tokens == 1
    with pytest.raises(openai.AuthenticationError, match="is not one of this server's"):
        locked.client("third-key").completions.create(**ASKED)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]:80", ""])
def test_a_page_of_another_name_is_sent_away(server, host):
    status, told = server.refused(PATH, ASKED, {"Host": host})
    assert status == 421
    assert "--allowed-host" in told
    assert server.ask("/health", headers={"Host": host})[0] == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9"])
def test_names_of_this_machine_are_let_in(server, host):
    assert server.ask("/health", headers={"Host": host})[0] == 200


def test_a_form_of_a_web_page_is_no_request(server):
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert server.refused(PATH, ASKED, {"Content-Type": kind})[0] == 415
    assert server.ask(PATH, ASKED, {"Content-Type": "application/json; charset=utf-8"})[0] == 200


def test_bodies_and_headers_have_a_length():
    with running(body_bytes=300, header_bytes=2000) as server:
        assert server.ask(PATH, ASKED)[0] == 200
        assert server.refused(PATH, {**ASKED, "prompt": "a" * 300}) == (413, "the body is longer than 300 bytes")
        chunked = {"Transfer-Encoding": "chunked"}
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (400, b"a" * 400)
        assert server.refused(PATH, body, chunked)[0] == 413
        assert server.refused(PATH, ASKED, {"X-Long": "a" * 2000}) == (431, "the headers are longer than 2000 bytes")
        assert server.ask(PATH, ASKED, {"X-Long": "a" * 100_000})[0] in (400, 431)  # in pieces: by uvicorn
        assert server.ask(PATH, ASKED)[0] == 200


class Slow:
    """Stands for the model: writes nothing until it is let go, and remembers in which order it was asked."""

    def __init__(self, server: Running) -> None:
        self.go, self.order = Event(), []
        self.server = server
        server.engine._write = self.write

    def write(self, asked, emit, given_up) -> None:
        self.order.append(asked.seed)
        while not self.go.wait(0.01):
            if given_up():
                return
        emit(Ended(0, "stop", 1))


def test_too_many_are_sent_away_with_a_time_to_come_back(in_threads):
    with running(waiting=1) as server:
        slow = Slow(server)
        first = in_threads(server.ask, PATH, ASKED)
        server.wait(lambda: server.busy)
        second = in_threads(server.ask, PATH, ASKED)
        server.wait(lambda: server.waiting == 1)
        status, headers, text = server.ask(PATH, ASKED)
        assert (status, json.loads(text)["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 1 <= int(headers["retry-after"]) <= 60
        with pytest.raises(openai.RateLimitError, match="1 requests wait already"):
            server.client().completions.create(**ASKED)
        slow.go.set()
        assert (first.result()[0], second.result()[0]) == (200, 200)
        assert server.ask(PATH, ASKED)[0] == 200


def test_keys_take_turns(in_threads):
    with running(keys=("a", "b")) as server:
        slow, sent = Slow(server), []
        for number, key in enumerate("aaabb"):
            asked = {**ASKED, "seed": number}
            sent.append(in_threads(server.ask, PATH, asked, {"Authorization": f"Bearer {key}"}))
            server.wait(lambda count=number: server.busy and server.waiting == count)
        slow.go.set()
        assert [s.result()[0] for s in sent] == [200] * 5
        assert slow.order == [0, 1, 3, 2, 4]


def test_a_request_has_its_time():
    with running(seconds=0.4) as server:
        Slow(server)
        with pytest.raises(openai.InternalServerError, match=r"took longer than 0\.4 s; ask for fewer tokens"):
            server.client().completions.create(**ASKED)
        server.wait(lambda: not server.busy)


def test_what_the_model_fails_at_is_a_sentence_and_the_next_one_is_served(monkeypatch, capfd):
    with running() as server:
        whole = server.session.generate

        def broken(*args, **kwargs):
            raise RuntimeError("out of memory")

        monkeypatch.setattr(server.session, "generate", broken)
        assert server.refused(PATH, ASKED) == (500, "the model failed at this request (RuntimeError: out of memory)")
        status, _, text = server.ask(PATH, {**ASKED, "stream": True})
        assert (status, "out of memory" in text) == (500, True)
        monkeypatch.setattr(server.session, "generate", whole)
        assert server.ask(PATH, ASKED)[0] == 200
    assert "Traceback" not in capfd.readouterr().err
