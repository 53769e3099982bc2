"""Facts: what a feed says of one paper. No abstract is kept, and no link: links are made of the ids."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from .entry import LISTED, Entry

TITLE, NAME = 1000, 200  # characters; what is longer is no title, and no name
AUTHORS = 5000
_NUMBER = r"[0-9]{2}(?:0[1-9]|1[0-2])"
_ARXIV = re.compile(
    r"(?:https?://(?:[a-z]+\.)?arxiv\.org/(?:abs|pdf|html)/|oai:arxiv\.org:|arxiv:|(?:https?://doi\.org/)?10\.48550/arxiv\.)?"
    rf"(?:({_NUMBER}\.[0-9]{{4,5}})|([a-z]+(?:-[a-z]+)?)(?:\.[a-z]{{2}})?/({_NUMBER}[0-9]{{3}}))(?:v[0-9]+)?(?:\.pdf)?",
    re.IGNORECASE,
)
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.[0-9]{4,9}/[!-~]+)", re.IGNORECASE)
_CATEGORY = re.compile(r"[A-Za-z-]{2,20}(?:\.[A-Za-z-]{2,20})?")
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder what stands around them


class Refused(ValueError):
    """An entry of a feed that names no paper; the message says why."""


@dataclass(frozen=True)
class Facts:
    """published: first version, 'YYYY-MM-DD'; added: when it came into the user's file. At least one of arxiv and doi."""

    title: str
    arxiv: str | None = None
    doi: str | None = None
    authors: tuple[str, ...] = ()
    published: str | None = None
    updated: str | None = None
    categories: tuple[str, ...] = ()
    added: str | None = None

    @classmethod
    def of(cls, title: object, ids: Iterable[object], **more: Any) -> Facts:
        """Of whatever a feed gave. ids: the first arXiv id and the first DOI among them count. Raises Refused."""
        told, named = plain(title), [i for i in ids if isinstance(i, str)]
        if not told:
            raise Refused("it has no title")
        if len(told) > TITLE:
            raise Refused(f"its title has {len(told)} characters")
        arxiv = next(filter(None, map(arxiv_id, named)), None)
        doi = next((found for i in named if not arxiv_id(i) and (found := _doi(i))), None)
        if not (arxiv or doi):
            raise Refused("it names neither an arXiv id nor a DOI")
        names = [name for given in more.get("authors") or () if 0 < len(name := plain(given)) <= NAME]
        days = {key: _day(more.get(key)) for key in ("published", "updated", "added")}
        filed = [c for c in more.get("categories") or () if isinstance(c, str) and _CATEGORY.fullmatch(c)]
        return cls(told, arxiv, doi, tuple(names[:AUTHORS]), categories=tuple(dict.fromkeys(filed)), **days)

    @property
    def keys(self) -> Iterator[tuple[str, str]]:
        """What two listings of one paper have in common, the surest first."""
        return keys(self.arxiv, self.doi, self.title)

    def is_of(self, other: Facts | Entry) -> bool:
        """Whether a title in common may mean one paper: not where both have authors, and nobody wrote both."""
        ours, theirs = (set(map(_folded, paper.authors)) for paper in (self, other))
        return not ours or not theirs or bool(ours & theirs)

    def with_(self, newer: Facts) -> Facts:
        """Gaps filled; of a later version its title, authors and categories."""
        known = {name: value for name, value in vars(newer).items() if value}
        later = newer.updated is not None and newer.updated > (self.updated or self.published or "")
        fresh = {"title", "authors", "categories", "updated"} if later else set()
        return replace(self, **{n: v for n, v in known.items() if n in fresh or not getattr(self, n)})

    def entry(self) -> Entry:
        """As the catalogue lists it."""
        name = self.arxiv or f"doi-{self.doi}".lower()
        return Entry(
            id=re.sub(r"[^a-z0-9.]+", "-", name), title=self.title, arxiv=self.arxiv, date=self.published, family="",
            kind=LISTED, slots=(), needs=(), says="", claims="", shows="", authors=self.authors, doi=self.doi,
            categories=self.categories,
        )  # fmt: skip


def keys(arxiv: str | None, doi: str | None, title: str) -> Iterator[tuple[str, str]]:
    folded = _folded(title)
    yield from ((kind, value) for kind, value in (("arxiv", arxiv), ("doi", doi), ("title", folded)) if value)


def arxiv_id(text: str) -> str | None:
    """'http://arxiv.org/abs/2401.00001v2' -> '2401.00001', 'math.GT/0309136' -> 'math/0309136'; None for no such id."""
    found = _ARXIV.fullmatch(text.strip())
    if found is None:
        return None
    return found[1] or f"{found[2].lower()}/{found[3]}"


def plain(text: object) -> str:
    """One line without signs that steer a terminal or turn the text around it; '' for what is no text."""
    if not isinstance(text, str):
        return ""
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") else c for c in text if c not in _TURNING)
    return " ".join(kept.split())


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def _doi(text: str) -> str | None:
    found = _DOI.fullmatch(text.strip())
    return found[1].lower() if found and len(found[1]) <= NAME else None


def _day(value: object) -> str | None:
    """'2024-05-31' of an ISO time; None for anything else, and for a day that has not come."""
    try:
        day = date.fromisoformat(str(value)[:10])
    except ValueError:
        return None
    return day.isoformat() if day <= datetime.now(UTC).date() + timedelta(days=1) else None


def _folded(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())
