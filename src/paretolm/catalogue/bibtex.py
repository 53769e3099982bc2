"""Entries for BibTeX. The catalogue knows no authors, so none are invented: arXiv's own export has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .entry import Entry


def bibtex(entries: Iterable[Entry]) -> str:
    return "\n".join("\n".join(_lines(entry)) for entry in entries)


def _lines(entry: Entry) -> Iterator[str]:
    yield f"@misc{{{entry.id},"
    yield f"  title = {{{{{_escaped(entry.title)}}}}},"
    if entry.date:
        yield f"  year = {{{entry.date[:4]}}},"
        yield f"  month = {{{int(entry.date[5:7])}}},"
    if entry.arxiv:
        yield f"  eprint = {{{entry.arxiv}}},"
        yield "  archiveprefix = {arXiv},"
        yield f"  url = {{{entry.url}}},"
    yield "}"


def _escaped(title: str) -> str:
    return re.sub(r"[&%$#_{}]", r"\\\g<0>", title).replace("^", r"\textasciicircum{}")
