"""How long answers are: ten samples a prompt and model, their lengths, and a predictor of them before any is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..contracts import knob
from ..errors import TextError
from ..evaluation.metrics.repetition import repeated
from ..evaluation.source import Document
from ..evaluation.streams import encode, rendered, separator, tokenizer_of
from ..evaluation.tasks._data import Record, records
from ..recipes.recipe import Recipe
from ..recipes.session import Session
from ._lengths import FOLDS, crossed, error_table, examples, figure, numbers_of, overview, sheet
from ._sampling import Sampling, samples
from .study import Findings, Place, Study

if TYPE_CHECKING:
    from ..bridge.lm import LM

_ROWS = 100  # texts in one batch


@dataclass(frozen=True)
class Prompt:
    id: str
    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class Castillo(Study):
    """CASTILLO: Characterizing Response Length Distributions of Large Language Models (2505.16881).

    castillo.jsonl has a line a prompt and model: lengths in tokens, mean, deviation, percentiles, the shortest and
    the longest sample with their texts, how each ended, how many repeat themselves, and the settings.

    The predictor is a ridge regression on what the model's last layer holds at the prompt's end, so that it costs
    nothing beyond reading the prompt; every prompt is predicted by a fit to the others' folds.

    Where we leave the paper: a model without instructions continues, so a prompt is the beginning of a paragraph and
    `stop` its end, unless prompts come from `path`; a sample is degenerate when half of its runs of four tokens stood
    in it before.
    """

    papers: ClassVar[tuple[str, ...]] = ("2505.16881",)

    path: str | None = knob(None, help="JSON lines with prompt, or instruction and input; by itself the text's own")
    prompts: int = knob(120, low=2 * FOLDS, help="how many, drawn by seed")
    prompt_tokens: int = knob(24, low=1, help="tokens of a paragraph that are a prompt")
    samples: int = knob(10, low=2, help="of each prompt")
    max_new_tokens: int = knob(160, low=8, help="tokens of a sample at most")
    temperature: float = knob(1.0, low=0.01, high=10.0, help="of sampling")
    top_k: int = knob(0, low=0, help="most likely tokens to draw from; 0 for all")
    top_p: float = knob(1.0, low=0.01, high=1.0, help="share of probability to draw from")
    stop: str = knob("\n\n", help="text that ends a sample beside the end token; '' for none")

    def sources(self) -> tuple[str, ...]:
        metrics = ("evaluation/metrics/ridge.py", "evaluation/metrics/repetition.py")
        return (*super().sources(), "studies/_sampling.py", "studies/_lengths.py", *metrics)

    @property
    def settings(self) -> Sampling:
        return Sampling(self.max_new_tokens, self.temperature, self.top_k, self.top_p, self.stop)

    def run(self, at: Place) -> Findings:
        given = self._given()
        if not given:
            _ = at.source
        parts = []
        for number, model in enumerate(at.models):
            at.progress.plan({str(number): f"samples of {model}"})
            facts = self._sampled(at, model, given, number)
            at.progress.finish(str(number))
            parts.append(self._found(model, facts, f"{model}: " if len(at.models) > 1 else ""))
        return Findings(
            tuple(t for p in parts for t in p.tables),
            tuple(f for p in parts for f in p.figures),
            {name: n for p in parts for name, n in p.numbers.items()},
            self._notes(at),
            [row for p in parts for row in p.rows],
        )

    # --- prompts ---

    def _given(self) -> list[Record]:
        """The prompts of a file, some drawn by seed."""
        if self.path is None:
            return []
        found = records(Path(self.path).expanduser(), "its lines have prompt, or instruction and input")
        if len(found) < self.prompts:
            raise TextError(
                f"{self.path} has {len(found)} of {self.prompts} prompts: give a smaller castillo(prompts=)"
            )
        order = np.random.default_rng(self.seed).permutation(len(found))[: self.prompts]
        return [found[i] for i in sorted(order.tolist())]

    def _prompts(self, at: Place, lm: LM, given: Sequence[Record]) -> list[Prompt]:
        tokenizer = tokenizer_of(lm)
        first = separator(tokenizer, first=True)
        found = [_read(r, tokenizer) for r in given] or self._begun(at, tokenizer)
        room = lm.view.trained_length - self.max_new_tokens
        longest = max(found, key=lambda p: len(p.ids))
        if len(longest.ids) + len(first) > room:
            raise TextError(
                f"prompt {longest.id} has {len(longest.ids)} tokens, {lm.name} has room for {room - len(first)} beside "
                f"{self.max_new_tokens} new ones: leave it out, or give a smaller castillo(max_new_tokens=)"
            )
        return [Prompt(p.id, (*first, *p.ids), p.text) for p in found]

    def _begun(self, at: Place, tokenizer: Any) -> list[Prompt]:
        """Beginnings of paragraphs that go on after them, evenly from all documents."""
        by_document = [
            [
                Prompt(f"{d.id}#{i}", tuple(ids[: self.prompt_tokens]), "".join(pieces[: self.prompt_tokens]))
                for i, paragraph in enumerate(d.text.split("\n\n"))
                for ids, pieces in [encode(tokenizer, paragraph[: self.prompt_tokens * 32])]
                if len(ids) > self.prompt_tokens
            ]
            for d in at.source.eval_documents
        ]
        dice = np.random.default_rng(self.seed)
        shuffled = [[own[i] for i in dice.permutation(len(own))] for own in by_document]
        rounds = [p for i in range(max(map(len, shuffled))) for own in shuffled for p in own[i : i + 1]]
        if len(rounds) < self.prompts:
            raise TextError(
                f"{at.source.name} has {len(rounds)} paragraphs of more than {self.prompt_tokens} tokens, fewer than "
                f"{self.prompts}: give more text, or smaller castillo(prompts=, prompt_tokens=)"
            )
        return rounds[: self.prompts]

    # --- samples ---

    def _sampled(self, at: Place, model: str, given: Sequence[Record], number: int) -> list[dict[str, Any]]:
        """A fact sheet a prompt; a batch of prompts of like length is one unit of work."""
        lm = at.load(model)
        prompts = sorted(self._prompts(at, lm, given), key=lambda p: len(p.ids))
        size = max(1, _ROWS // self.samples)
        content, found = at.content(model), []
        for start in range(0, len(prompts), size):
            batch = prompts[start : start + size]
            unit = {"model": content, "prompts": [[p.id, *p.ids] for p in batch]}
            found += at.once(self, unit, partial(self._batch, lm, batch, self.seed + start))
            at.progress.update(str(number), len(found) / len(prompts))
        return found

    def _batch(self, lm: LM, prompts: Sequence[Prompt], seed: int) -> list[dict[str, Any]]:
        drawn = samples(lm, [p.ids for p in prompts], self.samples, self.settings, seed)
        hidden = _last_hidden(lm, prompts)
        tokenizer = tokenizer_of(lm)
        return [
            {
                "prompt_id": p.id,
                "prompt": p.text,
                "prompt_tokens": len(p.ids),
                "lengths": [len(s.ids) for s in own],
                "ended": [s.ended for s in own],
                "repeated": [repeated(s.ids, 4) for s in own],
                "texts": [tokenizer.decode(s.ids, skip_special_tokens=True) for s in own],
                "hidden": h,
            }
            for p, own, h in zip(prompts, drawn, hidden, strict=True)
        ]

    # --- findings ---

    def _found(self, model: str, facts: Sequence[dict[str, Any]], prefix: str) -> Findings:
        sheets = [sheet(model, f, asdict(self.settings), self.seed) for f in facts]
        means = np.array([s["mean"] for s in sheets])
        x = np.array([[*f["hidden"], f["prompt_tokens"], len(f["prompt"])] for f in facts])
        predicted, baseline = crossed(x, means, self.seed)
        for own, p, b in zip(sheets, predicted, baseline, strict=True):
            own |= {"predicted": float(p), "global_mean": float(b)}
        numbers = numbers_of(sheets, self.seed)
        return Findings(
            (overview(model, sheets), error_table(model, numbers), examples(model, sheets)),
            (figure(model, sheets),),
            {prefix + name: n for name, n in numbers.items()},
            (),
            sheets,
        )

    def _notes(self, at: Place) -> tuple[str, ...]:
        notes = at.source.notes if self.path is None else ()
        stop = f"{self.stop!r} or the end token" if self.stop else "the end token"
        return (
            f"A sample ends with {stop} or after {self.max_new_tokens} tokens; what is cut there has no length of its "
            "own, and its share stands in the table.",
            *notes,
        )


def _read(record: Record, tokenizer: Any) -> Prompt:
    """Through the chat template where the tokenizer has one."""
    if "prompt" in record.fields:
        text = record.text("prompt")
    else:
        text = "\n\n".join(filter(None, (record.text("instruction"), record.optional("input"))))
    document = Document(record.id, text, record.id, messages=({"role": "user", "content": text},))
    whole, template = rendered(document, tokenizer)
    return Prompt(record.id, tuple(encode(tokenizer, whole, template=template)[0]), text)


def _last_hidden(lm: LM, prompts: Sequence[Prompt]) -> list[list[float]]:
    """Of the last layer, at each prompt's last token."""
    import torch

    found = []
    with Session.open(lm, Recipe()) as session, torch.inference_mode():
        for p in prompts:
            out = session.stream().read(torch.tensor([p.ids]), last=True, logits=False)
            found.append([round(v, 5) for v in out.hidden[0, -1].float().cpu().tolist()])
    return found
