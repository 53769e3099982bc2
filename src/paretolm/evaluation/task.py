"""Task: something scored per item under a stated protocol, and what a runner hands to it.

A runner loops: one prefill of `item.prompt_ids` for all recipes that share it -> a Run per recipe ->
`task.score(run, item, base)`. The untouched model goes first with base None; what it returns as `keep` is
the base of the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from ..contracts import Forward, Slot, knob
from ..contracts.knobs import check_knobs
from ..recipes.lines import written
from .rows import Row

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..bridge.lm import LM
    from .source import TextSource

Base = Mapping[str, "np.ndarray"]  # fits one .npz
DEFAULT_CHUNK = 256
IN_STREAM = frozenset(Slot) - {Slot.PROMPT, Slot.TOKENS, Slot.DECODE}  # what given tokens through the cache can see


class Stream(Protocol):
    """One request through the cache."""

    @property
    def seen(self) -> int: ...
    @property
    def kv_bytes(self) -> int: ...
    def read(self, ids: Tensor, last: bool = False, *, logits: bool = True) -> Forward: ...
    def step(self, ids: Tensor, *, logits: bool = True) -> Forward: ...


class Generator(Protocol):
    """The part of a session that generates."""

    def generate(self, prompt: Any, *, max_new_tokens: int = ..., **kwargs: Any) -> Any: ...


@dataclass
class Run:
    """One recipe at the end of one item's prompt.

    stream has read item.prompt_ids, last part included, and `prompt_end` is what that last forward gave; both
    are None in a task of mode 'generate' for a recipe with a PROMPT or DECODE method, which only
    `session.generate` obeys. chunk: the most tokens one forward of scored text may have. chunk_invariant: one
    forward of many tokens means the same as many steps, so that there is nothing to audit. restart(chunk): a
    second stream at the end of the same prompt, with its prompt_end; what the recipe does while it reads is
    done again in forwards of at most `chunk` tokens.
    """

    session: Generator
    stream: Stream | None
    prompt_end: Forward | None
    chunk: int
    chunk_invariant: bool
    restart: Callable[[int], tuple[Stream, Forward]]


@dataclass(frozen=True, eq=False)
class Item:
    """prompt_ids [1, P] is read first (the shared prefill); spans name parts of it (start, end);
    data is the task's own. docs: the documents its rows come from where they are not `doc` alone, the one with most
    of them first."""

    id: str
    doc: str
    prompt_ids: Tensor
    data: Mapping[str, Any] = field(default_factory=dict)
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    docs: Sequence[str] = ()

    @property
    def main_doc(self) -> str:
        return self.docs[0] if self.docs else self.doc

    @property
    def prompt_length(self) -> int:
        return int(self.prompt_ids.shape[1])


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows of one item; keep: what the untouched model leaves for the recipes compared with it; facts: JSON values
    that are kept beside the rows, the text that was generated for one."""

    rows: Sequence[Row]
    keep: Base | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Fields are the task's knobs. name is the file's name with dashes.

    version is raised when the same knobs would give other numbers. sees: slots whose methods can change the
    score; a recipe none of whose slots is seen prints n/a. headline: the metric that ranks. needs_base: score
    wants what the untouched model kept for the item.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    sees: ClassVar[frozenset[Slot]] = IN_STREAM
    headline: ClassVar[str] = ""
    mode: ClassVar[Literal["stream", "generate"]] = "stream"
    needs_base: ClassVar[bool] = False

    seed: int = knob(0, low=0, help="draws documents, positions and facts")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("name"):
            cls.name = cls.__module__.rpartition(".")[2].replace("_", "-")

    def __post_init__(self) -> None:
        check_knobs(self)

    @abstractmethod
    def items(self, source: TextSource, lm: LM) -> list[Item]:
        """The items, the same for the same text, tokenizer, knobs and seed. Raises TextError."""

    @abstractmethod
    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        """base is None for the untouched model, which fills `Scored.keep` where the task needs a base."""

    def files(self) -> tuple[Path, ...]:
        """What is read beside the text, there or not: a score holds as long as these files are what they were."""
        return ()

    def retokenised(self, item: Item, tokenizer: Any) -> Item:
        """The item's same text for a recipe whose session brings another tokenizer; the untouched model keeps
        the item as it is. Asked only of a task that sees TOKENS, and the recipe needs a prefill of its own."""
        raise AssertionError(f"{self.name} does not see TOKENS")

    def tokens(self, item: Item) -> int:
        """The most tokens the cache sees for the item: what a recipe's chunk and cost are asked with."""
        return item.prompt_length

    def visible(self, slots: frozenset[Slot]) -> bool:
        """False prints n/a. The untouched model, without slots, is always visible."""
        return not slots or bool(slots & self.sees)

    def __str__(self) -> str:
        """One line that repeats the task: every knob that differs from its default."""
        return written(self)
