"""paretolm papers: the catalogue of papers, and what the user lists beside it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import UserError, close_to, nearest
from ..files import write_asked
from ._lists import split
from ._options import Json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..catalogue.entry import Entry
    from ..papers.records import Record

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[WORDS]...", help="Words to search for, the id of a paper, or 'show ID'."),
]
Family = Annotated[list[str] | None, typer.Option(help="cache, attention, decoding, ...; unknown for listed papers.")]
Kind = Annotated[
    list[str] | None, typer.Option(help="method, study, benchmark, ..., or listed: added by `papers sync`.")
]
Slot = Annotated[list[str] | None, typer.Option(help="Where it acts: keep, attend, store, weights, ...")]
Need = Annotated[list[str] | None, typer.Option(help="none, 'fit on text', 'small training', 'second model', ...")]
Verdict = Annotated[
    list[str] | None, typer.Option(help="reproduced, partly, not, ..., or none where nothing is measured.")
]
Since = Annotated[str | None, typer.Option(help="A date as 2024-05-31: this and newer.")]
By = Annotated[str | None, typer.Option(help="day or family; without, found papers stand the best first.")]
Similar = Annotated[str | None, typer.Option(help="Papers nearest in meaning to this one.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many of a search.")]
Records = Annotated[
    Path, typer.Option(help="Where `paretolm claims` wrote; what is missing there comes with the package.")
]
Site = Annotated[Path | None, typer.Option(metavar="DIR", help="Write these papers as a page: DIR/index.html.")]
Bibtex = Annotated[bool, typer.Option("--bibtex", help="Print BibTeX, with authors where `papers sync` met them.")]
Listings = Annotated[
    Path | None,
    typer.Option(
        help="Where `papers sync` wrote; by default $PARETOLM_PAPERS, else paretolm/papers.jsonl in $XDG_DATA_HOME.",
        show_default=False,
    ),
]
Source = Annotated[str, typer.Argument(metavar="FILE|URL", help="arXiv's Atom or RSS, or the JSON of daily papers.")]
Target = Annotated[
    Path | None,
    typer.Option(
        help="The file they are added to; by default $PARETOLM_PAPERS, else paretolm/papers.jsonl in $XDG_DATA_HOME.",
        show_default=False,
    ),
]
Day = Annotated[str, typer.Option(help="A date as 2024-05-31: what was listed or judged on it or later.")]
Place = Annotated[
    str,
    typer.Option(
        metavar="FILE.html|smtp://...",
        help="A page, or smtp[s]://[USER[:PASSWORD]@]HOST[:PORT]/?from=ADDRESS&to=ADDRESS; the password may stand in "
        "$PARETOLM_SMTP_PASSWORD.",
    ),
]


SHOWN = 20  # reasons of refusal that are printed


class _Papers(TyperGroup):
    """Its commands are taken by their names; any other first word is searched for, with options after it."""

    allow_interspersed_args = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = not self._named(args)
        ctx.meta[__name__] = self._named(args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Without WORDS, which would swallow a command."""
        found = super().get_params(ctx)
        return [p for p in found if p.param_type_name != "argument"] if ctx.meta.get(__name__) else found

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Without what would ask for a command."""
        return super().collect_usage_pieces(ctx)[:-1]

    def _named(self, args: list[str]) -> bool:
        return bool(args) and args[0] in self.commands


app = typer.Typer(cls=_Papers)


@app.callback(invoke_without_command=True)
def search(
    context: typer.Context,
    words: Words = None,
    family: Family = None,
    kind: Kind = None,
    slot: Slot = None,
    need: Need = None,
    verdict: Verdict = None,
    since: Since = None,
    by: By = None,
    similar: Similar = None,
    limit: Limit = 20,
    listings: Listings = None,
    records: Records = Path("results/claims"),
    site: Site = None,
    bibtex: Bibtex = False,
    as_json: Json = False,
) -> None:
    """List and search papers: what each does, what of it runs here, and its claims beside what was measured."""
    if context.invoked_subcommand is not None:
        return
    from ..catalogue.filters import Filter
    from ..catalogue.joined import measured

    beside, known = measured(records), _known(listings)
    values = [tuple(split(given or ())) for given in (family, kind, slot, need, verdict)]
    asked = Filter(values[0], values[1], values[2], values[3], values[4], since)
    asked.check(known)
    if by not in (None, "day", "family"):
        raise UserError(f"--by {by!r} is unknown{nearest(by, ('day', 'family'))}")
    one = _one(words or [], known)
    if one is not None:
        found: Sequence[Entry] = [one]
    else:
        kept = [e for e in known if asked.keeps(e, beside.get(e.id))]
        found = _found(kept, known, " ".join(words or ()), similar, limit)
    if site is not None or bibtex or as_json:
        _write(found, beside, site, bibtex)
    else:
        _show(found, beside, one, by or (None if words or similar else "day"))


@app.command()
def sync(source: Source, to: Target = None, as_json: Json = False) -> None:
    """Add what a feed lists to your own file of papers: ids, titles, authors, dates, categories; no abstracts.

    Papers that are known, by arXiv id, DOI or title, are not listed twice; of the catalogue's own the authors are kept.
    A feed that is broken changes nothing. The network is asked for the address that is given, and where it leads.
    """
    from .. import catalogue
    from ..catalogue import feeds, fetch, shelf
    from ..catalogue.facts import today

    place = to or shelf.place()
    if "://" in source and sys.stderr.isatty():
        print(f"asking {source}", file=sys.stderr)
    feed = feeds.read(fetch.read(source), source)
    merged = shelf.add(place, feed.papers, catalogue.entries(), today())
    for why in feed.refused[:SHOWN]:
        print(f"refused: {why}", file=sys.stderr)
    if len(feed.refused) > SHOWN:
        print(f"refused: {len(feed.refused) - SHOWN} more", file=sys.stderr)
    if as_json:
        told = {"new": [vars(p) for p in merged.new], "known": merged.known, "completed": merged.completed}
        print(json.dumps({**told, "refused": feed.refused, "file": str(place)}))
    else:
        fuller = f" ({merged.completed} of them told more fully now)" if merged.completed else ""
        print(f"{len(merged.new)} new, {merged.known} known{fuller}, {len(feed.refused)} refused: {place}")
    raise typer.Exit(1 if feed.refused and not feed.papers else 0)


@app.command()
def digest(
    since: Day,
    to: Place,
    listings: Listings = None,
    records: Records = Path("results/claims"),
) -> None:
    """Write or mail what is new: listed papers day by day, and verdicts, each claim beside what was measured.

    New papers are those that `papers sync` added on that day or later. A mail without news is not sent.
    """
    from .. import catalogue
    from ..catalogue import digest as news
    from ..catalogue import mail, shelf
    from ..catalogue.filters import check_date
    from ..catalogue.joined import measured, shipped

    check_date(since)
    post = mail.Post.parse(to) if "://" in to else None
    if post is None and not to.endswith((".html", ".htm")):
        raise UserError(f"--to {to!r} is neither a page, NAME.html, nor a mail's address, {mail.SHAPE}")
    listed = shelf.read(listings or shelf.place())
    found = news.digest(since, catalogue.entries(), listed, measured(records), shipped())
    if post is None:
        told = f"page: {write_asked(Path(to), news.html(found), 'another FILE.html')}"
    elif found.empty:
        told = "no mail was sent"
    else:
        mail.send(found, post)
        told = f"mail to {', '.join(address.addr_spec for address in post.to)}"
    print(f"{found.heading}; {told}", file=sys.stderr)


def _known(listings: Path | None) -> Sequence[Entry]:
    """The catalogue, and what the user's file has beside it."""
    from .. import catalogue
    from ..catalogue import shelf

    return shelf.beside(catalogue.entries(), shelf.read(listings or shelf.place()))


