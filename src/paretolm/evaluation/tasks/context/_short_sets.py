"""Sets of short items, of which long contexts are made: what a folder holds, told by the fields of its lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....errors import TextError
from .._data import Record, data_file, records
from ._sample import sets_in

KINDS = ("requests", "passages", "quizzes")


@dataclass(frozen=True)
class Piece:
    """A short item. label: its class, its title, or the letter of its right choice; asks: questions with accepted
    answers."""

    text: str
    label: str = ""
    asks: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class ShortSet:
    """kind: requests have a class, passages a title or questions, quizzes a right choice."""

    name: str
    kind: str
    pieces: tuple[Piece, ...]


def read_sets(folder: Path, wanted: Sequence[str]) -> list[ShortSet]:
    """Raises TextError for a set of another shape."""
    return [_read(name, place) for name, place in sets_in(folder, wanted).items() if wanted or _known(place)]


def _known(place: Path) -> bool:
    """Whether a set nobody named can be used at all."""
    if place.is_dir() and data_file(place, "corpus").is_file():
        return True
    files = _files(place)
    return bool(files) and _shape(records(files[0])[0]) is not None


def _files(place: Path) -> list[Path]:
    return [f for stem in ("train", "test") if (f := data_file(place, stem)).is_file()] if place.is_dir() else [place]


def _read(name: str, place: Path) -> ShortSet:
    if place.is_dir() and data_file(place, "corpus").is_file():
        return ShortSet(name, "passages", tuple(_retrieval(place)))
    found = [r for file in _files(place) for r in records(file)]
    if not found:
        raise TextError(f"{place} has neither test.jsonl nor train.jsonl")
    kind = _shape(found[0])
    if kind is None:
        raise TextError(
            f"{found[0].where} has {', '.join(found[0].fields)}; a set of short items has text and label, or context, "
            "questions and answers, or question, choices and answer"
        )
    make = {"requests": _request, "passages": _passage, "quizzes": _quiz}[kind]
    return ShortSet(name, kind, tuple(dict.fromkeys(make(r) for r in found)))


def _shape(record: Record) -> str | None:
    shapes = {"text label": "requests", "context questions answers": "passages", "question choices answer": "quizzes"}
    return next((kind for names, kind in shapes.items() if set(names.split()) <= set(record.fields)), None)


def _request(record: Record) -> Piece:
    return Piece(_flat(record.text("text")), _flat(record.text("label")).replace("_", " "))


def _passage(record: Record) -> Piece:
    questions, answers = record.texts("questions"), record.fields["answers"]
    if not isinstance(answers, list) or len(answers) != len(questions):
        record.fail("answers", f"a list of {len(questions)}, one for each question")
    accepted = [tuple(a) if isinstance(a, list) else (str(a),) for a in answers]
    asks = zip(map(_flat, questions), accepted, strict=True)
    return Piece(_flat(record.text("context")), _flat(record.optional("title")), tuple(asks))


def _quiz(record: Record) -> Piece:
    choices = record.texts("choices", 2)
    letters = "ABCDEFGHIJ"[: len(choices)]
    shown = " ".join(f"({letter}) {_flat(choice)}" for letter, choice in zip(letters, choices, strict=False))
    return Piece(f"{_flat(record.text('question'))} {shown}", letters[record.index("answer", len(letters))])


def _retrieval(place: Path) -> list[Piece]:
    """Passages with the search questions that were judged to be answered by them."""
    queries = {r.id: r for r in records(data_file(place, "queries"))}
    asks: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for judged in records(data_file(place, "qrels")):
        query = queries.get(judged.text("query"))
        if query is not None and judged.fields.get("score", 1):
            asks.setdefault(judged.text("passage"), []).append((_flat(query.text("text")), query.texts("answers")))
    return [
        Piece(_flat(r.text("text")), _flat(r.optional("title")), tuple(asks.get(r.id, ())))
        for r in records(data_file(place, "corpus"))
    ]


def _flat(text: str) -> str:
    return " ".join(text.split())


def by_label(pieces: Sequence[Piece]) -> Mapping[str, list[Piece]]:
    found: dict[str, list[Piece]] = {}
    for piece in pieces:
        found.setdefault(piece.label, []).append(piece)
    return found
