"""Recall of facts planted in real text, by depth, length and number of facts.

A fact says the key of a person, a number of four digits. The question stands at the end and its answer is begun
("... The key of Anna is"), so that the next word is the answer. The literal phrasing is the one the embedded
model was trained on; in the paraphrased one fact and question share the name alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ....contracts import Forward, Slot, knob
from ....errors import RecipeError
from ...metrics.answers import first_number
from ...metrics.likelihood import token_nll
from ...rows import Row
from ...streams import SHORTEST, TextStream, build, encode, separator, tokenizer_of
from ...task import Base, Item, Run, Scored, Stream, Task
from .._reading import step_through

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource

NAMES = [
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Emma",
    "Frank",
    "Grace",
    "Henry",
    "Iris",
    "Jack",
    "Kate",
    "Liam",
    "Mary",
    "Noah",
    "Olga",
    "Paul",
    "Rosa",
    "Sam",
    "Tina",
    "Victor",
    "Alice",
    "Bruno",
    "Carol",
    "Daniel",
    "Elena",
    "Felix",
    "Gina",
    "Hugo",
    "Ida",
    "James",
    "Karl",
    "Laura",
    "Martin",
    "Nina",
    "Oscar",
    "Peter",
    "Ruth",
    "Simon",
    "Thomas",
    "Vera",
]
LITERAL = (
    (
        "Remember: the key of {name} is {key}.",
        "Question: What is the key of {name}? Answer: The key of {name} is",
    ),
)
PARAPHRASED = (
    (
        "Nobody but {name} could open the vault, and only by dialling {key}.",
        "Question: Which number does {name} use? Answer: The number is",
    ),
    (
        "On the slip of paper that belonged to {name} somebody had written {key}.",
        "Question: Which code was given to {name}? Answer: The code is",
    ),
    (
        "When the clerk asked, {name} said that the locker bore the figure {key}.",
        "Question: Where does {name} leave the luggage? Answer: It stays at number",
    ),
)
PHRASINGS = {"literal": LITERAL, "paraphrased": PARAPHRASED}
MOST_TRAINED = 4096  # trained lengths are counted as at most this, so that a default run stays short
NEW_TOKENS = 8
_BACK = 48  # tokens searched back for the end of a sentence


class Cell(NamedTuple):
    """One combination; its fields are the tags of its rows. length is of the whole text in tokens."""

    length: int
    num_facts: int
    kind: str
    depth: float


@dataclass(frozen=True, kw_only=True)
class Recall(Task):
    """Rows: recall (0/1, the first number of the greedy continuation is the key) and answer_logprob; tags depth,
    length, num_facts, kind. answer_logprob is left out for recipes that only `generate` obeys."""

    sees: ClassVar[frozenset[Slot]] = frozenset(Slot)
    headline: ClassVar[str] = "recall"
    mode: ClassVar[Literal["stream", "generate"]] = "generate"

    lengths: tuple[float, ...] = knob((0.5, 1.0), help="whole texts, in trained lengths of at most 4096")
    depths: tuple[float, ...] = knob((0.0, 0.25, 0.5, 0.75, 1.0), help="where the fact asked for stands: 0 is first")
    num_facts: tuple[int, ...] = knob((1,), help="facts in one text, one of which is asked for")
    kinds: tuple[str, ...] = knob(("literal",), help="literal, paraphrased")
    repeats: int = knob(3, low=1, help="items of each combination")

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, fine, said in (
            ("lengths", lambda x: 0 < x <= 1024, "positive numbers of trained lengths"),
            ("depths", lambda x: 0 <= x <= 1, "numbers from 0 to 1"),
            ("num_facts", lambda x: x == int(x) and 1 <= x <= len(NAMES), f"whole numbers from 1 to {len(NAMES)}"),
            ("kinds", lambda x: x in ("literal", "paraphrased"), "literal or paraphrased"),
        ):
            values = getattr(self, field)
            if not values or not all(fine(v) for v in values):
                raise RecipeError(f"recall: {field} are {said}, not {values}")

    def items(self, source: TextSource, lm: LM) -> list[Item]:
        tokenizer, unit = tokenizer_of(lm), min(lm.view.trained_length, MOST_TRAINED)
        grid = itertools.product(range(self.repeats), self.lengths, self.num_facts, self.kinds, self.depths)
        cells = [Cell(round(times * unit), num, kind, depth) for _, times, num, kind, depth in grid]
        longest = max(cell.length for cell in cells)
        texts = build(source, lm, longest, len(cells), per_document=longest, seed=self.seed)
        return [self._item(tokenizer, unit, texts[i % len(texts)], i, cell) for i, cell in enumerate(cells)]

    def _item(self, tokenizer: Any, unit: int, text: TextStream, number: int, cell: Cell) -> Item:
        rng = np.random.default_rng([self.seed, number])
        facts, question, key = _facts(rng, cell.num_facts, cell.kind)
        around = sum(len(encode(tokenizer, " " + s)[0]) for s in (*facts, question, key)) + 3
        if cell.length < around + SHORTEST:
            raise RecipeError(
                f"recall: a text of {cell.length} tokens has no room, for facts and question alone take {around}: "
                f"give lengths of {(around + SHORTEST) / unit:.2g} or more"
            )
        depths = [cell.depth, *rng.random(cell.num_facts - 1).tolist()]
        context = plant(_haystack(text, cell.length - around), facts, depths)
        data = {"context": context, "question": f"\n\n{question}", "key": key, "tags": cell._asdict()}
        doc = text.docs[next(p for p in text.where.tolist() if p >= 0)]
        return _tokenised(f"{cell.kind}-{number}", doc, data, tokenizer)

    def retokenised(self, item: Item, tokenizer: Any) -> Item:
        return _tokenised(item.id, item.doc, item.data, tokenizer)

    def tokens(self, item: Item) -> int:
        return item.prompt_length + NEW_TOKENS

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        key, answer = item.data["key"], item.data["answer_ids"]
        if run.stream is None:
            text = run.session.generate(item.prompt_ids, max_new_tokens=NEW_TOKENS).text
            return Scored([_row(item, "recall", float(first_number(text) == key))])
        assert run.prompt_end is not None
        logprob, greedy = _forced(run.stream, run.prompt_end, answer, run.chunk)
        if greedy[: answer.shape[1]] != answer[0].tolist():
            greedy = _greedy(*run.restart(run.chunk))
        right = first_number(item.data["tokenizer"].decode(greedy)) == key
        return Scored([_row(item, "recall", float(right)), _row(item, "answer_logprob", logprob)])


def _facts(rng: np.random.Generator, num: int, kind: str) -> tuple[list[str], str, str]:
    """Facts about different people with different keys, the question for the first one's, and that key."""
    names = rng.choice(NAMES, num, replace=False).tolist()
    keys = (rng.choice(9000, num, replace=False) + 1000).astype(str).tolist()
    statement, question = PHRASINGS[kind][rng.integers(len(PHRASINGS[kind]))]
    facts = [statement.format(name=n, key=k) for n, k in zip(names, keys, strict=True)]
    return facts, question.format(name=names[0]), keys[0]


