"""The API as /openapi.json tells it, tried with requests made from it: what it says is so, and nothing breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks

from paretolm.serving.page import PATHS

from .conftest import Running, running
from .test_chat_route import talkative

KEY = {"Authorization": "Bearer key"}
TRIED = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def keyed() -> Iterator[Running]:
    with running(keys=("key",), tokenizer=talkative(), tokens=96, texts=2, patience=5) as at_work:
        yield at_work


@pytest.fixture(scope="module")
def api(keyed):
    url = f"http://127.0.0.1:{keyed.port}"
    config = schemathesis.Config.from_dict({"seed": 1, "base-url": url})
    return schemathesis.openapi.from_url(f"{url}/openapi.json", headers=KEY, config=config)


NOT_SAID = [checks.positive_data_acceptance]  # a schema cannot say how many tokens a text has
ROUTES = [
    ("/v1/completions", "POST"),
    ("/v1/chat/completions", "POST"),
    ("/v1/models", "GET"),
    ("/v1/models/{name}", "GET"),
    ("/health", "GET"),
    ("/metrics", "GET"),
    ("/openapi.json", "GET"),
]


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        *((*route, GenerationMode.POSITIVE) for route in ROUTES),
        *((*route, GenerationMode.NEGATIVE) for route in ROUTES[:2]),  # elsewhere there is nothing to be wrong about
    ],
)
def test_answers_are_as_described(api, path, method, mode):
    @TRIED
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    def tried(case):
        seen.add(case.call_and_validate(excluded_checks=NOT_SAID, headers=KEY, timeout=60).status_code)

    seen: set[int] = set()
    tried()
    assert (200 if mode is GenerationMode.POSITIVE else 400) in seen


def test_every_route_is_described(keyed):
    routes = {r.path.replace(":path", ""): r.methods - {"HEAD"} for r in keyed.server.app.routes()}
    described = json.loads(keyed.ask("/openapi.json", headers=KEY)[2])["paths"]
    ways = {path: {method.upper() for method in told} for path, told in described.items()}
    assert ways == {path: methods for path, methods in routes.items() if path not in PATHS}
