"""What tuning a small model for one domain costs it in the others.

Jha and Paudel 2025: models tuned for a domain gain there and lose elsewhere, told by three indices. Here the model is
tuned on the text of one domain at a time and read on held-out texts of all. The indices: DSI (domain specialization)
is how many times the ratio of perplexity elsewhere to that in the target has grown by tuning; GG (generalization gap)
is that ratio after tuning, as nats a token; CDTR (cross-domain transfer) is the share of the untouched model's
likelihood a token that the tuned one keeps elsewhere, below 1 for a loss. The paper's own formulas are for task scores. Its routed edge
architecture is not built: "routed" is a stand-in that reads the beginning of each text with every model and goes on
with the best.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..cards.scoring import read
from ..cards.text import cut
from ..contracts import knob
from ..errors import TextError
from ..evaluation import statistics as st
from ..evaluation.source import Document, TextSource
from ..evaluation.streams import encode, separator, tokenizer_of
from ..training.optimizers.adamw import AdamW
from ..training.schedules.cosine import Cosine
from ..training.tuning import tune
from .study import Column, Figure, Findings, Line, Number, Place, Study, Table, Value

UNTOUCHED, ROUTED = "untouched", "routed"
Scores = Mapping[str, Sequence[Mapping[str, float]]]  # model -> of each document: head, nll, tokens


@dataclass(frozen=True, kw_only=True)
class FragileMastery(Study):
    papers: ClassVar[tuple[str, ...]] = ("2503.22698",)
    models: ClassVar[tuple[int, int | None]] = (1, 1)

    domains: int = knob(3, low=2, help="tuned for, one at a time: those with the most held-out documents")
    steps: int = knob(40, low=1, help="of tuning, for each domain")
    batch_size: int = knob(4, low=1)
    length: int = knob(256, low=16, help="tokens of a sequence, in tuning and in reading")
    lr: float = knob(0.0002, low=0, help="of AdamW, with a rise and half a cosine")
    characters: int = knob(12_000, low=1000, help="of each held-out document that are read")

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), "training/tuning.py", "cards/scoring.py", "cards/text.py")

    def run(self, at: Place) -> Findings:
        (model,) = at.models
        targets = chosen(at.source, self.domains)
        documents = at.source.eval_documents
        base = {"model": at.content(model), "text": at.source.data_hash}
        found: dict[str, list[dict[str, float]]] = {}
        for number, target in enumerate((UNTOUCHED, *targets)):
            at.progress.note(f"{number + 1} of {len(targets) + 1}: {target}")
            work = partial(self._specialist, at, model, target, documents)
            found[target] = at.once(self, base | {"target": target}, work)
        return self._findings(documents, targets, routed(found))

    def _specialist(self, at: Place, model: str, target: str, documents: Sequence[Document]) -> list[dict[str, float]]:
        """The model tuned for one domain, read on every held-out document."""
        lm = at.load(model)
        tokenizer = tokenizer_of(lm)
        if target != UNTOUCHED:
            text = [d for d in at.source.fit_documents if d.domain == target]
            sequences = self._sequences(tokenizer, text)
            tune(
                lm,
                sequences,
                steps=self.steps,
                batch_size=self.batch_size,
                optimizer=AdamW(lr=self.lr),
                schedule=Cosine(warmup=0.1),
                seed=self.seed,
            )
        found = []
        for document in documents:
            windows = cut(tokenizer, document, self.length, self.characters).sequences
            nll = [r.nll for r in read(lm, windows)]
            rest = np.concatenate(nll[1:]) if len(nll) > 1 else nll[0]
            found.append({"head": float(nll[0].mean()), "nll": float(rest.mean()), "tokens": float(len(rest))})
        return found

    def _sequences(self, tokenizer: Any, text: Sequence[Document]) -> list[list[int]]:
        """Every stretch of `length` tokens, half overlapping. Raises TextError where there is not one."""
        first = separator(tokenizer, first=True)
        ids = [i for d in text for i in (*first, *encode(tokenizer, d.text)[0])]
        found = [ids[a : a + self.length] for a in range(0, len(ids) - self.length + 1, self.length // 2)]
        if not found:
            raise TextError(f"{text[0].domain} has {len(ids)} tokens to tune on, less than a sequence of {self.length}")
        return found

    def _findings(self, documents: Sequence[Document], targets: Sequence[str], found: Scores) -> Findings:
        rows: list[tuple[Value, ...]] = []
        numbers: dict[str, Number] = {}
        for target in targets:
            inside = [i for i, d in enumerate(documents) if d.domain == target]
            outside = [i for i, d in enumerate(documents) if d.domain != target]
            gain = self._difference(documents, found, UNTOUCHED, target, inside)
            loss = self._difference(documents, found, target, UNTOUCHED, outside)
            gap = mean_nll(found[target], outside) - mean_nll(found[target], inside)
            grown, kept = math.exp(gain.value + loss.value), math.exp(-loss.value)
            numbers[f"{target}: gain in the target"] = gain
            numbers[f"{target}: loss elsewhere"] = loss
            numbers[f"{target}: DSI"] = Number(grown, "x")
            numbers[f"{target}: GG"] = Number(gap, "nats/token")
            numbers[f"{target}: CDTR"] = Number(kept, "share")
            rows.append((target, _percent(-gain.value), _percent(loss.value), grown, gap, kept, len(inside)))
        everything = range(len(documents))
        numbers["routed: gain everywhere"] = self._difference(documents, found, UNTOUCHED, ROUTED, everything)
        for what, name in (
            ("gain in the target", "smallest gain in a target"),
            ("loss elsewhere", "smallest loss elsewhere"),
        ):
            numbers[name] = min((numbers[f"{t}: {what}"] for t in targets), key=lambda n: n.value)
        return Findings(
            tables=(Table("Specialists", _COLUMNS, tuple(rows)), _perplexities(documents, targets, found)),
            figures=(_figure(documents, found),),
            numbers=numbers,
            notes=(
                f"Tuned {self.steps} steps of {self.batch_size} sequences of {self.length} tokens, AdamW at {self.lr:g}, "
                "on the texts of a domain that are set aside for fitting; read on held-out documents.",
                "Differences are paired by document; the beginning of a document, which the router reads, is not scored.",
            ),
            rows=[
                {"model": name, "doc": d.id, "domain": d.domain, **scores}
                for name, each in found.items()
                for d, scores in zip(documents, each, strict=True)
            ],
        )

    def _difference(
        self, documents: Sequence[Document], found: Scores, one: str, other: str, places: Sequence[int]
    ) -> Number:
        """Nats a token of `one` minus those of `other`, weighted by tokens and clustered by work."""
        values = [found[one][i]["nll"] - found[other][i]["nll"] for i in places]
        weights = [found[one][i]["tokens"] for i in places]
        clusters = st.clustered(values, weights, [documents[i].work for i in places])
        low, high = st.interval(clusters, self.seed)
        few = "" if clusters.count >= st.FEW_CLUSTERS else "too few documents for a sure interval"
        return Number(clusters.mean, "nats/token", low, high, clusters.count, few)


_COLUMNS = (
    Column("tuned for"),
    Column("perplexity in it", "%", "+.1f", "change from the untouched model"),
    Column("perplexity elsewhere", "%", "+.1f"),
    Column("DSI", "x", ".3f", "growth of perplexity elsewhere over that in the target"),
    Column("GG", "nats", "+.3f", "perplexity elsewhere over that in the target, after tuning"),
    Column("CDTR", "", ".3f", "share of the likelihood a token kept elsewhere"),
    Column("documents in it"),
)


def chosen(source: TextSource, count: int) -> list[str]:
    """Domains with text to tune on, those with the most held-out documents first. Raises TextError."""
    tunable = {d.domain for d in source.fit_documents if d.domain}
    held = Counter(d.domain for d in source.eval_documents if d.domain in tunable)
    if len(held) < count:
        raise TextError(
            f"{source.name} has {len(held)} domains with text for tuning and for judging; {count} are needed: "
            "give JSON lines with a field domain, some of them with split fit"
        )
    return [domain for domain, _ in held.most_common(count)]


def routed(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, list[Mapping[str, float]]]:
    """With one more model: for each document, the one that finds its beginning most likely."""
    by_document = zip(*found.values(), strict=True)
    best = [min(each, key=lambda scores: scores["head"]) for each in by_document]
    return {**{name: list(each) for name, each in found.items()}, ROUTED: best}


def mean_nll(scores: Sequence[Mapping[str, float]], places: Sequence[int]) -> float:
    """Nats a token over documents."""
    total = sum(scores[i]["nll"] * scores[i]["tokens"] for i in places)
    return total / sum(scores[i]["tokens"] for i in places)


def _percent(nats: float) -> float:
    """Change of perplexity."""
    return 100 * math.expm1(nats)


def _by_domain(documents: Sequence[Document]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, d in enumerate(documents):
        found.setdefault(d.domain or "other", []).append(place)
    return found


def _perplexities(documents: Sequence[Document], targets: Sequence[str], found: Scores) -> Table:
    domains = _by_domain(documents)
    columns = (Column("model"), *(Column(domain, "", ".1f") for domain in domains))
    rows: list[tuple[Value, ...]] = [
        (name, *(math.exp(mean_nll(scores, places)) for places in domains.values())) for name, scores in found.items()
    ]
    return Table("Perplexity by domain", columns, tuple(rows))


def _figure(documents: Sequence[Document], found: Scores) -> Figure:
    domains = _by_domain(documents)
    base = found[UNTOUCHED]
    lines = [
        Line(
            name,
            tuple(float(i) for i in range(len(domains))),
            tuple(_percent(mean_nll(scores, p) - mean_nll(base, p)) for p in domains.values()),
            points=True,
        )
        for name, scores in found.items()
        if name != UNTOUCHED
    ]
    named = ", ".join(f"{i} {domain}" for i, domain in enumerate(domains))
    return Figure("Change of perplexity by domain", f"domain: {named}", "%", tuple(lines))
