"""Fractal parameters of text seen through a model's bits: Hurst, self-similarity and Joseph exponents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..cards.scoring import read
from ..contracts import knob
from ..errors import TextError
from ..evaluation.metrics.fractal import (
    Array,
    Growth,
    fractional_noise,
    hurst,
    joseph,
    self_similarity,
    standardised,
)
from ..evaluation.streams import encode, separator, tokenizer_of
from .study import Column, Figure, Findings, Line, Number, Place, Study, Table, Value

if TYPE_CHECKING:
    from ..bridge.lm import LM
    from ..evaluation.source import Document

TEXT, TOKENS, BITS = "text", "tokens shuffled", "bits shuffled"
KNOWN = (0.5, 0.6, 0.7, 0.8)
NUM_SCALES = 10


@dataclass(frozen=True, kw_only=True)
class FractalLm(Study):
    """Fractal Patterns May Unravel the Intelligence in Next-Token Prediction (2402.01825).

    x: a token's bits, with zero mean and variance one in each document; X: their running sum. H, S and J as in
    section 2, intervals from documents drawn with replacement. Two controls: the tokens of each document in random
    order, read by the model anew, and the bits of the text in random order.

    Where we leave the paper: R/S of short windows grows faster than its law, so that H is the slope above that of
    white noise of the same lengths (Anis and Lloyd), and stands beside the plain slope; what the estimator makes of
    noise of known H is printed. A token has between half and the whole of the trained length before it, and what
    has less is not used.
    """

    papers: ClassVar[tuple[str, ...]] = ("2402.01825",)

    length: int = knob(2048, low=128, help="tokens a document must have beyond the first half of the trained length")
    shortest: int = knob(32, low=8, help="smallest scale in tokens; the largest is a quarter of the length")
    epsilon: float = knob(0.05, low=1e-6, help="how near X must come to where it was, for S")
    documents: int = knob(100, low=1, help="documents at most, drawn by seed")

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), "evaluation/metrics/fractal.py", "cards/scoring.py", "evaluation/streams.py")

    def run(self, at: Place) -> Findings:
        if self.length < 4 * self.shortest * 2:
            raise TextError(f"fractal-lm: a length of {self.length} has no two scales from {self.shortest} tokens on")
        parts: list[Findings] = []
        for number, model in enumerate(at.models):
            at.progress.plan({f"{number} {kind}": f"bits of {model}, {kind}" for kind in (TEXT, TOKENS)})
            series = self._series(at, model, number)
            parts.append(self._found(model, series, f"{model}: " if len(at.models) > 1 else ""))
        tables = tuple(t for part in parts for t in part.tables)
        return Findings(
            (*tables, self._known([len(x) for x in series[BITS]])),
            tuple(f for part in parts for f in part.figures),
            {name: n for part in parts for name, n in part.numbers.items()},
            self._notes(at),
            [row for part in parts for row in part.rows],
        )

    # --- bits ---

    def _series(self, at: Place, model: str, number: int) -> dict[str, list[Array]]:
        """Bits of each document's tokens, by kind."""
        lm: LM | None = None
        found: dict[str, list[Array]] = {}
        for kind in (TEXT, TOKENS):

            def work(kind: str = kind) -> list[list[float]]:
                nonlocal lm
                lm = lm or at.load(model)
                tell = lambda share: at.progress.update(f"{number} {kind}", share)  # noqa: E731
                return [x.round(4).tolist() for x in self._bits(lm, at, kind == TOKENS, tell)]

            unit = {"model": at.content(model), "text": at.source.data_hash, "kind": kind}
            found[kind] = [np.array(x) for x in at.once(self, unit, work)]
            at.progress.finish(f"{number} {kind}")
        dice = np.random.default_rng(self.seed)
        return found | {BITS: [dice.permutation(x) for x in found[TEXT]]}

    def _bits(self, lm: LM, at: Place, shuffled: bool, tell: Any) -> list[Array]:
        tokenizer, half = tokenizer_of(lm), lm.view.trained_length // 2
        dice = np.random.default_rng(self.seed)
        chosen = self._chosen(at.source.eval_documents, tokenizer, half)
        if shuffled:
            chosen = [dice.permutation(ids).tolist() for ids in chosen]
        first = separator(tokenizer, first=True)
        given = half - len(first)  # tokens of the text before the first that counts in a window
        windows = [
            [[*first, *ids[start : start + given + half]] for start in range(0, len(ids) - given, half)]
            for ids in chosen
        ]
        readings = iter(read(lm, [w for own in windows for w in own], tell))
        return [np.concatenate([next(readings).nll[half - 1 :] for _ in own]) / np.log(2) for own in windows]

    def _chosen(self, documents: Sequence[Document], tokenizer: Any, half: int) -> list[list[int]]:
        order = np.random.default_rng(self.seed).permutation(len(documents))
        tokens = [encode(tokenizer, documents[i].text)[0] for i in order]
        long = [ids for ids in tokens if len(ids) >= self.length + half]
        if not long:
            raise TextError(
                f"no document has the {self.length + half:,} tokens that fractal-lm(length={self.length}) reads; the "
                f"longest has {max(map(len, tokens)):,}: give longer documents (--text) or a smaller length"
            )
        return long[: self.documents]

    # --- exponents ---

    @property
    def _scales(self) -> list[int]:
        return sorted({round(x) for x in np.geomspace(self.shortest, self.length // 4, NUM_SCALES)})

    def _growths(self, series: Sequence[Array]) -> dict[str, Growth]:
        x = [standardised(s) for s in series]
        return {
            "H": hurst(x, self._scales),
            "H, plain slope": hurst(x, self._scales, corrected=False),
            "S": self_similarity(x, self._scales, self.epsilon),
            "J": joseph(x, self._scales),
        }

    def _found(self, model: str, series: dict[str, list[Array]], prefix: str) -> Findings:
        growths = {kind: self._growths(xs) for kind, xs in series.items()}
        numbers = {
            f"{prefix}{name} of {kind}": _number(growth, self.seed)
            for kind, of in growths.items()
            for name, growth in of.items()
        }
        names = [Column(name, format=".3f") for name in growths[TEXT]]
        columns = (
            *(Column("series"), Column("bits", "a token", ".2f"), Column("documents"), Column("tokens")),
            *(c for name in names for c in (name, Column("95%"))),
        )
        rows = tuple(
            (
                *(kind, float(np.concatenate(xs).mean()), len(xs), sum(map(len, xs))),
                *(v for name in growths[kind] for v in _shown(numbers[f"{prefix}{name} of {kind}"])),
            )
            for kind, xs in series.items()
        )
        lines = tuple(_line(kind, of["H"]) for kind, of in growths.items())
        figure = Figure(f"{model}: rescaled range over that of white noise", "tokens", "R/S ratio", lines, True, True)
        records = [
            {"model": model, "series": kind, "document": i, "tokens": len(x), "H": _finite(growths[kind]["H"].of([i]))}
            for kind, xs in series.items()
            for i, x in enumerate(xs)
        ]
        return Findings((Table(f"{model}: exponents", columns, rows),), (figure,), numbers, (), records)

    def _known(self, lengths: Sequence[int]) -> Table:
        """What the estimators make of noise of known H, in series as long as the text's."""
        rows: list[tuple[Value, ...]] = []
        for h in KNOWN:
            dice = np.random.default_rng(self.seed)
            found = self._growths([fractional_noise(h, n, dice) for n in lengths])
            rows.append((f"{h}", *(growth.exponent() for growth in found.values())))
        names = ("H", "H, plain slope", "S", "J")
        columns = (Column("noise of H"), *(Column(name, format=".3f") for name in names))
        return Table("The same estimators on fractional Gaussian noise of the same lengths", columns, tuple(rows))

    def _notes(self, at: Place) -> tuple[str, ...]:
        scales = self._scales
        return (
            f"Scales of {scales[0]} to {scales[-1]} tokens; intervals: documents drawn with replacement.",
            "H is the slope above that of white noise of the same lengths plus 0.5; the last table says what is left "
            "of its error.",
            *at.source.notes,
        )


def _number(growth: Growth, seed: int) -> Number:
    """An exponent with its interval."""
    low, high = growth.interval(seed)
    return Number(growth.exponent(), "", low, high, len(growth.sums))


def _shown(number: Number) -> tuple[float, str]:
    span = "–" if number.low is None or number.high is None else f"{number.low:.3f} to {number.high:.3f}"
    return number.value, span


def _line(kind: str, growth: Growth) -> Line:
    assert growth.expected is not None
    return Line(kind, tuple(growth.scales.tolist()), tuple((growth.means() / growth.expected).tolist()))


def _finite(growth: Growth) -> float | None:
    value = growth.exponent()
    return value if np.isfinite(value) else None
