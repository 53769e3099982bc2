"""A text as the vector of its n-grams' relative perplexities: does a typo stand out, where a mean hides it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..cards.judged import share
from ..cards.scoring import read
from ..contracts import knob
from ..errors import TextError
from ..evaluation import statistics as st
from ..evaluation.metrics.ngram_perplexity import Array, ngram_perplexities, relative_perplexities
from ..evaluation.streams import encode, separator, tokenizer_of
from ._typos import Typo, known_words, planted, sentences
from .study import Column, Figure, Findings, Line, Number, Place, Study, Table

if TYPE_CHECKING:
    from ..bridge.lm import LM

SIZES = (1, 2, 3, 4, 5)
ALIKE = 0.02  # relative difference of perplexities that are called equal
PROFILE = np.linspace(0, 1, 11)
_CHARACTERS = 8  # of text before a sentence for each token wanted of it
Fact = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NgramPplVector(Study):
    """Text vectorization via transformer-based language models and n-gram perplexities (2307.09255).

    A token's value is the mean perplexity of the n-grams it stands in, over the mean of all tokens' values. One typo
    is planted in each sentence; a hit is a vector whose peak is a token of the misspelt word. Then each sentence with
    a typo is set beside an untouched one of the same perplexity: a scalar cannot tell them apart.

    Where we leave the paper: n-grams are read where they stand, after the text before them, for a model without it
    finds the beginning of every sentence odd. n and context were chosen on the part of the embedded text kept for
    fitting; the sentences are of the other part.
    """

    papers: ClassVar[tuple[str, ...]] = ("2307.09255",)

    sentences: int = knob(200, low=2, help="with a typo each, drawn by seed")
    n: int = knob(2, low=1, high=16, help="tokens of an n-gram")
    context: int = knob(128, low=0, help="tokens of text before a sentence; 0: its first token is given instead")

    def sources(self) -> tuple[str, ...]:
        metrics = "evaluation/metrics/ngram_perplexity.py"
        return (*super().sources(), "studies/_typos.py", "cards/scoring.py", "evaluation/streams.py", metrics)

    def run(self, at: Place) -> Findings:
        typos = self._typos(at)
        parts = []
        for number, model in enumerate(at.models):
            at.progress.plan({str(number): f"perplexities of {model}"})
            unit = {"model": at.content(model), "text": at.source.data_hash}
            facts = at.once(self, unit, partial(self._facts, at, model, typos, str(number)))
            at.progress.finish(str(number))
            parts.append(self._found(model, facts, f"{model}: " if len(at.models) > 1 else ""))
        return Findings(
            tuple(t for p in parts for t in p.tables),
            tuple(f for p in parts for f in p.figures),
            {name: n for p in parts for name, n in p.numbers.items()},
            tuple(dict.fromkeys(n for p in parts for n in p.notes)),
            [row for p in parts for row in p.rows],
        )

    def _typos(self, at: Place) -> list[Typo]:
        found = sentences(at.source.eval_documents, self.context * _CHARACTERS)
        dice = np.random.default_rng(self.seed)
        order = [found[i] for i in dice.permutation(len(found))]
        typos = list(planted(order, known_words(at.source.documents), dice))[: self.sentences]
        if len(typos) < self.sentences:
            raise TextError(
                f"{at.source.name} has {len(typos)} English sentences of 8 to 30 words for a typo, fewer than "
                f"{self.sentences}: give more text (--text), or a smaller ngram-ppl-vector(sentences=)"
            )
        return typos

    def _facts(self, at: Place, model: str, typos: Sequence[Typo], cell: str) -> list[Fact]:
        """Of each sentence without and with its typo: nats and text of each token that is scored."""
        lm = at.load(model)
        texts = [(t.sentence.before, text) for t in typos for text in (t.sentence.text, t.text)]
        found = iter(self._read(lm, texts, lambda done: at.progress.update(cell, done)))
        return [
            {"document": t.sentence.document, "text": t.text, "start": t.start, "end": t.end}
            | {"plain": next(found), "wrong": next(found)}
            for t in typos
        ]

    def _read(self, lm: LM, texts: Sequence[tuple[str, str]], tell: Any) -> list[Fact]:
        tokenizer = tokenizer_of(lm)
        first = separator(tokenizer, first=True)
        sequences, kept = [], []
        for before, text in texts:
            given = encode(tokenizer, before)[0][-self.context :] if self.context and before else []
            ids, pieces = encode(tokenizer, f" {text}" if given else text)
            skipped = 0 if given else 1
            sequences.append([*first, *given, *ids])
            kept.append(pieces[skipped:])
        readings = read(lm, sequences, tell)
        return [
            {"pieces": pieces, "nll": r.nll[-len(pieces) :].round(5).tolist()}
            for r, pieces in zip(readings, kept, strict=True)
        ]

    # --- findings ---

    def _found(self, model: str, facts: Sequence[Fact], prefix: str) -> Findings:
        hits = {n: [peak_at_typo(f, n) for f in facts] for n in (*SIZES, self.n)}
        at_n = share(sum(hits[self.n]), len(facts))
        pairs = equal_pairs(facts, self.n)
        numbers = {
            prefix + "peaks at the typo": Number(
                *(100 * at_n["value"], "%", 100 * at_n["low"], 100 * at_n["high"], len(facts), f"n-grams of {self.n}")
            ),
            **{prefix + name: number for name, number in _pair_numbers(pairs, self.seed).items()},
        }
        rows = [
            {"model": model, **{k: f[k] for k in ("document", "text", "start", "end")}, "tokens": f["wrong"]["pieces"]}
            | {"vector": vector(f["wrong"], self.n).round(4).tolist(), "hit": hit}
            for f, hit in zip(facts, hits[self.n], strict=True)
        ]
        note = f"Pairs differ in perplexity by at most {ALIKE:.0%}; {len(pairs)} of {len(facts)} sentences found a partner."
        tables = (_hit_table(model, facts, hits), _pair_table(model, pairs))
        return Findings(tables, (_example(model, facts, self.n),), numbers, (note,), rows)


def vector(fact: Fact, n: int) -> Array:
    """One value a token."""
    nll = np.array(fact["nll"])
    return relative_perplexities(ngram_perplexities(nll, n), len(nll))


def perplexity(fact: Fact) -> float:
    return float(np.exp(np.mean(fact["nll"])))


def _typo_tokens(fact: Fact) -> list[bool]:
    """Which tokens of the misspelt sentence touch the misspelt word."""
    pieces = fact["wrong"]["pieces"]
    begin = len(fact["text"]) - sum(map(len, pieces))  # a token that is given, or the space before
    ends = np.cumsum([len(p) for p in pieces]) + begin
    return [bool(e - len(p) < fact["end"] and e > fact["start"]) for p, e in zip(pieces, ends, strict=True)]


def peak_at_typo(fact: Fact, n: int) -> bool:
    """Whether the first of the highest values is a token of the misspelt word."""
    return _typo_tokens(fact)[int(np.argmax(vector(fact["wrong"], n)))]


@dataclass(frozen=True)
class Pair:
    """A sentence with a typo beside an untouched one; and that one beside another untouched one, all of like
    perplexity. distance: mean difference of the vectors' deciles."""

    perplexities: tuple[float, float]
    peaks: tuple[float, float]
    distance: float
    distance_untouched: float


