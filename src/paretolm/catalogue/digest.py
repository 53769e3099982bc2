"""What is new since a day: papers that `papers sync` listed, and verdicts, each claim beside what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from typing import Any

from ..papers.table import label, measured
from .entry import Entry
from .facts import Facts
from .listing import UNDATED, people
from .shelf import unknown

Record = Mapping[str, Any]


@dataclass(frozen=True)
class News:
    """Claims of one paper that were judged since. before: what the verdict of a claim was, where it has changed."""

    id: str
    title: str
    day: str
    claims: tuple[Record, ...]
    before: Mapping[str, str]


@dataclass(frozen=True)
class Digest:
    """days: papers by the day of their first version, the newest first."""

    since: str
    days: tuple[tuple[str, tuple[Entry, ...]], ...]
    news: tuple[News, ...]

    @property
    def empty(self) -> bool:
        return not (self.days or self.news)

    @property
    def heading(self) -> str:
        papers, verdicts = sum(len(found) for _, found in self.days), sum(len(n.claims) for n in self.news)
        return f"{_counted(papers, 'new paper')}, {_counted(verdicts, 'new verdict')} since {self.since}"


def digest(
    since: str, entries: Sequence[Entry], listed: Iterable[Facts], records: Mapping[str, Record],
    shipped: Mapping[str, Record],
) -> Digest:  # fmt: skip
    """since: 'YYYY-MM-DD'. Papers that came into the user's file on that day or later, and no entry of the catalogue
    is; of records made since, what is new or other than in the shipped one from before."""
    new = [paper.entry() for paper in unknown(entries, listed) if (paper.added or "") >= since]
    new.sort(key=lambda entry: entry.date or "", reverse=True)
    days = tuple((day or UNDATED, tuple(found)) for day, found in groupby(new, key=lambda entry: entry.date))
    titles = {entry.id: entry.title for entry in entries}
    news = (_news(record, shipped.get(name), since, titles) for name, record in records.items())
    return Digest(since, days, tuple(sorted(filter(None, news), key=lambda n: (n.day, n.id), reverse=True)))


def _news(record: Record, earlier: Record | None, since: str, titles: Mapping[str, str]) -> News | None:
    day = str(record.get("created", ""))[:10]
    if day < since:
        return None
    known = {}
    if earlier is not None and earlier is not record and str(earlier.get("created", ""))[:10] < since:
        known = {claim["says"]: claim["state"] for claim in earlier["claims"]}
    claims = tuple(c for c in record["claims"] if known.get(c["says"]) != c["state"])
    before = {c["says"]: known[c["says"]] for c in claims if c["says"] in known}
    title = titles.get(record["id"], record.get("title", ""))
    return News(record["id"], title, day, claims, before) if claims else None


def html(found: Digest) -> str:
    """A page, and the mail's; what came from outside is escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"label": label, "measured": measured, "people": people}
    template = (files(__package__) / "assets" / "digest.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(digest=found)


def text(found: Digest) -> str:
    """For readers of mail without HTML."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Digest) -> Iterator[str]:
    yield from (found.heading, "")
    if found.empty:
        yield "Nothing new."
    for day, papers in found.days:
        yield from (day, "")
        for paper in papers:
            yield f"* {paper.title}"
            if paper.authors:
                yield f"  {people(paper.authors)}"
            yield f"  {' · '.join(filter(None, [', '.join(paper.categories), paper.url]))}"
        yield ""
    for news in found.news:
        yield from (f"{news.id}: {news.title} ({news.day})", "")
        for claim in news.claims:
            was = f" (was: {label(news.before[claim['says']])})" if claim["says"] in news.before else ""
            yield f"* {label(claim['state'])}{was}: {claim['says']}"
            yield f"  claimed: {claim['figure']} ({claim['size']}; {claim['section']})"
            yield from (f"  measured: {line}" for line in measured(claim))
        yield ""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
