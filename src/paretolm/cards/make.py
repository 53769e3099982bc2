"""What the command does: load, measure, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bench.progress import Progress
from ..errors import UserError
from ..evaluation.source import TextSource
from ..recipes.convert import load
from .facts import short_name
from .files import check_place, write
from .measure import Measured, Request, measure


@dataclass(frozen=True)
class Order:
    """Models, and what is to be measured of each (see Request), as a person names it. text: a path, by default the
    embedded text. to: where the cards go. license: of the weights, for the page."""

    models: Sequence[str]
    text: Path | None = None
    window: int | None = None
    characters: int = Request.characters
    trials: int = Request.trials
    blimp: Path | None = None
    items: int = Request.items
    run: Path | None = None
    draft: str | None = None
    to: Path | None = None
    license: str | None = None

    def request(self, options: Mapping[str, Any]) -> Request:
        """With text and draft opened."""
        return Request(
            source=TextSource.open(self.text),
            characters=self.characters,
            window=self.window,
            trials=self.trials,
            blimp=self.blimp,
            items=self.items,
            run=self.run,
            draft=None if self.draft is None else load(self.draft, **options),
        )


def make_cards(
    order: Order, options: Mapping[str, Any] | None = None, progress: Progress | None = None
) -> list[Measured]:
    """A card a model, written as each is done. options: as `paretolm.load` takes them.

    Raises UserError for what cannot be met, as far as it can be told before anything is measured."""
    if order.run is not None and len(order.models) > 1:
        raise UserError("a training run belongs to one model: give --run with a single MODEL")
    places = _places(order.models, order.to)
    for place in places:
        check_place(place)
    options, progress, found = options or {}, progress or Progress(), []
    request = order.request(options)
    with progress.showing():
        for number, name in enumerate(order.models):
            measured = measure(load(name, **options), request, progress)
            if order.license:
                measured.card["license"] = order.license
            if places:
                write(measured.card, places[number])
            found.append(measured)
    return found


def _places(models: Sequence[str], to: Path | None) -> list[Path]:
    """The directory of each card: `to` itself for one model, a folder in it for each of several."""
    if to is None:
        return []
    if len(models) == 1:
        return [to]
    names = [short_name(m) for m in models]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise UserError(f"two models are called {twice}, so their cards would lie in one folder: make them one by one")
    return [to / name for name in names]
