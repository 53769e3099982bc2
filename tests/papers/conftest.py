"""A tiny model and text, and papers made for tests, in this process and in those it starts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from paretolm import papers
from paretolm.papers import check as checking
from paretolm.papers import run as running
from tests.evaluation import judging
from tests.papers import made


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hashes, rooflines and turns of this run are nobody else's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where the made papers find their model and text."""
    place = tmp_path_factory.mktemp("world")
    judging.save(place / "model")
    documents = [
        {"id": f"d{i}", "text": judging.document(i, 30), "split": "fit" if i > 20 else "eval"} for i in range(24)
    ]
    (place / "text.jsonl").write_text("\n".join(map(json.dumps, documents)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(made.MODEL, str(place / "model"))
        patch.setenv(made.TEXT, str(place / "text.jsonl"))
        patch.setenv(made.LOG, str(place / "log"))
        yield


@pytest.fixture
def made_papers(world: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The made papers are the only ones."""
    for module in (checking, running, papers):
        monkeypatch.setattr(module, "find", made.find)
    monkeypatch.setattr(checking, "source", made.source)
    monkeypatch.setattr(papers, "names", made.names)
    monkeypatch.setattr(running, "WORKER", "tests.papers.made_worker")
