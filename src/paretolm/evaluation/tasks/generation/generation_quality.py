"""Quality of generated text: repetition, variety, and how another model likes it.

Perplexity under a judge falls for text that repeats itself, and variety rises for text that makes no sense: only
side by side do they say something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from ....bridge.twin import twin
from ....contracts import Slot, knob
from ....errors import CellError, RecipeError
from ....recipes.convert import load
from ...metrics.likelihood import token_nll
from ...metrics.repetition import diversity, repeated
from ...streams import TextStream, build, encode, separator, tokenizer_of
from ...task import Base, Item, Run, Scored, Task
from .._generation import Decoding, continued, end_tokens, graded

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource


@dataclass(frozen=True, eq=False)
class Judge:
    """A model that no recipe touches. tokenizer is None where it reads the same tokens."""

    model: Any
    tokenizer: Any = None

    @torch.inference_mode()
    def nll(self, prompt: Sequence[int], new: Sequence[int], own: Any) -> float:
        """Nats a token of what was generated, in one plain forward; own: the tokenizer of these tokens."""
        prompt, new = self._own_tokens(prompt, new, own)
        ids = torch.tensor([[*prompt, *new]])
        logits = self.model(ids.to(self.model.device), use_cache=False).logits[0, len(prompt) - 1 : -1]
        return float(token_nll(logits, ids[0, len(prompt) :]).double().mean())

    @torch.inference_mode()
    def feature(self, prompt: Sequence[int], new: Sequence[int], own: Any) -> list[float]:
        """What the last layer holds at the end of the text [d]: the features of MAUVE."""
        ids = torch.tensor([[*chain(*self._own_tokens(prompt, new, own))]])
        hidden = self.model.base_model(ids.to(self.model.device), use_cache=False).last_hidden_state
        found: list[float] = hidden[0, -1].float().cpu().tolist()
        return found

    def _own_tokens(self, prompt: Sequence[int], new: Sequence[int], own: Any) -> tuple[list[int], list[int]]:
        """The same text in the judge's tokens. Raises CellError where it has none for it."""
        if self.tokenizer is None:
            return list(prompt), list(new)
        first = separator(self.tokenizer, first=True)
        before, after = (own.decode(ids, skip_special_tokens=True) for ids in (prompt, new))
        begun = first + encode(self.tokenizer, before)[0]
        added = encode(self.tokenizer, after)[0] or separator(self.tokenizer)
        if not begun or not added:
            raise CellError("nothing was generated, and the judge's tokenizer has no token for that")
        return begun, added


@dataclass(frozen=True, kw_only=True)
class GenerationQuality(Task):
    """Rows: rep_2, rep_3, rep_4, distinct_1, diversity of the tokens; new_tokens; judge_nll, weighted equally. A
    continuation ends with the model's end token or after max_new_tokens; repetition counts no end token."""

    sees: ClassVar[frozenset[Slot]] = frozenset(Slot) - {Slot.TOKENS}
    headline: ClassVar[str] = "diversity"
    mode: ClassVar[Literal["stream", "generate"]] = "generate"

    prompts: int = knob(20, low=1, help="how many continuations, each of a document as far as documents reach")
    length: int | None = knob(
        None, low=4, help="tokens of a prompt; by itself a quarter of the trained length, at most 256"
    )
    max_new_tokens: int | None = knob(None, low=4, help="by itself half the trained length, at most 256")
    temperature: float = knob(0.0, low=0.0, high=10.0, help="of sampling; 0 takes the most likely token")
    judge: str | None = knob(None, help="a model whose perplexity is taken; by itself the model without a recipe")

    def files(self) -> tuple[Path, ...]:
        place = Path(self.judge or "")
        return tuple(sorted(f for kind in ("*.json", "*.safetensors") for f in place.glob(kind))) if self.judge else ()

    def items(self, source: TextSource, lm: LM) -> list[Item]:
        trained, room = lm.view.trained_length, self._room(lm)
        length = self.length or max(4, min(256, trained // 4))
        if length + room > trained:
            raise RecipeError(
                f"{self.name}: {length} + {room} tokens are more than the {trained} that {lm.name} was trained for: "
                "give a smaller length or max_new_tokens"
            )
        return self.of_streams(build(source, lm, length, self.prompts, per_document=length, seed=self.seed), lm)

    def of_streams(self, streams: Sequence[TextStream], lm: LM) -> list[Item]:
        """A continuation of each."""
        tokenizer, room = tokenizer_of(lm), self._room(lm)
        how = Decoding(room, end_tokens(lm, tokenizer), tokenizer, (), self.temperature)
        judge = self._judge(lm)
        return [self._item(s, replace(how, seed=self.seed + i), judge) for i, s in enumerate(streams)]

    def _item(self, stream: TextStream, how: Decoding, judge: Judge) -> Item:
        doc = stream.docs[next(p for p in stream.where.tolist() if p >= 0)]
        return Item(stream.id, doc, stream.ids, {"how": how, "judge": judge})

    def _room(self, lm: LM) -> int:
        return self.max_new_tokens or max(4, min(256, lm.view.trained_length // 2))

    def _judge(self, lm: LM) -> Judge:
        if self.judge is None:
            return Judge(twin(lm.model))
        other = load(self.judge, device=lm.model.device)
        same = tokenizer_of(other).get_vocab() == tokenizer_of(lm).get_vocab()
        return Judge(other.model, None if same else other.tokenizer)

    def tokens(self, item: Item) -> int:
        return item.prompt_length + int(item.data["how"].room)

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        new = continued(run, item.prompt_ids, item.data["how"])
        return Scored(graded(item, self.grade(item, new)))

    def grade(self, item: Item, new: Sequence[int]) -> dict[str, float]:
        """Metric -> value of one continuation."""
        how, judge = item.data["how"], item.data["judge"]
        text = new[:-1] if new[-1] in how.ends else new
        found = {f"rep_{n}": repeated(text, n) for n in (2, 3, 4)}
        found |= {"distinct_1": 1 - repeated(text, 1), "diversity": diversity(text), "new_tokens": float(len(text))}
        return found | {"judge_nll": judge.nll(item.prompt_ids[0].tolist(), new, how.tokenizer)}
