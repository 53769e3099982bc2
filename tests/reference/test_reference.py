"""The embedded model and text: whole, small, divided, and with their licences."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import paretolm
from paretolm import reference
from paretolm.bridge.content import weight_files
from paretolm.bridge.safetensors_check import read_header
from paretolm.cards.draft import agreement
from paretolm.cards.files import stale
from paretolm.cards.text import text_numbers, text_rows
from paretolm.errors import ModelError
from paretolm.evaluation.source import TextSource


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    with reference.text_path().open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


MODELS = {"draft": (0.5e6, 2e6), "reference": (7e6, 10e6)}  # parameters
LARGEST = 20_000_000  # bytes of a weight file


def test_the_models_are_those_that_are_promised() -> None:
    assert reference.names() == tuple(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_whole_and_small(name: str) -> None:
    directory = reference.model_path(name)
    (file,) = weight_files(directory)
    stored = sum(entry.end - entry.start for entry in read_header(file).values()) / 2  # bfloat16
    assert MODELS[name][0] < stored < MODELS[name][1]
    assert file.stat().st_size <= LARGEST


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_card_of_its_weights(name: str) -> None:
    assert stale(reference.model_path(name)) == []


def test_the_family_shares_a_tokenizer() -> None:
    one, other = ((reference.model_path(name) / "tokenizer.json").read_bytes() for name in MODELS)
    assert one == other


def test_the_reference_reads_text_about_as_its_card_says() -> None:
    """The card was measured on whole held-out documents; these are the beginnings of others of the same domains."""
    name = "reference"
    card = json.loads((reference.model_path(name) / "card.json").read_text(encoding="utf-8"))
    documents = TextSource.open().eval_documents[::3]
    rows = text_rows(paretolm.load(name), documents, 256, 2000, lambda share: None)
    read = text_numbers(rows)["bits_per_byte"]["value"]
    assert read == pytest.approx(card["text"]["bits_per_byte"]["value"], rel=0.25)


def test_the_draft_often_chooses_what_the_reference_chooses() -> None:
    lms = [paretolm.load(name) for name in ("reference", "draft")]
    found = agreement(*lms, TextSource.open().eval_documents, 2000, 6, lambda share: None)
    assert found["value"] >= 0.35  # 0.4 is what the card has to show, on twenty times the text


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
    assert reference.text_path().is_relative_to(Path(paretolm.__file__).parent)