def _haystack(text: TextStream, length: int) -> list[str]:
    """`length` tokens of a stream as texts; a new document is a new paragraph."""
    start = next(i for i, place in enumerate(text.where.tolist()) if place >= 0)
    runs = zip(text.where[start : start + length].tolist(), text.pieces[start : start + length], strict=True)
    return [piece if place >= 0 else "\n\n" for place, piece in runs]


def plant(pieces: Sequence[str], facts: Sequence[str], depths: Sequence[float]) -> str:
    """The text of `pieces` with each fact at its depth (0 before everything, 1 after everything), moved back to
    the end of a sentence where one is near."""
    at: dict[int, list[str]] = {}
    for fact, depth in zip(facts, depths, strict=True):
        at.setdefault(_sentence_end(pieces, round(depth * len(pieces))), []).append(fact)
    text = ""
    for i in range(len(pieces) + 1):
        for fact in at.get(i, []):
            text += fact if not text or text[-1].isspace() else f" {fact}"
        piece = pieces[i] if i < len(pieces) else ""
        text += f" {piece}" if i in at and piece and not piece[0].isspace() else piece
    return text


def _sentence_end(pieces: Sequence[str], target: int) -> int:
    for i in range(target, max(0, target - _BACK), -1):
        before = pieces[i - 1].rstrip(" ")
        if before.endswith((".", "!", "?", "\n")):
            return i
    return 0 if target <= _BACK else target


def _tokenised(name: str, doc: str, data: Mapping[str, Any], tokenizer: Any) -> Item:
    context, question, key = data["context"], data["question"], data["key"]
    first = separator(tokenizer, first=True)
    ids, pieces = encode(tokenizer, context + question)
    border = len(first) + int(np.searchsorted(np.cumsum([len(p) for p in pieces]), len(context), side="left")) + 1
    asked = encode(tokenizer, question)[0]
    answered = encode(tokenizer, f"{question} {key}")[0]
    answer = answered[len(asked) :] if answered[: len(asked)] == asked else encode(tokenizer, f" {key}")[0]
    end = len(first) + len(ids)
    return Item(
        name,
        doc,
        torch.tensor([first + ids]),
        dict(data) | {"answer_ids": torch.tensor([answer]), "tokenizer": tokenizer},
        {"context": (0, border), "question": (border, end)},
    )


def _forced(stream: Stream, prompt_end: Forward, answer: Tensor, chunk: int) -> tuple[float, list[int]]:
    """Log-probability of the answer's tokens, and the most likely token at each of them and after the last."""
    found = [prompt_end.logits[0, -1:]]
    found += [out.logits[0] for _, out in step_through(stream, answer, 0, answer.shape[1], chunk)]
    logits = torch.cat(found).float().cpu()
    return -float(token_nll(logits[:-1], answer[0]).sum()), logits.argmax(-1).tolist()


def _greedy(stream: Stream, prompt_end: Forward) -> list[int]:
    """NEW_TOKENS most likely tokens, one after the other."""
    chosen = [int(prompt_end.logits[0, -1].argmax())]
    while len(chosen) < NEW_TOKENS:
        chosen.append(int(stream.step(torch.tensor([chosen[-1:]])).logits[0, -1].argmax()))
    return chosen


def _row(item: Item, metric: str, value: float) -> Row:
    return Row(item.id, item.doc, metric, value, 1.0, item.data["tags"])
