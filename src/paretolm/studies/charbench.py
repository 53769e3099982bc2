"""Characters in words: how right a model is, and whether words, answers or tokens have to do with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..bench.workers.measure import PREFILL_CHUNK
from ..cards.judged import share
from ..contracts import Forward, knob
from ..evaluation import statistics as st
from ..evaluation.metrics.correlation import correlation
from ..evaluation.streams import encode, tokenizer_of
from ..evaluation.task import DEFAULT_CHUNK, Item, Run, Task
from ..evaluation.tasks import make
from ..evaluation.tasks.characters._words import KINDS, Asked, WordTask
from ..recipes.recipe import Recipe
from ..recipes.session import Session
from .study import Column, Figure, Findings, Line, Number, Place, Study, Table, Value

if TYPE_CHECKING:
    from ..bridge.lm import LM
    from ..bridge.stream import Snapshot, Stream

FORMS = {"generated": ("charbench", "exact_match"), "chosen": ("charbench-choice", "acc")}
COUNTS = ("count_character", "count_unique")
POSITIONS = ("first_position", "last_position")
FEATURES = ("word_length", "answer", "answer_over_length", "num_tokens", "characters_a_token", "token_length")
_TOLD = 100  # items between two signs of progress
Fact = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Charbench(Study):
    """CharBench: Evaluating the Role of Tokenization in Character-Level Tasks (2508.02591).

    Every item is answered twice: generated after worked questions of its kind, and chosen by likelihood among the
    numbers a word of its length can have. Correlations are of being right (0 or 1) with properties of the word and of
    its tokens as they stand in the prompt; token_length: of the token that holds the character asked for. Beside the
    accuracy stand guessing and the one answer that is right most often, for a model that always says 1 is no reader.
    """

    papers: ClassVar[tuple[str, ...]] = ("2508.02591",)

    items: int = knob(1200, low=4, help="equally many of each kind of question and length of word")
    num_fewshot: int = knob(4, low=0, help="worked questions of its kind before each")
    path: str | None = knob(None, help="words: a line each, or JSON lines with the field word; by itself packaged ones")

    def sources(self) -> tuple[str, ...]:
        tasks = ("_words", "charbench", "charbench_choice")
        shared = ("evaluation/tasks/_choice.py", "evaluation/tasks/_generation.py")
        metric = "evaluation/metrics/correlation.py"
        return (*super().sources(), *(f"evaluation/tasks/characters/{t}.py" for t in tasks), *shared, metric)

    def run(self, at: Place) -> Findings:
        parts = []
        for number, model in enumerate(at.models):
            cells = {f"{number} {form}": f"{model}, answers {form}" for form in FORMS}
            at.progress.plan(cells)
            facts = [f for form, cell in zip(FORMS, cells, strict=True) for f in self._facts(at, model, form, cell)]
            parts.append(self._found(model, facts, f"{model}: " if len(at.models) > 1 else ""))
        return Findings(
            tuple(t for p in parts for t in p.tables),
            tuple(f for p in parts for f in p.figures),
            {name: n for p in parts for name, n in p.numbers.items()},
            ("Correlations: items drawn with replacement, 95%; a dash where the model is never or always right.",),
            [row for p in parts for row in p.rows],
        )

    def _facts(self, at: Place, model: str, form: str, cell: str) -> list[Fact]:
        """Of each item: kind, word, answer, its tokens, and whether the model was right."""
        name, metric = FORMS[form]
        task = make(name, seed=self.seed, limit=self.items, num_fewshot=self.num_fewshot, path=self.path)
        assert isinstance(task, WordTask)
        asked = [r.fields["asked"] for r in task.records()]

        def work() -> list[Fact]:
            lm = at.load(model)
            found: list[Fact] = []
            for number, (item, right) in enumerate(_scored(lm, task, at, metric)):
                found.append({"form": form, "right": right, **_properties(asked[number], tokenizer_of(lm))})
                if number % _TOLD == _TOLD - 1:
                    at.progress.update(cell, (number + 1) / len(asked))
                assert asked[number].kind in item.id
            return found

        unit = {"model": at.content(model), "form": form, "items": [a.text for a in asked]}
        facts: list[Fact] = at.once(self, unit, work)
        at.progress.finish(cell)
        return [{"model": model, **f} for f in facts]

    def _found(self, model: str, facts: Sequence[Fact], prefix: str) -> Findings:
        numbers: dict[str, Number] = {}
        for form in FORMS:
            own = [f for f in facts if f["form"] == form]
            for name, of in _groups(own):
                numbers[f"{prefix}accuracy, {form}, {name}"] = _accuracy(of)
            numbers[f"{prefix}above the best constant, {form}"] = _above(own, self.seed)
            for name, kinds, features in (
                ("counts", COUNTS, ("word_length", "answer", "num_tokens")),
                ("positions", POSITIONS, ("word_length", "token_length")),
            ):
                of = [f for f in own if f["kind"] in kinds]
                for feature in features:
                    r = _correlated(of, feature, self.seed)
                    numbers[f"{prefix}correlation, {form}, {name}, {feature}"] = r
        tables = (_accuracies(model, facts), _correlations(model, facts, self.seed))
        return Findings(tables, tuple(_by_length(model, facts)), numbers, (), facts)


def _scored(lm: LM, task: Task, at: Place, metric: str) -> Iterator[tuple[Item, float]]:
    """Each item, its prompt read once, and what it scored."""
    with Session.open(lm, Recipe()) as session:
        for item in task.items(at.source, lm):
            snapshot = session.prefill(item.prompt_ids, chunk=PREFILL_CHUNK)

            def again(_: int, read: Snapshot = snapshot) -> tuple[Stream, Forward]:
                return session.resume(read), read.last

            run = Run(session, *again(0), DEFAULT_CHUNK, True, again)
            yield item, next(r.value for r in task.score(run, item, None).rows if r.metric == metric)


def _properties(asked: Asked, tokenizer: Any) -> dict[str, Any]:
    """Of the word, and of its tokens as they stand in the question; the characters of the word count."""
    _, pieces = encode(tokenizer, asked.text)
    begin = asked.text.rindex(f"'{asked.word}'") + 1
    borders = np.cumsum([0, *map(len, pieces)])
    spans = [
        (max(0, a - begin), min(len(asked.word), b - begin))
        for a, b in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True)
    ]
    own = [(a, b) for a, b in spans if b > a]
    held = [b - a for a, b in own if a <= asked.answer < b] if asked.kind in POSITIONS else []
    length = len(asked.word)
    return {
        "kind": asked.kind,
        "word": asked.word,
        "character": asked.character,
        "answer": asked.answer,
        "word_length": length,
        "answer_over_length": asked.answer / length,
        "num_tokens": len(own),
        "characters_a_token": length / len(own),
        "token_length": held[0] if held else None,
        "tokens": [asked.word[a:b] for a, b in own],
    }


def _groups(facts: Sequence[Fact]) -> list[tuple[str, list[Fact]]]:
    kinds = [(kind.replace("_", " "), [f for f in facts if f["kind"] == kind]) for kind in KINDS]
    return [("all", list(facts)), *kinds]


def _accuracy(facts: Sequence[Fact]) -> Number:
    found = share(int(sum(f["right"] for f in facts)), len(facts))
    return Number(*(100 * found["value"], "%", 100 * found["low"], 100 * found["high"], len(facts)))


def _correlated(facts: Sequence[Fact], feature: str, seed: int) -> Number:
    """n is 0 where there is no correlation to be told."""
    known = [f for f in facts if f[feature] is not None]
    r = correlation([float(f[feature]) for f in known], [float(f["right"]) for f in known], seed)
    return (
        Number(0.0, n=0, note="never or always right") if r.value is None else Number(r.value, "", r.low, r.high, r.n)
    )


def _accuracies(model: str, facts: Sequence[Fact]) -> Table:
    rows: list[tuple[Value, ...]] = []
    for form in FORMS:
        for name, of in _groups([f for f in facts if f["form"] == form]):
            number = _accuracy(of)
            guess = 100 * float(np.mean([1 / f["word_length"] for f in of]))
            constant = 100 * float(np.mean(_constant_right(of)))
            rows.append((f"{form}, {name}", number.value, number.low, number.high, guess, constant, len(of)))
    columns = (
        *(Column("answers"), Column("right", "%", ".1f"), Column("low", "%", ".1f"), Column("high", "%", ".1f")),
        Column("guessing", "%", ".1f", "one of the numbers a word of this length can have"),
        Column("best constant", "%", ".1f", "the answer that is right most often, to each kind its own"),
        Column("items"),
    )
    return Table(f"{model}: accuracy", columns, tuple(rows))


def _constant_right(facts: Sequence[Fact]) -> list[bool]:
    """Of each item, whether the answer most frequent in its kind is the right one."""
    kinds = {f["kind"] for f in facts}
    best = {k: Counter(f["answer"] for f in facts if f["kind"] == k).most_common(1)[0][0] for k in kinds}
    return [f["answer"] == best[f["kind"]] for f in facts]


def _above(facts: Sequence[Fact], seed: int) -> Number:
    """Accuracy beyond that of the best constant, in points; items are the units."""
    gaps = [100 * (f["right"] - c) for f, c in zip(facts, _constant_right(facts), strict=True)]
    clusters = st.clustered(gaps, [1.0] * len(gaps), [f["word"] for f in facts])
    return Number(clusters.mean, "points", *st.interval(clusters, seed), len(gaps))


def _correlations(model: str, facts: Sequence[Fact], seed: int) -> Table:
    rows: list[tuple[Value, ...]] = []
    for form in FORMS:
        for name, of in _groups([f for f in facts if f["form"] == form])[1:]:
            found = [_correlated(of, feature, seed) for feature in FEATURES]
            told = [f"{r.value:+.2f} [{r.low:+.2f}, {r.high:+.2f}]" if r.n else None for r in found]
            rows.append((f"{form}, {name}", *told))
    columns = (Column("right, and"), *(Column(f.replace("_", " ")) for f in FEATURES))
    return Table(f"{model}: correlations with being right", columns, tuple(rows))


def _by_length(model: str, facts: Sequence[Fact]) -> Iterator[Figure]:
    for title, feature, kinds in (
        ("counts by length of the word", "word_length", COUNTS),
        ("positions by length of the token asked about", "token_length", POSITIONS),
    ):
        lines = []
        for form in FORMS:
            of = [f for f in facts if f["form"] == form and f["kind"] in kinds]
            points = {x: _accuracy([f for f in of if f[feature] == x]) for x in sorted({f[feature] for f in of})}
            y, low, high = (tuple(float(getattr(n, k)) for n in points.values()) for k in ("value", "low", "high"))
            lines.append(Line(form, tuple(float(x) for x in points), y, low, high))
        yield Figure(f"{model}: {title}", "characters", "right, %", tuple(lines))
