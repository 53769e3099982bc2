"""A task for each output_type of lm-evaluation-harness, its documents described by a YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from ...rows import Row
from ...task import Base, Item, Run, Scored, Task
from .._choice import ChoiceTask, Question
from .._data import Record, drawn
from .._generation import AnswerTask, Asked
from .._reading import Targets
from .._rolling import RollingTask
from ._answers import matcher, pipeline
from ._config import Config
from ._document import Document, shots

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource

NAME = "lm-eval"
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_DECODING = ("until", "do_sample", "temperature", *_LENGTHS)
_METRICS: Mapping[str, tuple[str, ...]] = {
    "multiple_choice": ("acc", "acc_norm", "acc_bytes"),
    "loglikelihood": ("acc", "perplexity"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "generate_until": ("exact_match",),
}
_OURS = {"perplexity": "target_nll"}
_DEFAULT = {"multiple_choice": ("acc", "acc_norm"), "loglikelihood": ("perplexity", "acc")}


def metrics(config: Config) -> dict[str, Mapping[str, Any]]:
    """Metric -> its entry in the metric_list. Raises TextError for one that is not supported."""
    known = _METRICS[config.kind]
    given = config.get("metric_list") or [{"metric": m} for m in _DEFAULT.get(config.kind, known)]
    for entry in given:
        if entry.get("metric") not in known:
            config.fail(f"has the metric {entry.get('metric')}; of {config.kind} {', '.join(known)} are supported")
    return {str(entry["metric"]): entry for entry in given}


def headline(config: Config) -> str:
    """The first metric asked for, as our rows call it."""
    first = next(iter(metrics(config)))
    return _OURS.get(first, first)


class _Described:
    """What a YAML says of every kind of task: which documents, and what stands before each."""

    source: Config
    limit: int | None
    seed: int

    def records(self) -> list[Record]:
        return drawn(self.source.records(), self.limit, self.seed)

    def before(self, document: Document) -> str:
        return document.description() + self._examples

    @cached_property
    def _examples(self) -> str:
        return shots(self.source)


@dataclass(frozen=True, kw_only=True)
class HarnessChoice(_Described, ChoiceTask):
    """multiple_choice: the metrics asked for, and margin."""

    name: ClassVar[str] = NAME
    source: Config = field(repr=False)

    def question(self, record: Record) -> Question:
        document, between = Document(self.source, record), self.source.get("target_delimiter", " ")
        choices, text, target = document.choices(), document.text(), document.target()
        before = self.before(document)
        if isinstance(text, int):  # the choices are contexts
            pairs = [(before + choice, f"{between}{target}") for choice in choices]
            target = text
        else:
            pairs = [(f"{before}{text}", f"{between}{choice}") for choice in choices]
        answer = choices.index(target) if isinstance(target, str) and target in choices else target
        if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(choices):
            self.source.fail(f"has a doc_to_target that is none of the {len(choices)} choices for {record.where}")
        return Question(pairs, answer, choices)

    def rows(self, item: Item, found: Sequence[Targets]) -> list[Row]:
        wanted = {*metrics(self.source), "margin"}
        return [row for row in super().rows(item, found) if row.metric in wanted]


@dataclass(frozen=True, kw_only=True)
class HarnessTarget(_Described, ChoiceTask):
    """loglikelihood: acc, every token of the target is the most likely one; target_nll, its perplexity."""

    name: ClassVar[str] = NAME
    source: Config = field(repr=False)

    def question(self, record: Record) -> Question:
        document = Document(self.source, record)
        before = self.before(document)
        return Question([(f"{before}{document.text()}", str(document.target()))], 0)

    def rows(self, item: Item, found: Sequence[Targets]) -> list[Row]:
        (target,) = found
        values = {"acc": float(target.top.all()), "perplexity": float(target.nll.sum())}
        return [Row(item.id, item.doc, _OURS.get(m, m), values[m]) for m in metrics(self.source)]


@dataclass(frozen=True, kw_only=True)
class HarnessRolling(_Described, RollingTask):
    """loglikelihood_rolling: the metrics asked for."""

    name: ClassVar[str] = NAME
    source: Config = field(repr=False)
    limit: int | None = None

    def items(self, source: TextSource, lm: LM) -> list[Item]:
        texts = [(r.id, str(Document(self.source, r).target())) for r in self.records()]
        return [item for name, text in texts for item in self.of_text(name, name, text, lm)]

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        scored = super().score(run, item, base)
        return replace(scored, rows=[row for row in scored.rows if row.metric in metrics(self.source)])


@dataclass(frozen=True, kw_only=True)
class HarnessAnswer(_Described, AnswerTask):
    """generate_until: exact_match of the filtered text, greedily generated."""

    name: ClassVar[str] = NAME
    source: Config = field(repr=False)
    filter: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.source.get("generation_kwargs", {})
        ends = given.get("until", [self.source.get("fewshot_delimiter", "\n\n")])
        object.__setattr__(self, "stops", tuple(ends) if isinstance(ends, list) else (str(ends),))

    @cached_property
    def _filtered(self) -> Callable[[str], str]:
        return pipeline(self.source, self.filter)

    def asked(self, record: Record) -> list[Asked]:
        document = Document(self.source, record)
        target = document.target()
        if self.source.get("doc_to_choice") is not None and isinstance(target, int):
            target = document.choices()[target]
        answers = tuple(map(str, target)) if isinstance(target, list) else (str(target),)
        return [Asked(record.id, record.id, f"{self.before(document)}{document.text()}", answers)]

    def grade(self, text: str, answers: Sequence[str]) -> dict[str, float]:
        found = self._filtered(text)
        return {name: matcher(self.source, entry)(found, answers) for name, entry in metrics(self.source).items()}


def room(config: Config) -> int:
    """Tokens generated at most. Raises TextError where tokens are drawn or an option is not known."""
    given = config.get("generation_kwargs", {})
    for key in given:
        if key not in _DECODING:
            config.fail(f"has {key} among its generation_kwargs, which is not supported")
    drawn_ = given.get("do_sample", bool(given.get("temperature")))
    if drawn_ and given.get("temperature", 1.0):
        config.fail("draws tokens (do_sample), and only greedy answers are supported")
    return int(next((given[key] for key in _LENGTHS if given.get(key) is not None), 256))


def task_of(config: Config, limit: int | None, seed: int, chosen: str | None) -> Task:
    """The task that a YAML describes. Raises TextError for what is not supported."""
    metrics(config)
    if config.kind == "generate_until":
        pipeline(config, chosen)
        return HarnessAnswer(source=config, limit=limit, seed=seed, filter=chosen, max_new_tokens=room(config))
    if config.kind == "loglikelihood_rolling":
        return HarnessRolling(source=config, limit=limit, seed=seed)
    kind = HarnessChoice if config.kind == "multiple_choice" else HarnessTarget
    return kind(source=config, limit=limit, seed=seed)
