"""A tiny model as a directory with its tokenizer, a text beside it, and a cache folder of this run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluation import judging


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hashes, rooflines and turns of this run are nobody else's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judging.save(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("text") / "text.jsonl"
    documents = [
        {"id": f"d{i}", "text": judging.document(i, 30), "split": "fit" if i > 20 else "eval"} for i in range(24)
    ]
    place.write_text("\n".join(map(json.dumps, documents)))
    return place
