"""Entries for BibTeX. The catalogue itself knows no authors: those are written that `papers sync` met."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .entry import Entry

# Braces by name, for BibTeX counts them even behind a backslash.
_SPELT = {letter: f"\\{letter}" for letter in "&%$#_"} | {
    "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
}  # fmt: skip


def bibtex(entries: Iterable[Entry]) -> str:
    return "\n".join("\n".join(_lines(entry)) for entry in entries)


def _lines(entry: Entry) -> Iterator[str]:
    yield f"@misc{{{entry.id},"
    yield f"  title = {{{{{_escaped(entry.title)}}}}},"
    if entry.authors:
        yield f"  author = {{{' and '.join(map(_name, entry.authors))}}},"
    if entry.date:
        yield f"  year = {{{entry.date[:4]}}},"
        yield f"  month = {{{int(entry.date[5:7])}}},"
    if entry.arxiv:
        yield f"  eprint = {{{entry.arxiv}}},"
        yield "  archiveprefix = {arXiv},"
    if entry.doi:
        yield f"  doi = {{{_escaped(entry.doi)}}},"
    if entry.url:
        yield f"  url = {{{entry.url.replace('%', chr(92) + '%')}}},"
    yield "}"


def _name(name: str) -> str:
    """In braces where BibTeX would part it: at a comma, or at 'and'."""
    escaped = _escaped(name)
    return f"{{{escaped}}}" if re.search(r",|\band\b", name, re.IGNORECASE) else escaped


def _escaped(text: str) -> str:
    return "".join(_SPELT.get(letter, letter) for letter in text)
