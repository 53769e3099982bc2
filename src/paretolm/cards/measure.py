"""A card: every part measured, one after the other. A part the model or the text cannot serve is left out by name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bench.progress import Progress
from ..errors import ModelError, ParetoError
from ..evaluation.rows import Row
from ..evaluation.source import TextSource
from .blimp import blimp, open_pairs
from .draft import agreement
from .facts import facts, short_name
from .longer import Effort, first_tokens, longer
from .recall import recall
from .samples import samples
from .scoring import Tell
from .text import text_numbers, text_rows
from .training import training

if TYPE_CHECKING:
    from ..bridge.lm import LM

FORMAT = 1
DIGITS = 6  # significant ones that a card keeps
SINK_TEXTS = 8
DRAFT_WINDOWS = 48
Part = Callable[[Tell], Any]


@dataclass(frozen=True)
class Request:
    """characters: of each document, for bits per byte. window: in tokens, by itself the trained length. trials: of
    recall, for each phrasing and number of facts. blimp: its folder, and items of each paradigm. run: the directory
    of the training run. draft: a smaller model of the same tokenizer."""

    source: TextSource
    characters: int = 24_000
    window: int | None = None
    trials: int = 100
    blimp: Path | None = None
    items: int = 20
    run: Path | None = None
    draft: LM | None = None
    effort: Effort = field(default_factory=Effort)

    @property
    def judged(self) -> TextSource:
        """Nothing is fitted for a card, so that every document is judged."""
        return replace(self.source, documents=tuple(replace(d, split="eval") for d in self.source.documents))


@dataclass(frozen=True)
class Measured:
    """card: what card.json holds. rows: bits per byte by document, for a comparison. seconds: of each part."""

    card: dict[str, Any]
    rows: Sequence[Row]
    seconds: Mapping[str, float]


def measure(lm: LM, request: Request, progress: Progress | None = None) -> Measured:
    """Raises ModelError for a model without a tokenizer; TextError and UserError for files that cannot be read."""
    if lm.tokenizer is None:
        raise ModelError(
            f"{lm.name} came without a tokenizer, so no text can be measured; give a directory that has one"
        )
    runner = _Runner(lm.name, progress or Progress())
    rows: list[Row] = []
    parts = _parts(lm, request, rows)
    card: dict[str, Any] = {"format": FORMAT, "model": facts(lm)}
    if request.run is not None:
        card["training"] = training(request.run)
    runner.plan(parts)
    for name, part in parts.items():
        found = runner.run(name, part)
        if found is not None:
            card[name] = found
    if runner.skipped:
        card["skipped"] = runner.skipped
    return Measured(rounded(card), rows, runner.seconds)


def _parts(lm: LM, request: Request, rows: list[Row]) -> dict[str, Part]:
    """In the order of a card; `rows` is filled by the first."""
    source, window = request.judged, request.window or lm.view.trained_length
    parts: dict[str, Part] = {
        "text": lambda tell: _text(lm, request, window, rows, tell),
        "recall": lambda tell: recall(lm, source, request.trials, tell),
        "longer": lambda tell: longer(lm, source, request.effort, tell),
        "first_tokens": lambda tell: first_tokens(lm, source, SINK_TEXTS, tell),
    }
    if request.blimp is not None:
        pairs = open_pairs(request.blimp, request.items)
        parts["blimp"] = lambda tell: blimp(lm, pairs, tell)
    draft = request.draft
    if draft is not None and draft.content_hash != lm.content_hash:
        parts["draft"] = lambda tell: {
            "name": short_name(draft.name),
            **agreement(lm, draft, source.documents, request.characters, DRAFT_WINDOWS, tell),
        }
    parts["samples"] = lambda tell: samples(lm, tell)
    return parts


def _text(lm: LM, request: Request, window: int, rows: list[Row], tell: Tell) -> dict[str, Any]:
    rows += text_rows(lm, request.source.documents, window, request.characters, tell)
    about = {"name": request.source.name, "data": request.source.data_hash}
    return {**about, "window": window, "characters": request.characters, **text_numbers(rows)}


class _Runner:
    """Runs parts, tells of them, and keeps why one was left out."""

    def __init__(self, model: str, progress: Progress) -> None:
        self.model, self.progress = model, progress
        self.seconds: dict[str, float] = {}
        self.skipped: dict[str, str] = {}

    def plan(self, parts: Mapping[str, Part]) -> None:
        self.progress.plan({self._key(name): f"{self.model}: {name.replace('_', ' ')}" for name in parts})

    def run(self, name: str, part: Part) -> Any:
        key, started = self._key(name), time.perf_counter()
        try:
            found = part(lambda share: self.progress.update(key, share))
        except ParetoError as error:
            if name == "text":  # without it there is no card
                raise
            self.skipped[name] = str(error)
            self.progress.fail(key, str(error))
            return None
        self.seconds[name] = time.perf_counter() - started
        self.progress.finish(key)
        return found

    def _key(self, name: str) -> str:
        return f"{self.model}\0{name}"


def rounded(value: Any) -> Any:
    """Floats to DIGITS significant digits, all the way down; what is no number becomes null."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return value
