"""paretolm papers: the catalogue of papers."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError, nearest
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
Family = Annotated[list[str] | None, typer.Option(help="cache, attention, decoding, ...")]
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
Bibtex = Annotated[bool, typer.Option("--bibtex", help="Print BibTeX.")]


def command(
    words: Words = None,
    family: Family = None,
    slot: Slot = None,
    need: Need = None,
    verdict: Verdict = None,
    since: Since = None,
    by: By = None,
    similar: Similar = None,
    limit: Limit = 20,
    records: Records = Path("results/claims"),
    site: Site = None,
    bibtex: Bibtex = False,
    as_json: Json = False,
) -> None:
    """List and search papers: what each does, what of it runs here, and its claims beside what was measured."""
    from .. import catalogue
    from ..catalogue.filters import Filter
    from ..catalogue.joined import measured

    beside = measured(records)
    values = [tuple(split(given or ())) for given in (family, slot, need, verdict)]
    asked = Filter(values[0], values[1], values[2], values[3], since)
    asked.check(catalogue.entries())
    if by not in (None, "day", "family"):
        raise UserError(f"--by {by!r} is unknown{nearest(by, ('day', 'family'))}")
    one = _one(words or [])
    if one is not None:
        found: Sequence[Entry] = [one]
    else:
        kept = [e for e in catalogue.entries() if asked.keeps(e, beside.get(e.id))]
        found = _found(kept, " ".join(words or ()), similar, limit)
    if site is not None or bibtex or as_json:
        _write(found, beside, site, bibtex)
    else:
        _show(found, beside, one, by or (None if words or similar else "day"))


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


def _one(words: Sequence[str]) -> Entry | None:
    """The paper that is asked for alone. Raises UserError for 'show' without a known id."""
    from .. import catalogue

    if words[:1] == ["show"]:
        if len(words) != 2:
            raise UserError("'show' takes the id of one paper: paretolm papers show streaming-llm")
        return catalogue.find(words[1])
    if len(words) == 1 and any(words[0] in (entry.id, entry.arxiv) for entry in catalogue.entries()):
        return catalogue.find(words[0])
    return None


def _found(kept: Sequence[Entry], words: str, similar: str | None, limit: int) -> Sequence[Entry]:
    """Of entries that passed the filters. Where no entry has a word of a search, the nearest in meaning."""
    from .. import catalogue
    from ..catalogue.meaning import Meaning
    from ..catalogue.search import Words as Index

    if words and similar:
        raise UserError("--similar names a paper and takes no words beside it")
    allowed = {entry.id for entry in kept}
    if similar:
        near = Meaning(catalogue.entries()).like(catalogue.find(similar), len(catalogue.entries()))
    elif not words:
        return kept
    elif found := Index(kept).find(words, limit):
        return found
    else:
        print(f"no paper has a word of {words!r}; nearest in meaning", file=sys.stderr)
        near = Meaning(catalogue.entries()).find(words, len(catalogue.entries()))
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
