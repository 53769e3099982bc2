"""The embedded model and text: whole, small, divided, and with their licences."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from paretolm import reference
from paretolm.bridge.content import weight_files
from paretolm.bridge.safetensors_check import read_header
from paretolm.errors import ModelError


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    with reference.text_path().open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_the_model_is_whole() -> None:
    directory = reference.model_path("reference")
    assert reference.names() == ("reference",)
    header = read_header(*weight_files(directory))
    assert sum(entry.end - entry.start for entry in header.values()) > 8_000_000
    assert "Apache-2.0" in (directory / "CARD.md").read_text()


def test_another_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'reference'"):
        reference.model_path("referense")


def test_documents_to_judge_and_to_fit(documents: list[dict[str, Any]]) -> None:
    fields = {"id", "doc", "domain", "title", "source", "license", "split", "text"}
    assert all(set(d) == fields and all(d.values()) for d in documents)
    assert len({d["id"] for d in documents}) == len(documents)
    judged = [d for d in documents if d["split"] == "eval"]
    fitted = [d for d in documents if d["split"] == "fit"]
    assert len(judged) + len(fitted) == len(documents)
    assert len({d["doc"] for d in judged}) >= 24  # fewer clusters bear no interval
    assert not {d["doc"] for d in judged} & {d["doc"] for d in fitted}
    assert Counter(d["domain"] for d in judged).keys() == Counter(d["domain"] for d in fitted).keys()
    assert len({d["domain"] for d in judged}) == 6
    assert sum(len(d["text"]) for d in fitted) > 140_000


def test_several_documents_are_long(documents: list[dict[str, Any]]) -> None:
    lengths = sorted((len(d["text"]) for d in documents if d["split"] == "eval"), reverse=True)
    assert lengths[0] > 56_000  # 16k tokens of 3.5 characters
    assert lengths[3] > 28_000


def test_the_text_is_small_and_its_sources_are_named(documents: list[dict[str, Any]]) -> None:
    folder = reference.text_path().parent
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 700_000
    readme, notices = ((folder / name).read_text(encoding="utf-8") for name in ("README.md", "LICENSES.txt"))
    for document in documents:
        assert document["source"] in readme
        assert document["license"] in readme
    for project in ("OpenStax", "PowerShell", "Pang and Lillian Lee", "kubernetes", "swift-evolution", "golang"):
        assert project in notices
    for project in ("rust-lang/rfcs", "networkx", "django", "scikit_learn", "sympy"):
        assert f"Applies to: {project}" in notices


def test_everything_is_in_the_package() -> None:
    import paretolm

    assert reference.text_path().is_relative_to(Path(paretolm.__file__).parent)
