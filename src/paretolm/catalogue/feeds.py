"""What a feed lists: arXiv's Atom answers, RSS or Atom of a category, and the JSON of daily papers."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

from ..errors import RunError, UserError
from .facts import Facts, Refused, plain

BEGINS_WITHIN = 4096  # characters before the first element
ROOTS = frozenset({"feed", "rss", "RDF"})
OLDER = frozenset({"cross", "replace", "replace-cross"})  # their day in a feed is not the paper's
_SUFFIX = re.compile(r"(?:jr|sr|ii|iii|iv)\.?$", re.IGNORECASE)


class FeedError(RunError):
    """A file or an answer that is no feed; nothing of it was used."""


@dataclass(frozen=True)
class Feed:
    """refused: 'what: why' for each entry that names no paper."""

    papers: tuple[Facts, ...]
    refused: tuple[str, ...]


def read(data: bytes, name: str) -> Feed:
    """name: for messages. Raises FeedError for anything but a whole feed; UserError where feedparser is missing."""
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise FeedError(f"{name} is no text in UTF-8 (byte {error.start:,}), so it is no feed") from None
    if not text:
        raise FeedError(f"{name} is empty")
    if text[0] in "[{":
        return _gathered(_json(text, name), _of_daily)
    if text[0] == "<":
        return _gathered(_xml(text, name), _of_entry)
    raise FeedError(f"{name} is neither XML nor JSON; it begins with {plain(text[:60])!r}")


def _gathered(items: Iterable[Any], facts: Callable[[Any], Facts]) -> Feed:
    papers, refused = [], []
    for i, item in enumerate(items, 1):
        try:
            papers.append(facts(item))
        except Refused as why:
            refused.append(f"entry {i}{_called(item)}: {why}")
    return Feed(tuple(papers), tuple(refused))


def _called(item: Any) -> str:
    inner = item.get("paper", item) if isinstance(item, Mapping) else {}
    title = plain(inner.get("title")) if isinstance(inner, Mapping) else ""
    return f" ({title[:60]})" if title else ""


# --- JSON of daily papers ---


def _json(text: str, name: str) -> list[Any]:
    def refuse(word: str) -> float:
        raise ValueError(f"{word} is no number of JSON")

    try:
        found = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        told = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FeedError(f"{name} is no JSON: {told}") from None
    if not isinstance(found, list):
        said = f"; it says {plain(found['error'])[:200]!r}" if isinstance(found.get("error"), str) else ""
        raise FeedError(f"{name} holds no list of papers{said}")
    return found


def _of_daily(item: Any) -> Facts:
    paper = item.get("paper") if isinstance(item, dict) else None
    if not isinstance(paper, dict):
        raise Refused("it holds no 'paper'")
    people = paper.get("authors")
    names = [person.get("name") for person in people if isinstance(person, dict)] if isinstance(people, list) else []
    return Facts.of(paper.get("title"), [paper.get("id")], authors=names, published=paper.get("publishedAt"))


# --- Atom and RSS ---


def _xml(text: str, name: str) -> list[Any]:
    """The entries of a feed that is well-formed and declares no entities, as feedparser has them."""
    if re.search(r"<!doctype\s+html|<html[\s>]", text[:BEGINS_WITHIN], re.IGNORECASE):
        raise FeedError(f"{name} is a page of HTML, not a feed")
    if re.search(r"<!(?:doctype|entity)", text, re.IGNORECASE):  # a few bytes of entities can stand for gigabytes
        raise FeedError(f"{name} declares a document type or entities, which no feed needs; it is not read")
    if not re.search(r"<\w", text[:BEGINS_WITHIN]):
        raise FeedError(f"{name} is no feed: no element begins in its first {BEGINS_WITHIN:,} characters")
    root = _root(text, name)
    if root not in ROOTS:
        raise FeedError(f"{name} is XML but no feed: its root is <{plain(root)[:60]}>, not one of <feed>, <rss>, <RDF>")
    try:
        import feedparser
    except ImportError:
        raise UserError("reading Atom and RSS needs feedparser: pip install 'paretolm[papers]' first") from None
    encoded = io.BytesIO(text.encode())  # never a str, which feedparser would open as a file or an address
    headers = {"content-type": "application/xml; charset=utf-8"}
    found = feedparser.parse(encoded, response_headers=headers, sanitize_html=False, resolve_relative_uris=False)
    entries: list[Any] = found.entries
    return entries


def _root(text: str, name: str) -> str:
    """The local name of the root. Raises FeedError where the XML is not whole."""
    parser, roots = expat.ParserCreate("utf-8", " "), []

    def begin(tag: str, attributes: Mapping[str, str]) -> None:
        roots.append(tag)
        parser.StartElementHandler = None

    parser.StartElementHandler = begin
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise FeedError(f"{name} is broken XML: {error}; nothing of it was used") from None
    return roots[0].rsplit(" ", 1)[-1]


def _of_entry(entry: Any) -> Facts:
    """Of feedparser's entry. In arXiv's RSS one element names all authors, and a day is that of the announcement."""
    if "arxiv.org/api/errors" in str(entry.get("id")):  # its answer to a question that it does not understand
        raise Refused(f"arXiv says {plain(entry.get('summary'))[:200]!r}")
    ids = [entry.get(key) for key in ("id", "link", "arxiv_doi", "prism_doi", "dc_identifier")]
    names = [person.get("name") for person in entry.get("authors") or () if person.get("name")]
    if len(names) == 1 and ("arxiv_announce_type" in entry or str(ids[0]).startswith("oai:arXiv.org:")):
        names = list(_apart(names[0]))
    older = entry.get("arxiv_announce_type") in OLDER
    published, updated = (_iso(dict.get(entry, f"{key}_parsed")) for key in ("published", "updated"))
    return Facts.of(
        entry.get("title"),
        ids,
        authors=names,
        published=None if older else published,
        updated=updated or (published if older else None),
        categories=[tag.get("term") for tag in entry.get("tags") or ()],
    )


def _apart(names: str) -> Iterator[str]:
    """'A B (X), C D, Jr.' -> 'A B', 'C D, Jr.'"""
    last = ""
    for part in re.sub(r"\s*\([^()]*\)", "", names).split(", "):
        if last and _SUFFIX.match(part):
            last = f"{last}, {part}"
            continue
        if last:
            yield last
        last = part
    if last:
        yield last


def _iso(moment: Any) -> str | None:
    """Of feedparser's time in UTC."""
    return None if moment is None else f"{moment[0]:04d}-{moment[1]:02d}-{moment[2]:02d}"
