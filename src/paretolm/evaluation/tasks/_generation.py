"""Tasks that grade what a recipe generates; greedy unless a temperature is given."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from ...contracts import Forward, Slot, knob
from ...errors import TextError
from ..rows import Row, Tag
from ..streams import tokenizer_of
from ..task import Base, Item, Run, Scored, Stream
from ._data import DataTask, Record
from ._lm_eval import cut_left, ids_of

if TYPE_CHECKING:
    from ...bridge.lm import LM
    from ..source import TextSource


@dataclass(frozen=True)
class Decoding:
    """When to stop, and how a token is chosen: temperature 0 takes the most likely one.

    ends: tokens after which a text is over. stops: texts that end it."""

    room: int
    ends: frozenset[int]
    tokenizer: Any
    stops: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0


def end_tokens(lm: LM, tokenizer: Any) -> frozenset[int]:
    """The tokens generate stops at: the model's own, and <eos>."""
    given = getattr(lm.model.generation_config, "eos_token_id", None)
    found = given if isinstance(given, list) else [given]
    return frozenset(i for i in (*found, tokenizer.eos_token_id) if i is not None)


def continued(run: Run, prompt: Tensor, how: Decoding) -> list[int]:
    """The new tokens, the one that ends the text among them."""
    if run.stream is not None and run.prompt_end is not None:
        return _from_stream(run.stream, run.prompt_end, how)
    options: dict[str, Any] = {"stop": how.stops} if how.stops else {}
    if how.temperature:
        options |= {"do_sample": True, "temperature": how.temperature, "top_k": 0, "seed": how.seed}
    found: list[int] = run.session.generate(prompt, max_new_tokens=how.room, **options).ids.tolist()
    return found


def _from_stream(stream: Stream, end: Forward, how: Decoding) -> list[int]:
    """Token by token, so that also a recipe without a loop of its own is read through its cache."""
    dice = torch.Generator().manual_seed(how.seed)
    tail = 1 + max(map(len, how.stops), default=0)  # tokens that may hold a stop and what stands before it
    found: list[int] = []
    while True:
        found.append(_choose(end.logits[0, -1].float().cpu(), how.temperature, dice))
        over = len(found) >= how.room or found[-1] in how.ends
        if over or any(s in how.tokenizer.decode(found[-tail:]) for s in how.stops):
            return found
        end = stream.step(torch.tensor([found[-1:]]))


def _choose(logits: Tensor, temperature: float, dice: torch.Generator) -> int:
    if not temperature:
        return int(logits.argmax())
    return int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=dice))


def text_of(ids: Sequence[int], how: Decoding) -> str:
    """Up to the first stop, without special tokens."""
    text: str = how.tokenizer.decode(ids, skip_special_tokens=True)
    for stop in how.stops:
        text = text.partition(stop)[0]
    return text


@dataclass(frozen=True)
class Asked:
    """answers: what the grader gets beside the text."""

    id: str
    doc: str
    prompt: str
    answers: tuple[str, ...]
    tags: Mapping[str, Tag] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AnswerTask(DataTask):
    """A prompt too long for the model is cut from the left."""

    sees: ClassVar[frozenset[Slot]] = frozenset(Slot)
    headline: ClassVar[str] = "exact_match"
    mode: ClassVar[Literal["stream", "generate"]] = "generate"
    stops: ClassVar[tuple[str, ...]] = ()

    max_new_tokens: int = knob(256, low=1, help="tokens generated at most")

    @abstractmethod
    def asked(self, record: Record) -> list[Asked]:
        """The questions of a line. Raises TextError."""

    @abstractmethod
    def grade(self, text: str, answers: Sequence[str]) -> dict[str, float]:
        """Metric -> value."""

    def items(self, source: TextSource, lm: LM) -> list[Item]:
        tokenizer, found = tokenizer_of(lm), self.records()
        how = Decoding(self.max_new_tokens, end_tokens(lm, tokenizer), tokenizer, self.stops)
        most = lm.view.trained_length - self.max_new_tokens
        if most < 1:
            raise TextError(
                f"{self.name}: {self.max_new_tokens} new tokens leave no room for a prompt in the "
                f"{lm.view.trained_length} that {lm.name} was trained for: give a smaller max_new_tokens"
            )
        return [_tokenised(a, how, most) for record in found for a in self.asked(record)]

    def retokenised(self, item: Item, tokenizer: Any) -> Item:
        how = Decoding(self.max_new_tokens, frozenset({tokenizer.eos_token_id} - {None}), tokenizer, self.stops)
        return _tokenised(item.data["asked"], how, item.data["most"])

    def tokens(self, item: Item) -> int:
        return item.prompt_length + self.max_new_tokens

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        how: Decoding = item.data["how"]
        asked: Asked = item.data["asked"]
        text = text_of(continued(run, item.prompt_ids, how), how)
        return Scored(graded(item, self.grade(text, asked.answers), asked.tags))


def graded(item: Item, found: Mapping[str, float], tags: Mapping[str, Tag] | None = None) -> list[Row]:
    return [Row(item.id, item.doc, name, float(value), 1.0, tags or {}) for name, value in found.items()]


def _tokenised(asked: Asked, how: Decoding, most: int) -> Item:
    ids = cut_left(ids_of(how.tokenizer, asked.prompt), most)
    return Item(asked.id, asked.doc, torch.tensor([ids]), {"asked": asked, "how": how, "most": most})
