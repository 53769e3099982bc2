"""Schemes for reading beyond the trained length, with and without a short tuning: perplexity and key-value accuracy.

Giraffe: Adventures in Expanding Context Lengths in LLMs (2308.10882). Each scheme changes how positions turn into
angles, and is read as it is and after the whole model was tuned under it. Perplexity is that of the same tokens in
every arm, by how far into one long text they stand, beside the untouched model within its window: windows of the
trained length that move on by half of it. Key-value accuracy: facts of a name and a number are planted in real text,
and an answer is right if all of its tokens are the most likely ones.

Where we leave the paper: it tunes LLaMA-13B on texts of twice its trained length; here it is a few steps at the trained
length. There dynamic NTK changes nothing, so that it is tuned plainly. The randomised scheme tunes with neighbours 1/16
to twice the scale apart, a draw a window, and reads at a distance of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ..bench.results.estimates import metric_of
from ..bridge.fitter import TextFitter
from ..contracts import knob
from ..errors import TextError, UserError, nearest
from ..evaluation.rows import Row
from ..evaluation.streams import TextStream, build
from ..evaluation.summary import Summary, summarise
from ..methods._low_rank import windows
from ..recipes.recipe import Recipe
from ..recipes.session import Session
from ..training.contracts import Batch, Objective
from ..training.optimizers.adamw import AdamW
from ..training.schedules.cosine import Cosine
from ..training.tuning import tune
from ._beyond import SOURCES, KeyText, key_texts, keys_found, read, token_rows
from .study import Column, Figure, Findings, Line, Number, Place, Study, Table, Value

if TYPE_CHECKING:
    from ..bridge.lm import LM

NONE, IN_WINDOW = "none", "in-window"
RANDOMISED, DYNAMIC = "randomised", "dynamic-ntk"
LENGTHS = (1, 2, 4)  # trained lengths
MOST_TRAINED = 4096  # a trained length is counted as at most this
NEAREST = 1 / 16  # distance of neighbours in the randomised scheme
SCHEMES = {
    NONE: "dense",
    "linear": "giraffe(basis=linear, scale={scale})",
    "power": "giraffe(basis=power)",
    "truncated": "giraffe(basis=truncated)",
    RANDOMISED: "dense",
    "yarn": "yarn(factor={scale})",
    DYNAMIC: "dynamic-ntk",
}
Arm = tuple[str, bool]  # scheme, tuned
Measured = Mapping[str, Any]  # nll: of each token; found: of each length, text and answer


@dataclass(frozen=True, kw_only=True)
class Randomised(Objective):
    """Next tokens at positions whose distances are drawn between NEAREST and twice the scale, a draw a window."""

    name: ClassVar[str] = RANDOMISED

    scale: float = 4.0
    seed: int = 0

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        draw = torch.Generator().manual_seed(self.seed + int(batch.ids.sum()))
        positions = drawn_positions(batch.ids.shape[1], self.scale, draw).to(batch.ids.device)
        seen = torch.ones_like(batch.ids)  # without it distances other than 1 are taken for a new text each
        logits = model(input_ids=batch.ids, position_ids=positions, attention_mask=seen, use_cache=False).logits
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), batch.ids[:, 1:].flatten())


def drawn_positions(length: int, scale: float, draw: torch.Generator) -> Tensor:
    """[1, length] rising from 0 by distances between NEAREST and 2 * scale, equally likely."""
    gaps = NEAREST + (2 * scale - NEAREST) * torch.rand(length - 1, generator=draw)
    return torch.cat([torch.zeros(1), gaps.cumsum(0)])[None]


@dataclass(frozen=True, kw_only=True)
class GiraffeStudy(Study):
    """Perplexity and key-value accuracy of schemes at 1, 2 and 4 trained lengths."""

    name: ClassVar[str] = "giraffe"
    papers: ClassVar[tuple[str, ...]] = ("2308.10882",)
    models: ClassVar[tuple[int, int | None]] = (1, 1)

    schemes: tuple[str, ...] = knob(
        ("linear", "power", "truncated", "yarn"),
        help="beside none: linear, power, truncated, randomised, yarn, dynamic-ntk",
    )
    scale: float = knob(4.0, low=1, help="of linear, yarn and randomised")
    steps: int = knob(10, low=1, help="of tuning, a window of the trained length each")
    lr: float = knob(5e-4, low=0, help="of AdamW on all weights, with a rise and half a cosine")
    documents: int = knob(32, low=4, help="in the text whose perplexity is taken")
    facts: int = knob(4, low=1, high=40, help="planted in a text and asked for")
    texts: int = knob(2, low=1, help="with facts, of each length")

    def __post_init__(self) -> None:
        super().__post_init__()
        for scheme in self.schemes:
            if scheme not in SCHEMES:
                raise UserError(f"giraffe knows no scheme {scheme!r}{nearest(scheme, list(SCHEMES))}")

    def sources(self) -> tuple[str, ...]:
        methods = (f"methods/frequency/{m}.py" for m in ("giraffe", "yarn", "dynamic_ntk", "_ntk"))
        return (*super().sources(), *SOURCES, "training/tuning.py", "methods/_low_rank.py", *methods)

    def run(self, at: Place) -> Findings:
        (model,) = at.models
        lm = at.load(model)
        unit = min(lm.view.trained_length, MOST_TRAINED)
        length = LENGTHS[-1] * unit
        (stream,) = build(at.source, lm, length, 1, per_document=length // self.documents, seed=self.seed)
        asked = [key_texts(at.source, lm, n * unit, self.texts, self.facts, self.seed) for n in LENGTHS]
        base = {"model": at.content(model), "text": at.source.data_hash}
        schemes = [s for s in dict.fromkeys(self.schemes) if s != NONE]
        arms: list[Arm] = [
            (NONE, False),
            *((s, False) for s in schemes if s != RANDOMISED),
            *((s, True) for s in schemes),
        ]
        at.progress.plan({title(arm): title(arm) for arm in ((IN_WINDOW, False), *arms)})
        window = partial(self._in_window, lm, stream, unit)
        known = {IN_WINDOW: at.once(self, base | {"arm": IN_WINDOW}, window)}
        at.progress.update(IN_WINDOW, 1.0)
        for arm in arms:
            work = partial(self._arm, at, arm, stream, asked, unit)
            known[title(arm)] = at.once(self, base | {"arm": title(arm)}, work)
            at.progress.update(title(arm), 1.0)
        return self._findings(stream, asked, unit, known)

    def line(self, scheme: str) -> str:
        return SCHEMES[scheme].format(scale=self.scale)

    def _in_window(self, lm: LM, stream: TextStream, unit: int) -> dict[str, Any]:
        return {"nll": _listed(read(lm, "dense", stream.ids, unit, unit // 2))}

    def _arm(
        self, at: Place, arm: Arm, stream: TextStream, asked: Sequence[Sequence[KeyText]], unit: int
    ) -> dict[str, Any]:
        scheme, tuned = arm
        lm = at.load(at.models[0])
        if tuned:
            self._tune(lm, [d.text for d in at.source.fit_documents], scheme, unit)
        line = self.line(scheme)
        nll = read(lm, line, stream.ids, stream.length)
        return {"nll": _listed(nll), "found": [keys_found(lm, line, texts) for texts in asked]}

    def _tune(self, lm: LM, texts: Sequence[str], scheme: str, unit: int) -> None:
        """The whole model, in place, with the scheme in force. Raises TextError without a window of text."""
        sequences = [w[0].tolist() for w in windows(TextFitter(lm, texts), unit) if w.shape[1] == unit]
        if not sequences:
            raise TextError(f"the text to tune on has fewer than {unit} tokens, a window of the trained length")
        line = "dense" if scheme == DYNAMIC else self.line(scheme)
        with Session.open(lm, Recipe.parse(line)):
            tune(
                lm,
                sequences,
                steps=self.steps,
                batch_size=1,
                optimizer=AdamW(lr=self.lr),
                schedule=Cosine(warmup=0.1),
                objective=Randomised(scale=self.scale, seed=self.seed) if scheme == RANDOMISED else None,
                seed=self.seed,
            )

    def _findings(
        self, stream: TextStream, asked: Sequence[Sequence[KeyText]], unit: int, known: Mapping[str, Measured]
    ) -> Findings:
        nll = {arm: _by_length(stream, unit, m["nll"]) for arm, m in known.items()}
        hits = {arm: _answers(asked, m["found"]) for arm, m in known.items() if "found" in m}
        numbers: dict[str, Number] = {}
        for s in summarise(nll, IN_WINDOW, by="lengths", seed=self.seed):
            numbers[f"{s.recipe}: perplexity at {s.group}x"] = _number(s)
            if s.recipe != IN_WINDOW:
                numbers[f"{s.recipe}: perplexity at {s.group}x against in-window"] = _number(s, delta=True)
        for s in summarise(hits, NONE, by="lengths", seed=self.seed):
            numbers[f"{s.recipe}: key-value accuracy at {s.group}x"] = _number(s)
        notes = (
            f"Tuned {self.steps} steps of one window of {unit} tokens, AdamW at {self.lr:g}, on texts set aside for it.",
            f"1x, 2x and 4x: tokens {unit // 2} to {unit}, {unit} to {2 * unit} and {2 * unit} to {4 * unit} of one text "
            f"of {stream.length} tokens; keys are asked for in texts of {unit}, {2 * unit} and {4 * unit}.",
            "In-window is the untouched model on the same tokens, with half a trained length or more before each.",
        )
        rows = [
            {"arm": arm, "text": r.doc, "answer": r.item, **r.tags, "right": r.value}
            for arm, x in hits.items()
            for r in x
        ]
        return Findings((_table(known, numbers),), _figures(known, numbers), numbers, notes, rows)


def title(arm: Arm) -> str:
    return f"{arm[0]}, tuned" if arm[1] else arm[0]


def _listed(nll: Tensor) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in nll.tolist()]


def _by_length(stream: TextStream, unit: int, nll: Sequence[float | None]) -> list[Row]:
    """Rows of the tokens from half a trained length on, each with the length that it is beyond: half of `lengths`."""
    found = []
    for n, start in zip(LENGTHS, (unit // 2, unit, 2 * unit), strict=True):
        places = [p for p in range(start - 1, n * unit - 1) if nll[p] is not None]
        found += token_rows(stream, places, torch.tensor([x or 0.0 for x in nll]), {"lengths": n})
    return found


def _answers(asked: Sequence[Sequence[KeyText]], found: Sequence[Sequence[Sequence[bool]]]) -> list[Row]:
    """A row an answer, in its text's document."""
    rows = []
    for n, texts, told in zip(LENGTHS, asked, found, strict=True):
        for k, (text, answers) in enumerate(zip(texts, told, strict=True)):
            for i, right in enumerate(answers):
                rows.append(Row(f"{n}-{k}-{i}", text.doc, "recall", float(right), 1.0, {"lengths": n}))
    return rows


