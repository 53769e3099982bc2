"""Shortenings of long texts before they are classified: what survives a cut to few tokens?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..bench.records.keys import file_hash
from ..contracts import knob
from ..errors import TextError
from ..evaluation import statistics as st
from ..evaluation.streams import encode, separator, tokenizer_of
from ._probe import predicted
from ._shortenings import FIRST, WAYS, rare_words, shortened
from .study import Column, Findings, Number, Place, Study, Table, Value

if TYPE_CHECKING:
    from ..bridge.lm import LM

LENGTHS = (128, 256, 512)
Right = dict[str, dict[str, list[bool]]]  # way -> tokens -> of each text


@dataclass(frozen=True)
class Labelled:
    """One long text: short ones of one class, a blank between."""

    text: str
    label: int


@dataclass(frozen=True, kw_only=True)
class TextShorteningHacks(Study):
    """Simple Hack for Transformers against Heavy Long-Text Classification on a Time- and Memory-Limited GPU Service
    (2403.12563).

    Texts lose their stopwords, punctuation, rare words or repetitions, and are then cut to 128, 256 and 512 tokens. A
    logistic regression on the mean of the model's last hidden states names the class; each text is judged by a fit on
    other folds, its penalty found inside of them. The set is a folder with test.jsonl, and train.jsonl where there is
    one, whose lines have text and label.

    Where we leave the paper: it tunes a whole encoder on Indonesian news; here the model stays as it is, and its
    search for learning rate and batch size is one for the penalty. Where texts are short, `join` of one class are put
    together, none of them twice, so that there is something to cut.
    """

    papers: ClassVar[tuple[str, ...]] = ("2403.12563",)
    models: ClassVar[tuple[int, int | None]] = (1, 1)

    path: str = knob("", help="folder of the set: test.jsonl, train.jsonl")
    join: int = knob(24, low=1, help="texts of a class that are put together; 1: they are long enough")
    texts: int = knob(200, low=20, help="long texts at most")
    rare: int = knob(2, low=1, help="a word is rare that the set holds fewer times")

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), "studies/_probe.py", "studies/_shortenings.py", "evaluation/streams.py")

    def run(self, at: Place) -> Findings:
        texts = self._joined()
        at.progress.plan({way: way for way in WAYS})
        unit = {"model": at.content(at.models[0]), "set": [file_hash(file) for file in self._files()]}
        right: Right = at.once(self, unit, partial(self._judge, at, texts))
        return self._findings(right)

    def _files(self) -> list[Path]:
        """Raises TextError where there is no set."""
        if not self.path:
            raise TextError(
                "text-shortening-hacks needs a set: text-shortening-hacks(path=FOLDER), a folder with test.jsonl whose "
                "lines have text and label"
            )
        files = [file for name in ("train.jsonl", "test.jsonl") if (file := Path(self.path) / name).is_file()]
        if not files:
            raise TextError(f"{self.path} has no test.jsonl; give the folder that holds the set")
        return files

    def _joined(self) -> list[Labelled]:
        """Long texts in seeded order, as many of each class."""
        by_class: dict[str, list[str]] = {}
        for file in self._files():
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
                text, label = _fields(line, f"{file}, line {number}")
                by_class.setdefault(label, []).append(text)
        dice, found = np.random.default_rng(self.seed), []
        most = self.texts // len(by_class)
        for number, label in enumerate(sorted(by_class)):
            own = [by_class[label][i] for i in dice.permutation(len(by_class[label]))]
            ends = range(self.join, len(own) + 1, self.join)
            found += [Labelled(" ".join(own[end - self.join : end]), number) for end in ends][:most]
        if len({one.label for one in found}) < 2 or len(found) < 20:
            raise TextError(
                f"{self.path} makes {len(found)} texts of {self.join} each in {len(by_class)} classes; 20 texts in two "
                "classes are needed: lower join, or take another set"
            )
        return [found[i] for i in dice.permutation(len(found))]

    def _judge(self, at: Place, texts: Sequence[Labelled]) -> Right:
        """Whether each text got its class."""
        lm, labels = at.load(at.models[0]), [one.label for one in texts]
        rare, found = rare_words((one.text for one in texts), self.rare), {}
        for way in WAYS:
            tell = partial(at.progress.update, way)
            means = _means(lm, [shortened(one.text, way, rare) for one in texts], tell)
            answers = {size: predicted(x, labels, self.seed) for size, x in means.items()}
            found[way] = {str(n): [a == b for a, b in zip(own, labels, strict=True)] for n, own in answers.items()}
            at.progress.finish(way)
        return found

    def _findings(self, right: Right) -> Findings:
        numbers = {f"{way} at {n}": _share(hits) for way, own in right.items() for n, hits in own.items()}
        rivals = [way for way in WAYS if way != FIRST]
        best = max(rivals, key=lambda way: sum(right[way]["256"]))
        for way, name in ((best, "best way"), ("no stopwords", "no stopwords")):
            for size in ("128", "256"):
                numbers[f"{name} at {size} against first 512"] = self._change(right[way][size], right[FIRST]["512"])
        rows: tuple[tuple[Value, ...], ...] = tuple(
            (way, *(numbers[f"{way} at {n}"].value for n in LENGTHS)) for way in WAYS
        )
        columns = (Column("way"), *(Column(f"{n} tokens", "%", ".1f") for n in LENGTHS))
        count = len(right[FIRST]["512"])
        low = [numbers[f"{FIRST} at {n}"] for n in LENGTHS]
        spread = ", ".join(f"{x.low:.0f} to {x.high:.0f}% at {n}" for x, n in zip(low, LENGTHS, strict=True))
        notes = (
            f"Best at 256 tokens: {best}. It is the best of {len(rivals)} on these same texts, which flatters it.",
            f"95% intervals of the first tokens: {spread}.",
        )
        lines = [{"way": way, "tokens": int(n), "right": hits} for way, own in right.items() for n, hits in own.items()]
        return Findings((Table(f"right classes of {count} texts", columns, rows),), (), numbers, notes, lines)

    def _change(self, own: Sequence[bool], base: Sequence[bool]) -> Number:
        """Points; paired by text."""
        apart = [100.0 * (a - b) for a, b in zip(own, base, strict=True)]
        clusters = st.clustered(apart, [1.0] * len(apart), [str(i) for i in range(len(apart))])
        return Number(clusters.mean, "points", *st.interval(clusters, self.seed), len(apart))


def _share(hits: Sequence[bool]) -> Number:
    clusters = st.clustered([float(h) for h in hits], [1.0] * len(hits), [str(i) for i in range(len(hits))])
    low, high = st.share_interval(clusters)
    return Number(100 * clusters.mean, "%", 100 * low, 100 * high, len(hits))


@torch.inference_mode()
def _means(lm: LM, texts: Sequence[str], tell: Any) -> Mapping[int, Tensor]:
    """Tokens -> mean of the last hidden states over so many first tokens of each text [n, d]: a causal model reads
    the shorter ones on its way."""
    tokenizer, found = tokenizer_of(lm), {n: [] for n in LENGTHS}  # type: ignore[var-annotated]
    first = separator(tokenizer, first=True)
    for number, text in enumerate(texts):
        ids = (first + encode(tokenizer, text or " ")[0])[: LENGTHS[-1]]
        read = torch.tensor([ids], device=lm.model.device)
        out = lm.model(read, use_cache=False, output_hidden_states=True, logits_to_keep=1)
        hidden = out.hidden_states[-1][0].double().cpu()
        for n, means in found.items():
            means.append(hidden[:n].mean(0))
        tell((number + 1) / len(texts))
    return {n: torch.stack(means).clone() for n, means in found.items()}


def _fields(line: str, where: str) -> tuple[str, str]:
    """Text and label of one line. Raises TextError."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise TextError(f"{where} is not JSON: {error.msg}") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or "label" not in row:
        raise TextError(f"{where} needs the fields text and label")
    return row["text"], str(row["label"])