def equal_pairs(facts: Sequence[Fact], n: int) -> list[Pair]:
    """Of each sentence with a typo that has a partner among the other sentences without one."""
    plain = [(perplexity(f["plain"]), vector(f["plain"], n)) for f in facts]
    found = []
    for i, fact in enumerate(facts):
        own = perplexity(fact["wrong"])
        near = sorted((abs(np.log(p / own)), j) for j, (p, _) in enumerate(plain) if j != i)[:2]
        if len(near) == 2 and near[1][0] <= ALIKE:
            wrong, (p, one), (_, other) = vector(fact["wrong"], n), plain[near[0][1]], plain[near[1][1]]
            peaks = (float(wrong.max()), float(one.max()))
            found.append(Pair((own, p), peaks, _apart(wrong, one), _apart(one, other)))
    return found


def _apart(a: Array, b: Array) -> float:
    return float(np.abs(np.quantile(a, PROFILE) - np.quantile(b, PROFILE)).mean())


def _pair_numbers(pairs: Sequence[Pair], seed: int) -> dict[str, Number]:
    if not pairs:
        return {}

    def mean(values: Sequence[float], unit: str = "") -> Number:
        clusters = st.clustered(values, [1.0] * len(values), [str(i) for i in range(len(values))])
        return Number(clusters.mean, unit, *st.interval(clusters, seed), len(values))

    higher = share(sum(p.peaks[0] > p.peaks[1] for p in pairs), len(pairs))
    return {
        "ratio of the pairs' perplexities": mean([p.perplexities[0] / p.perplexities[1] for p in pairs]),
        "peak with a typo above peak without": Number(
            *(100 * higher["value"], "%", 100 * higher["low"], 100 * higher["high"], len(pairs))
        ),
        "distance of vectors in a pair": mean([p.distance for p in pairs]),
        "distance beyond that of two untouched ones": mean([p.distance - p.distance_untouched for p in pairs]),
        "distance of two untouched ones": mean([p.distance_untouched for p in pairs]),
    }


def _hit_table(model: str, facts: Sequence[Fact], hits: dict[int, list[bool]]) -> Table:
    chance = 100 * float(np.mean([np.mean(_typo_tokens(f)) for f in facts]))
    rows = []
    for n in sorted(hits):
        found = share(sum(hits[n]), len(facts))
        rows.append((str(n), *(100 * found[k] for k in ("value", "low", "high")), chance))
    columns = (Column("n"), *(Column(c, "%", ".1f") for c in ("peak at the typo", "low", "high", "by chance")))
    return Table(f"{model}: {len(facts)} sentences with one typo", columns, tuple(rows))


def _pair_table(model: str, pairs: Sequence[Pair]) -> Table:
    columns = (Column("text"), Column("perplexity", format=".1f"), Column("peak of the vector", "x", ".2f"))
    sides = [("one typo", 0), ("no typo, as hard all over", 1)] if pairs else []
    rows = tuple(
        (name, float(np.mean([p.perplexities[i] for p in pairs])), float(np.mean([p.peaks[i] for p in pairs])))
        for name, i in sides
    )
    return Table(f"{model}: {len(pairs)} pairs of equal perplexity, means", columns, rows)


def _example(model: str, facts: Sequence[Fact], n: int) -> Figure:
    fact = facts[0]
    lines = []
    for name, key in (("as it was", "plain"), ("with the typo", "wrong")):
        values = vector(fact[key], n)
        lines.append(Line(name, tuple(float(i) for i in range(len(values))), tuple(values.tolist())))
    return Figure(f"{model}: “{fact['text']}”", "token", "perplexity over the text's", tuple(lines))
