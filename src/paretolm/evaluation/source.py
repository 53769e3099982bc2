"""TextSource: the documents of the user's text, divided for judging and for fitting, with their hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ..errors import TextError
from . import _files
from ._files import Raw, Reading

FIT_SHARE = 0.2
WHOLE_DOCUMENTS = 20  # fewer than this are cut into sections, which then stand in for documents
SECTIONS = 50  # how many sections are aimed at
SECTION = 2000  # characters, at least
_SPLITTABLE = 5  # from so many documents on, fitting takes whole ones


@dataclass(frozen=True)
class Document:
    """work: what the document is a part of (itself, where nothing else is said), the cluster of its scores.
    messages: a conversation, for a tokenizer with a chat template; text says the same without one."""

    id: str
    text: str
    work: str
    domain: str = ""
    split: str = "eval"  # or fit
    messages: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class TextSource:
    """notes: what was mended, left out or cut, one sentence each, for the report."""

    name: str
    documents: tuple[Document, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: str | Path | None = None) -> TextSource:
        """A .txt or .jsonl file or a directory of them; without a path the embedded sample. Raises TextError."""
        if path is None:
            from ..reference import text_path

            path = text_path()
        root = Path(path)
        reading = Reading()
        raws: list[Raw] = []
        try:
            files = _files.find(root)
        except OSError as error:
            raise TextError(f"{root} cannot be read: {error.strerror or error}") from None
        for file in files:
            name = file.relative_to(root).as_posix() if root.is_dir() else file.name
            raws.extend(_files.read(file, name, reading))
        return cls.of(raws, root.name, reading)

    @classmethod
    def of(cls, raws: Iterable[Raw], name: str, reading: Reading | None = None) -> TextSource:
        """A source of documents already read."""
        reading = reading or Reading()
        documents = _distinct(raws, reading)
        if not documents:
            raise TextError(f"{name} holds no text")
        divided = _divide(documents)
        notes = reading.notes()
        if len(divided) > len(documents):
            count = "one document" if len(documents) == 1 else f"{len(documents)} documents"
            notes.append(
                f"{count}, cut into {len(divided)} sections that stand in for documents: "
                "intervals speak of this text, not of other texts like it"
            )
        return cls(name, tuple(divided), tuple(notes))

    @cached_property
    def data_hash(self) -> str:
        """sha256 over what is judged and fitted: ids, splits and texts in order."""
        digest = hashlib.sha256()
        for d in self.documents:
            for part in (d.id, d.work, d.split, d.text, *(f"{m['role']}\0{m['content']}" for m in d.messages)):
                data = part.encode()
                digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()

    @cached_property
    def eval_documents(self) -> tuple[Document, ...]:
        """What the judge reads. Raises TextError where there are none."""
        found = tuple(d for d in self.documents if d.split == "eval")
        if not found:
            raise TextError(f"every document of {self.name} has split fit; the judge needs some with split eval")
        return found

    @cached_property
    def fit_documents(self) -> tuple[Document, ...]:
        """What methods may be fitted on: never judged. Raises TextError where there are none."""
        found = tuple(d for d in self.documents if d.split == "fit")
        if not found:
            raise TextError(
                f"{self.name} has no text to fit a method on: give more than one document, "
                "or JSON lines some of which have split fit"
            )
        return found


def require_tokens(have: int, need: int, who: str) -> None:
    """Raises TextError where a text is shorter than what a method or task works on."""
    if have < need:
        raise TextError(
            f"text of {have:,} tokens is shorter than the {need:,} that {who} uses: give more text or a smaller {who}"
        )


def _distinct(raws: Iterable[Raw], reading: Reading) -> list[Raw]:
    """Without empty and repeated texts, and with ids that are unique."""
    seen_texts: set[bytes] = set()
    seen_ids: set[str] = set()
    kept = []
    for raw in raws:
        if not raw.text.strip():
            reading.mended[_files.EMPTY] += 1
            continue
        print_ = hashlib.sha256(raw.text.encode()).digest()
        if print_ in seen_texts:
            reading.mended[_files.REPEATED] += 1
            continue
        seen_texts.add(print_)
        identity, number = raw.id, 2
        while identity in seen_ids:
            identity, number = f"{raw.id}~{number}", number + 1
        if identity != raw.id:
            reading.mended[_files.RENAMED] += 1
        seen_ids.add(identity)
        kept.append(replace(raw, id=identity))
    return kept


def _divide(raws: Sequence[Raw]) -> list[Document]:
    """Documents with a split each: as given, else a fifth for fitting, drawn by the hash of the text."""
    given = any(r.split for r in raws)
    documents = [_document(r) for r in raws]
    if not given and len(raws) >= _SPLITTABLE:
        order = sorted(raws, key=lambda r: hashlib.sha256(r.text.encode()).digest())
        fit = {r.id for r in order[: round(len(raws) * FIT_SHARE)]}
        documents = [replace(d, split="fit") if d.id in fit else d for d in documents]
    if len(raws) >= WHOLE_DOCUMENTS:
        return documents
    size = max(SECTION, sum(len(r.text) for r in raws) // SECTIONS)
    tail = not given and len(raws) < _SPLITTABLE
    return [s for d in documents for s in _sections(d, size, tail)]


def _document(raw: Raw) -> Document:
    return Document(raw.id, raw.text, raw.work or raw.id, raw.domain, raw.split or "eval", raw.messages)


def _sections(document: Document, size: int, tail_fits: bool) -> list[Document]:
    """Pieces of about `size` characters cut at paragraphs; the last fifth of them for fitting if asked.

    A tail rather than a draw, so that what is fitted on does not lie between what is judged."""
    pieces = cut(document.text, size) if not document.messages else [document.text]
    if len(pieces) == 1:
        return [document]
    fit_from = len(pieces) - round(len(pieces) * FIT_SHARE) if tail_fits else len(pieces)
    width = len(str(len(pieces)))
    sections = []
    for i, piece in enumerate(pieces):
        name = f"{document.id}#{i + 1:0{width}}"
        split = "fit" if i >= fit_from else document.split
        sections.append(replace(document, id=name, work=name, text=piece, split=split))
    return sections


def cut(text: str, size: int) -> list[str]:
    """Pieces whose concatenation is the text, of `size` characters or more, ended at a paragraph, else a line,
    else a word, else anywhere; none is over twice `size`."""
    pieces, start = [], 0
    while len(text) - start >= 2 * size:
        window = text[start + size : start + 2 * size - 1]
        found = next((m for p in (r"\n\n+", r"\n", r"\s") if (m := re.search(p, window))), None)
        end = start + size + (found.end() if found else 0)
        pieces.append(text[start:end])
        start = end
    pieces.append(text[start:])
    return pieces
