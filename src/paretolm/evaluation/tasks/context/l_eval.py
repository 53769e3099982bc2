"""L-Eval: questions about long documents, closed and open, with the length of the answer asked for (An et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ....contracts import knob
from ....errors import TextError
from ...rows import Tag
from ...streams import encode, tokenizer_of
from .._data import Record, data_file, drawn, records
from ._context import ContextTask, Question, whole
from ._leval_kinds import KINDS, Kind, kind_of, tasks_of
from ._sample import files_of, place, sets_in

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource

LEAST = 16  # tokens that must be left of a document


@dataclass(frozen=True, kw_only=True)
class LEval(ContextTask):
    """Rows: f1 of all; exact_match of closed tasks; rouge_l of open ones. Tags: group (closed or open), kind, set.

    L-Eval (2307.11088), sections 3 and 4. The questions of a document are one cluster. A document too long for the
    model loses its end. Open tasks are asked for as many words as the reference has, which keeps scores by overlap
    from rewarding a length. Where we leave the paper: no answer found is wrong, not a guess of A; several right letters
    count in full or, by f1, in part; and there is no language model as a judge, which the paper trusts more than
    overlap on open tasks. Facts of an item: output, answer, and the share of the document that was read."""

    headline: ClassVar[str] = "f1"

    path: str | None = knob(None, help="folder of sets named as in L-Eval; by itself the sample in the package")
    sets: tuple[str, ...] = knob((), help="names of sets in that folder; by itself all")
    limit: int | None = knob(None, low=1, help="documents of each set, drawn by seed; by itself all")
    length: int | None = knob(None, low=64, help="tokens of prompt and answer at most; by itself the trained length")

    def files(self) -> tuple[Path, ...]:
        folder = place(self.path, "l_eval")
        return (
            tuple(f for found in sets_in(folder, self.sets).values() for f in files_of(found))
            if folder.is_dir()
            else ()
        )

    def questions(self, source: TextSource, lm: LM) -> list[Question]:
        tokenizer, most = tokenizer_of(lm), self.length or lm.view.trained_length
        found = sets_in(place(self.path, "l_eval"), self.sets)
        if not found:
            raise TextError(f"{place(self.path)} has no files of JSON lines")
        return [
            question
            for name, where in found.items()
            for record in drawn(records(data_file(where, "test")), self.limit, self.seed)
            for question in self._asked(name, record, most, tokenizer)
        ]

    def _asked(self, name: str, record: Record, length: int, tokenizer: Any) -> Iterator[Question]:
        kind = kind_of(name, record)
        context, tasks = tasks_of(record)
        tags: dict[str, Tag] = {"group": "closed" if kind.closed else "open", "kind": kind.name, "set": name}
        pieces = encode(tokenizer, context)[1]
        for i, task in enumerate(tasks):
            doc = f"{name}-{record.id}"
            bare = Question(
                f"{doc}-{i}", doc, "", tuple(f" {a}" for a in task.answers), tags, stops=kind.stops, slack=kind.slack
            )
            yield self._fitted(bare, pieces, kind.ask(task.question, task.answers[0]), length, tokenizer)

    def _fitted(self, bare: Question, pieces: list[str], ask: str, length: int, tokenizer: Any) -> Question:
        """As much of the document as there is room for."""
        kept = length - whole(tokenizer, replace(bare, prompt=f"Document: \n\n{ask}"))
        while kept >= min(LEAST, len(pieces)):
            prompt = f"Document: {''.join(pieces[:kept])}\n\n{ask}"
            share = min(1.0, kept / len(pieces))
            made = replace(bare, prompt=prompt, facts={"read": share})
            over = whole(tokenizer, made) - length
            if over <= 0:
                return made
            kept = min(kept, len(pieces)) - over
        raise TextError(
            f"{self.name}: question and answer of {bare.id} leave no room for a document in {length} tokens"
        )

    def grade(self, text: str, question: Question) -> dict[str, float]:
        kind: Kind = KINDS[str(question.tags["kind"])]
        return kind.grade(text, question.answers)
