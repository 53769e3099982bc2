"""What goes wrong on the way to an answer: a sentence and a status of 4xx each, and the next request is served."""

from __future__ import annotations

import json
import socket
from contextlib import closing, suppress

import pytest

from .conftest import NAME, Running, running

TEXT, CHAT = "/v1/completions", "/v1/chat/completions"
SAID = [{"role": "user", "content": "river"}]
ASKED = {TEXT: {"model": NAME, "prompt": "river", "max_tokens": 1}, CHAT: {"model": NAME, "messages": SAID}}
HUGE = 100_000_000


@pytest.fixture(autouse=True)
def and_the_next_one_is_served(server: Running, capfd: pytest.CaptureFixture[str]):
    yield
    assert server.ask(TEXT, ASKED[TEXT])[0] == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("path", [TEXT, CHAT])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"temperature": -1}, "temperature must be a number from 0 to 2, not -1"),
        ({"temperature": 1e6}, "temperature must be a number from 0 to 2"),
        ({"top_p": -1}, "top_p must be a number from 0 to 1"),
        ({"top_p": 2}, "top_p must be a number from 0 to 1"),
        ({"top_k": -5}, "there is no field 'top_k'"),
        ({"repeat_penalty": 0}, "there is no field 'repeat_penalty'"),
        ({"max_tokens": 0}, "max_tokens must be a whole number from 1 to"),
        ({"max_tokens": -1}, "max_tokens must be a whole number from 1 to"),
        ({"max_tokens": 10**12}, "max_tokens must be a whole number from 1 to"),
        ({"max_tokens": 1e12}, "max_tokens must be a whole number from 1 to"),
        ({"max_tokens": 1000}, "but together they may have 128"),
        ({"n": 0}, "n must be a whole number of at least 1"),
        ({"n": 10**6}, "1000000 texts were asked for; a request may have 8"),
        ({"stop": [f"s{i}" for i in range(10_000)]}, "10000 stop strings were given; a request may have 4"),
        ({"logit_bias": {"999999": 100}}, "logit_bias is not served here; leave it out"),
        ({"seed": 1 << 80}, "seed must be a whole number"),
        ({"stream": 1}, "stream must be true or false"),
        ({"stream": True, "stream_options": {"x": 1}}, "there is no field 'x'"),
        ({"surprise": None}, "there is no field 'surprise'"),
    ],
)
def test_a_value_that_cannot_be(server, path, change, sentence):
    status, told = server.refused(path, ASKED[path] | change)
    assert status == 400
    assert sentence in told


@pytest.mark.parametrize(
    ("path", "change", "status", "sentence"),
    [
        (TEXT, {"logprobs": 999}, 400, "logprobs must be a whole number from 0 to 20"),
        (CHAT, {"logprobs": True, "top_logprobs": 999}, 400, "top_logprobs must be a whole number from 0 to 20"),
        (CHAT, {"messages": []}, 400, "messages must be a list of at least one message"),
        (CHAT, {"messages": [{"role": "user", "content": None}]}, 400, "messages[0].content must be text"),
        (CHAT, {"messages": [{"role": "wizard", "content": "a"}]}, 400, "messages[0] must be an object with a role"),
        (CHAT, {"messages": [{"role": ["user"], "content": "a"}]}, 400, "messages[0] must be an object with a role"),
        (CHAT, {"tools": ""}, 400, "tools must be a list of objects"),
        (CHAT, {"model": "other"}, 404, "there is no model 'other' here; this server has 'tiny'"),
        (TEXT, {"model": ["tiny"]}, 404, "there is no model"),
        (TEXT, {"prompt": "river " * 500}, 400, "but together they may have 128"),
        (TEXT, {"prompt": {"text": "river"}}, 400, "prompt must be text, token ids below"),
    ],
)
def test_what_only_one_of_them_has(server, path, change, status, sentence):
    got, told = server.refused(path, ASKED[path] | change)
    assert got == status
    assert sentence in told


def test_top_p_of_nothing_takes_the_likeliest(server):
    asked = ASKED[TEXT] | {"max_tokens": 8, "seed": 1}
    texts = [json.loads(server.ask(TEXT, asked | change)[2]) for change in ({"top_p": 0}, {"temperature": 0})]
    assert texts[0]["choices"][0]["text"] == texts[1]["choices"][0]["text"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("NaN", "NaN is not a number"),
        ("-Infinity", "-Infinity is not a number"),
        ("1e999", "temperature must be a number from 0 to 2"),
        ("9" * 5000, "the body is not JSON"),
        ("[" * 900 + "]" * 900, "temperature must be a number"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "the body is not JSON"),
    ],
)
def test_numbers_that_are_none_and_bombs(server, value, sentence):
    body = '{"model": "tiny", "prompt": "river", "temperature": %s}' % value  # noqa: UP031 braces
    status, told = server.refused(TEXT, body.encode())
    assert status == 400
    assert sentence in told


@pytest.mark.parametrize("said", [f"Content-Length: {HUGE}", "Transfer-Encoding: chunked"])
def test_a_body_of_100_mb_is_not_waited_for(server, said):
    head = f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{said}\r\n\r\n"
    part = b"a" * (1 << 16)
    piece = part if "Length" in said else b"10000\r\n" + part + b"\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as line:
        line.sendall(head.encode())
        line.setblocking(False)
        sent, left, got = 0, b"", b""
        while not got:
            left = left or piece
            with suppress(BlockingIOError):
                gone = line.send(left)
                sent, left = sent + gone, left[gone:]
            with suppress(BlockingIOError):
                got = line.recv(4000)
        line.setblocking(True)
        while not got.endswith(b"}"):  # its head and its body may come apart
            got += line.recv(4000)
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"the body is longer than 1048576 bytes" in got
    assert sent < HUGE / 4


ORIGIN = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}


@pytest.mark.parametrize("path", [TEXT, CHAT, "/v1/models", "/health", "/metrics", "/openapi.json"])
def test_no_page_of_another_origin_is_let_in(server, path):
    for method in ("OPTIONS", "GET"):
        status, headers, _ = server.ask(path, headers=ORIGIN, method=method)
        assert not [name for name in headers if name.startswith("access-control")]
        assert status == 405 if method == "OPTIONS" else status in (200, 405)


TRICKS = [
    "//v1/models",
    "/v1/../metrics",
    "/health/../metrics",
    "/health/",
    "/health%2f..%2fmetrics",
    "/health;/metrics",
    "/health%00",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/models/..%2f..%2f..%2fetc%2fpasswd",
    "/v1/models/%ff%fe",
    "/V1/MODELS",
    "/metrics?/health",
]


def test_no_path_goes_around_the_key():
    with running(keys=("key",)) as server:
        for path in TRICKS:
            assert server.ask(path)[0] == 401, path
            status, _, text = server.ask(path, headers={"Authorization": "Bearer key"})
            assert status in (200, 307, 404), path
            assert "root:" not in text


def test_every_route_there_is_asks_for_the_key():
    with running(keys=("key",)) as server:
        described = json.loads(server.ask("/openapi.json", headers={"Authorization": "Bearer key"})[2])["paths"]
        for path, ways in described.items():
            for method in ways:
                body = b"{}" if method == "post" else None
                asked = path.replace("{name}", NAME)
                for header in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer kez"}):
                    status = server.ask(asked, body, header, method.upper())[0]
                    assert status == (200 if path == "/health" else 401), path