def _number(s: Summary, delta: bool = False) -> Number:
    metric = metric_of(s)
    e = metric.delta if delta else metric.estimate
    assert e is not None
    return Number(e.value, e.unit, e.low, e.high, e.num_documents, e.note)


def _table(known: Mapping[str, Measured], numbers: Mapping[str, Number]) -> Table:
    rows: list[tuple[Value, ...]] = []
    for arm, measured in known.items():
        cells: list[Value] = [numbers[f"{arm}: perplexity at {n}x"].value for n in LENGTHS]
        change = numbers.get(f"{arm}: perplexity at {LENGTHS[-1]}x against in-window")
        cells.append(None if change is None else change.value)
        cells += [numbers[f"{arm}: key-value accuracy at {n}x"].value if "found" in measured else None for n in LENGTHS]
        rows.append((arm, *cells))
    columns = (
        Column("scheme"),
        *(Column(f"perplexity {n}x", format=".2f") for n in LENGTHS),
        Column(f"against in-window {LENGTHS[-1]}x", "%", "+.1f"),
        *(Column(f"keys {n}x", "%", ".0f", "answers whose every token is the most likely one") for n in LENGTHS),
    )
    return Table("Schemes by length", columns, tuple(rows))


def _figures(known: Mapping[str, Measured], numbers: Mapping[str, Number]) -> tuple[Figure, ...]:
    x = tuple(map(float, LENGTHS))
    made = []
    for what in ("perplexity", "key-value accuracy"):
        lines = [
            Line(arm, x, tuple(numbers[f"{arm}: {what} at {n}x"].value for n in LENGTHS))
            for arm in known
            if f"{arm}: {what} at 1x" in numbers
        ]
        made.append(
            Figure(f"{what} by length", "trained lengths", what, tuple(lines), log_x=True, log_y=what == "perplexity")
        )
    return tuple(made)
