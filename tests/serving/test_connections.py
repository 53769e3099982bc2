"""Connections that are too many, or on which nothing comes, or nothing is taken."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from paretolm.serving.writer import Ended, Piece

from .conftest import NAME, Running, running

ASKED = {"model": NAME, "prompt": "river", "max_tokens": 1}
PATH = "/v1/completions"
END = b"\r\n\r\n"  # of a head
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def strict() -> Iterator[Running]:
    with running(connections=3, patience=0.5, tokens=200_000) as at_work:
        config = at_work.session.lm.model.generation_config
        config.eos_token_id, config.pad_token_id = None, 0
        yield at_work


def connect(server: Running) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", server.port), timeout=10))


def rest(line: socket.socket) -> str:
    """All that comes until the server closes."""
    got = b""
    while part := line.recv(65536):
        got += part
    return got.decode()


def answer(line: socket.socket) -> str:
    """One answer, whole: its head and its body may come apart."""
    got, length = b"", None
    while length is None or len(got.partition(END)[2]) < length:
        got += (part := line.recv(65536))
        assert part, got
        if length is None and END in got:
            length = int(re.search(rb"(?i)content-length: *(\d+)", got)[1])
    return got.decode()


def told(text: str) -> tuple[int, str]:
    head, _, body = text.partition("\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["message"]


def dribble(line: socket.socket, byte: bytes) -> float:
    """Seconds until the server has enough of single bytes."""
    began = time.monotonic()
    try:
        while time.monotonic() - began < 10:
            line.sendall(byte)
            time.sleep(0.05)
    except ConnectionError:
        pass
    return time.monotonic() - began


def test_one_too_many_is_told_so_and_the_others_are_served(strict):
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(strict))
        strict.wait(lambda: len(strict.server.server_state.connections) == 3)
        with connect(strict) as line:
            assert told(rest(line)) == (503, "there are 3 connections already; try again later")
    strict.wait(lambda: not strict.server.server_state.connections)
    assert strict.ask(PATH, ASKED)[0] == 200


@pytest.mark.parametrize("sent", ["", "GET /health HT", HEAD + "X-A: 1\r\n"])
def test_a_head_has_its_time(strict, sent):
    with connect(strict) as line:
        line.sendall(sent.encode())
        assert told(rest(line)) == (408, "the request did not begin within 0.5 s")


def test_a_byte_now_and_then_wins_no_time(strict):
    with connect(strict) as line:
        line.sendall(HEAD.encode() + b"X-Slow: ")
        assert dribble(line, b"a") < 3
    with connect(strict) as line:  # behind a request that was answered, on the same connection
        line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in line.recv(1000)
        assert dribble(line, b"G") < 3


def test_a_body_has_its_time_and_what_comes_behind_the_answer_too(strict):
    with connect(strict) as line:
        line.sendall(HEAD.encode() + b"Content-Length: 500\r\n\r\n{")
        code, message = told(answer(line))
        assert code == 408
        assert "did not arrive within 0.5 s" in message
        assert dribble(line, b" ") < 3


def test_who_does_not_read_is_left(strict, monkeypatch):
    def flood(asked, emit, given_up):
        while not given_up():
            emit(Piece(0, "a" * 100_000))
            time.sleep(0.001)

    monkeypatch.setattr(strict.engine, "_write", flood)
    body = json.dumps({**ASKED, "stream": True}).encode()
    with connect(strict) as line:
        line.sendall(HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        strict.wait(lambda: strict.busy)
        strict.wait(lambda: not strict.server.server_state.connections, 20)
        strict.wait(lambda: not strict.busy, 1)
    assert strict.metrics.cancelled._value.get() == 1


def test_a_waiting_request_and_an_idle_connection_are_no_slow_ones(strict, monkeypatch):
    def slow(asked, emit, given_up):
        time.sleep(0.8)
        emit(Ended(0, "stop", 1))

    monkeypatch.setattr(strict.engine, "_write", slow)
    with connect(strict) as line:
        body = json.dumps(ASKED).encode()
        line.sendall(HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert " 200 " in line.recv(1000).decode()
        time.sleep(0.8)
        line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert '{"status":"ok"}' in rest(line)


def test_what_is_no_http_is_refused_in_json(strict):
    with connect(strict) as line:
        line.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert told(rest(line)) == (400, "this is no HTTP/1.1, or has headers of more than 16384 bytes")
    with connect(strict) as line:
        line.sendall(HEAD.encode() + b"X-Long: " + b"a" * 65536)
        assert told(rest(line))[0] == 400
    assert strict.ask(PATH, ASKED)[0] == 200
