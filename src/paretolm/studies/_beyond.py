"""Text longer than the trained length: the same tokens read in windows and at length, and keys asked of facts in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..cards.positions import losses
from ..errors import TextError
from ..evaluation.rows import Row, Tag
from ..evaluation.streams import SHORTEST, TextStream, build, encode, separator, tokenizer_of
from ..evaluation.tasks.context.recall import LITERAL, NAMES, plant

if TYPE_CHECKING:
    from ..bridge.lm import LM
    from ..evaluation.source import TextSource

CHUNK = 512
SOURCES = ("studies/_beyond.py", "cards/positions.py", "evaluation/tasks/context/recall.py")
_PADDING = 8  # tokens that joints between facts and text may take


def read(
    lm: LM, line: str, ids: Tensor, length: int, step: int | None = None, tell: Callable[[float], None] = lambda _: None
) -> Tensor:
    """Loss [T-1] of each next token of ids [1, T] under a recipe, the text read in windows of `length` tokens that
    begin every `step` (none: where the last one ends), each giving the losses of what it alone has. NaN where no
    window reaches a token or one begins with it."""
    step = length if step is None else step
    found = torch.full((ids.shape[1] - 1,), float("nan"))
    starts = range(0, ids.shape[1] - length + 1, step)
    for number, start in enumerate(starts):
        skip = 0 if start == 0 or step == length else length - step - 1
        told = losses(lm, line, ids[:, start : start + length], CHUNK)
        found[start + skip : start + length - 1] = told[skip:]
        tell((number + 1) / len(starts))
    return found


def token_rows(
    stream: TextStream, places: Sequence[int], nll: Tensor, tags: Mapping[str, Tag] | None = None
) -> list[Row]:
    """A row for the token after each place, by document; a separator has none."""
    found, values = [], nll.tolist()
    for place in places:
        document = int(stream.where[place + 1])
        if document >= 0:
            found.append(Row(str(place), stream.docs[document], "nll", values[place], 1.0, tags or {}))
    return found


@dataclass(frozen=True)
class KeyText:
    """ids [1, T]: a text with facts in it, then a question about each with its answer. answers: tokens [start, end)
    of each answer; doc: the document most of it comes from."""

    ids: Tensor
    answers: tuple[tuple[int, int], ...]
    doc: str


def key_texts(source: TextSource, lm: LM, length: int, count: int, facts: int, seed: int) -> list[KeyText]:
    """Texts of `length` tokens at most with that many facts, each asked for once. Raises TextError without room."""
    tokenizer, rng = tokenizer_of(lm), np.random.default_rng([seed, length])
    found = []
    for text in build(source, lm, length, count, per_document=length, seed=seed):
        statement, question = LITERAL[0]
        names = rng.choice(NAMES, facts, replace=False).tolist()
        keys = (rng.choice(9000, facts, replace=False) + 1000).tolist()
        told = [statement.format(name=n, key=k) for n, k in zip(names, keys, strict=True)]
        asked = "".join(f"\n\n{question.format(name=names[i])} {keys[i]}" for i in rng.permutation(facts))
        taken = len(encode(tokenizer, asked)[0]) + sum(len(encode(tokenizer, f" {s}")[0]) for s in told) + _PADDING
        if length < taken + SHORTEST:
            raise TextError(
                f"{facts} facts and their questions take {taken} of the {length} tokens of a text: ask fewer"
            )
        pieces = [p if w >= 0 else "\n\n" for p, w in zip(text.pieces, text.where.tolist(), strict=True)]
        context = plant(
            pieces[len(separator(tokenizer, first=True)) :][: length - taken], told, rng.random(facts).tolist()
        )
        found.append(_tokenised(tokenizer, context, asked, question, text.documents(0)[0]))
    return found


def _tokenised(tokenizer: object, context: str, asked: str, question: str, doc: str) -> KeyText:
    first = separator(tokenizer, first=True)
    ids, pieces = encode(tokenizer, context + asked)
    ends = np.cumsum([len(p) for p in pieces])
    begun = re.escape(question).replace(r"\{name\}", r"\w+")
    spans = []
    for match in re.finditer(rf"{begun}( \d+)", asked):
        start, end = (np.searchsorted(ends, len(context) + match.span(1)[i], side="right") for i in (0, 1))
        spans.append((len(first) + int(start), len(first) + int(end)))
    return KeyText(torch.tensor([first + ids]), tuple(spans), doc)


def keys_found(lm: LM, line: str, texts: Sequence[KeyText]) -> list[list[bool]]:
    """Of each answer of each text, whether every token of it is the most likely one after what stands before it."""
    from ..recipes.recipe import Recipe
    from ..recipes.session import Session

    found = []
    with Session.open(lm, Recipe.parse(line)) as session, torch.inference_mode():
        for text in texts:
            stream, best = session.stream(), []
            for start in range(0, text.ids.shape[1], CHUNK):
                best.append(stream.step(text.ids[:, start : start + CHUNK]).logits[0].argmax(-1).cpu())
            told = torch.cat(best)
            found.append([torch.equal(told[a - 1 : b - 1], text.ids[0, a:b]) for a, b in text.answers])
    return found