def _write(found: Sequence[Entry], beside: Mapping[str, Record], site: Path | None, bibtex: bool) -> None:
    """A page, BibTeX, or JSON."""
    if site is not None:
        from ..catalogue.page import write_site

        print(f"page: {write_site(site, found, beside)}", file=sys.stderr)
    elif bibtex:
        from ..catalogue.bibtex import bibtex as written

        print(written(found))
    else:
        print(json.dumps([_plain(entry, beside) for entry in found]))


def _one(words: Sequence[str], known: Sequence[Entry]) -> Entry | None:
    """The paper that is asked for alone. Raises UserError for 'show' without a known id."""
    from .. import catalogue

    if words[:1] == ["show"]:
        if len(words) != 2:
            raise UserError("'show' takes the id of one paper: paretolm papers show streaming-llm")
        return catalogue.find(words[1], known)
    if len(words) == 1 and any(words[0] in (entry.id, entry.arxiv) for entry in known):
        return catalogue.find(words[0], known)
    return None


def _found(
    kept: Sequence[Entry], known: Sequence[Entry], words: str, similar: str | None, limit: int
) -> Sequence[Entry]:
    """Of entries that passed the filters. Where no entry has a word of a search, the nearest in meaning."""
    from .. import catalogue
    from ..catalogue.meaning import Meaning
    from ..catalogue.search import Words as Index

    if words and similar:
        raise UserError("--similar names a paper and takes no words beside it")
    allowed = {entry.id for entry in kept}
    if similar:
        near = Meaning(known).like(catalogue.find(similar, known), len(known))
    elif not words:
        return kept
    elif found := Index(kept).find(words, limit):
        return found
    else:
        meant = close_to(words.partition(" ")[0], ("sync", "digest", "show"))  # what a slip makes of a command
        print(f"no paper has a word of {words!r}; nearest in meaning{meant}", file=sys.stderr)
        near = Meaning(known).find(words, len(known))
    return [entry for entry, _ in near if entry.id in allowed][:limit]


def _show(found: Sequence[Entry], beside: Mapping[str, Record], one: Entry | None, by: str | None) -> None:
    from ..catalogue.listing import show_list, show_one

    if one is None:
        show_list(found, beside, by)
    else:
        show_one(one, beside.get(one.id))


def _plain(entry: Entry, beside: Mapping[str, Record]) -> dict[str, object]:
    from ..catalogue.joined import runs, states

    return {**asdict(entry), "runs": asdict(runs(entry)), "verdicts": states(beside.get(entry.id))}
