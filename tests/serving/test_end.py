"""Clients that go away, a server that is told to end, and what is counted."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import openai
import pytest

from .conftest import NAME, Running, running

ASKED = {"model": NAME, "prompt": "river", "max_tokens": 1}
LONG = {**ASKED, "max_tokens": 100_000, "temperature": 1, "seed": 1}
PATH = "/v1/completions"


@contextmanager
def going_on(**changes: Any) -> Iterator[Running]:
    """A model that goes on until it is stopped, a token every few milliseconds."""
    with running(tokens=200_000, **changes) as at_work:
        config = at_work.session.lm.model.generation_config
        config.eos_token_id, config.pad_token_id = None, 0
        yield at_work


@pytest.fixture
def endless() -> Iterator[Running]:
    with going_on() as at_work:
        yield at_work


def line(server: Running, asked: dict[str, Any]) -> socket.socket:
    """A request that was sent and not read."""
    body = json.dumps(asked).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    sent = socket.create_connection(("127.0.0.1", server.port))
    sent.sendall(head.encode() + body)
    return sent


@pytest.mark.parametrize("stream", [False, True])
def test_who_goes_away_frees_the_model_within_a_second(endless, stream):
    sent = line(endless, {**LONG, "stream": stream})
    endless.wait(lambda: endless.busy)
    if stream:
        assert sent.recv(100)
    sent.close()
    assert endless.wait(lambda: not endless.busy) < 1
    assert endless.metrics.cancelled._value.get() == 1
    assert endless.ask(PATH, ASKED)[0] == 200


@pytest.mark.parametrize("recipe", ["", "window(window=16)", "token-recycling"])
def test_who_goes_away_while_the_prompt_is_read_frees_the_model(recipe):
    with going_on(recipe=recipe) as server:
        first, *_, last = server.session.lm.model.model.layers
        cancelled, ran = server.metrics.cancelled._value.get, []
        away = first.register_forward_pre_hook(lambda *_: server.wait(cancelled))
        behind = last.register_forward_pre_hook(lambda *_: ran.append(True))
        line(server, LONG).close()
        server.wait(cancelled)
        assert server.wait(lambda: not server.busy) < 1
        assert not ran
        away.remove()
        whole = server.ask(PATH, {**ASKED, "max_tokens": 12, "temperature": 0})
        text = server.session.generate("river", max_new_tokens=12).text
        assert (whole[0], json.loads(whole[2])["choices"][0]["text"]) == (200, text)
        behind.remove()
        assert not any(module._forward_pre_hooks for module in server.session.lm.model.model.layers.modules())


def test_openais_client_closes_a_stream(endless):
    with endless.client().completions.create(**LONG, stream=True) as stream:
        assert next(iter(stream)).choices[0].text
    assert endless.wait(lambda: not endless.busy) < 1


def test_who_goes_away_while_waiting_is_never_written_for(endless):
    with closing(line(endless, LONG)) as first:
        endless.wait(lambda: endless.busy)
        line(endless, LONG).close()
        with closing(line(endless, LONG)):
            endless.wait(lambda: endless.waiting == 1 and endless.metrics.cancelled._value.get() == 1)
            first.close()
            endless.wait(lambda: endless.waiting == 0)
    endless.wait(lambda: not endless.busy)


def test_the_end_is_bounded(in_threads):
    """`running` fails where the server does not."""
    with going_on(drain=1) as server:
        whole = in_threads(server.refused, PATH, LONG)
        server.wait(lambda: server.busy)
    assert whole.result() == (503, "the server ended before this was written")


def test_a_stream_that_is_cut_says_so():
    with going_on(drain=1) as server:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0)
        stream = client.completions.create(**LONG, stream=True)
        assert next(iter(stream)).choices
    with client, stream, pytest.raises(openai.APIError, match="ended before this was written"):
        list(stream)


def test_everything_is_counted():
    with running("window(window=16)") as server:
        client = server.client()
        used = client.completions.create(model=NAME, prompt="river", max_tokens=5, temperature=0).usage
        list(client.completions.create(model=NAME, prompt="river", max_tokens=5, temperature=0, stream=True))
        assert server.ask(PATH, {})[0] == 400
        assert server.ask("/secret/path")[0] == 404
        counts = dict(re.findall(r"^(paretolm_[^ ]+) ([0-9.]+)$", server.ask("/metrics")[2], re.MULTILINE))
    assert float(counts["paretolm_prompt_tokens_total"]) == 2 * used.prompt_tokens
    assert float(counts["paretolm_generation_tokens_total"]) == 2 * 5
    assert float(counts[f'paretolm_requests_total{{path="{PATH}",status="200"}}']) == 2
    assert float(counts[f'paretolm_requests_total{{path="{PATH}",status="400"}}']) == 1
    assert float(counts['paretolm_requests_total{path="other",status="404"}']) == 1
    assert float(counts["paretolm_request_seconds_count"]) == 2
    assert float(counts["paretolm_time_to_first_piece_seconds_count"]) == 2
    assert float(counts["paretolm_requests_running"]) == 0


# --- the process ---


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """paretolm serve on a free port, and the port."""
    command = [sys.executable, "-W", "error", "-m", "paretolm", "serve", *arguments, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as ran:
        try:
            said = next((s for s in ran.stderr if "http://" in s), "")
            assert said, "it ended before it was ready"
            yield ran, int(re.search(r":(\d+)/v1", said)[1])
        finally:
            if ran.poll() is None:
                ran.kill()


def test_sigterm_lets_what_runs_end_and_takes_nothing_new(saved, in_threads):
    long = {"model": NAME, "prompt": "river", "max_tokens": 400, "temperature": 0}
    options = ["--served-model-name", NAME, "--max-model-len", "500", "-m", "window(window=16)", "--unmeasured"]
    with (
        process(str(saved), *options) as (ran, port),
        openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client,
    ):
        client.models.list()
        with client.completions.create(**long, stream=True) as stream:
            chunks = iter(stream)
            next(chunks)
            waiting = in_threads(client.completions.create, **long)
            time.sleep(0.2)
            os.kill(ran.pid, signal.SIGTERM)
            *_, last = chunks
        assert last.choices[0].finish_reason in ("length", "stop")
        with pytest.raises(openai.InternalServerError, match="about to end"):
            waiting.result()
        with pytest.raises(openai.APIConnectionError):
            client.models.list()
        assert ran.wait(20) == 0
        assert not re.search("error|Traceback", ran.stderr.read())
