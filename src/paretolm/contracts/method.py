"""Method: one paper's technique, which plans edits; Edit: one planned change at one kind of place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from ..errors import ConflictError
from .cost import Cost
from .knobs import check_knobs
from .learning import Altered
from .parts import LayerInputs, SlotPart
from .slots import Need, Phase, Slot
from .view import ModelView

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")
Place = int | str


class OpenContext(Protocol):
    """What a part may use when the session opens it, at one place."""

    method: str
    place: Place
    view: ModelView
    device: torch.device
    dtype: torch.dtype
    artifact: Artifact | None
    tokenizer: Any  # None where the model came without one

    def shared(self, make: Callable[[], T]) -> T:
        """One object for all places of this method, fresh for every request: its state."""
        ...

    def kept(self, make: Callable[[], T]) -> T:
        """As `shared`, but it lives as long as the session (until the judge resets it)."""
        ...

    def count(self, counter: str, amount: int = 1) -> None:
        """Proof that the method acted (tokens evicted, drafts accepted, bits stored). Any counter above
        zero means it acted, so count only what changed something."""
        ...

    def note(self, name: str, value: Any) -> None:
        """A fact worth showing in the report (chosen group sizes, the selected text); must fit JSON."""
        ...

    def second(self, ref: Any) -> Any:
        """The session of a second model knob (ModelRef): counted bytes, checked tokenizer."""
        ...


@dataclass(frozen=True)
class Edit:
    """One planned change.

    where: layer indices (INDEX, ATTEND, KEEP, STORE), module paths (WEIGHTS, BLOCK, FREQUENCY), or
    {"model"} (PROMPT, TOKENS, DECODE, LOGITS). make is called once a place. stackable lets a STORE edit
    (a channel transform) stand in one chain with another. reshape gives the view later edits plan on.
    """

    slot: Slot
    where: frozenset[Place]
    make: Callable[[OpenContext], SlotPart]
    phase: Phase = Phase.PREFILL
    needs: frozenset[Need] = frozenset()
    breaks: frozenset[Need] = frozenset()
    stackable: bool = False
    reshape: Callable[[ModelView], ModelView] | None = None


WHOLE = frozenset({"model"})


@dataclass(frozen=True)
class Artifact:
    """What fitting produced: tensors and JSON facts, keyed by model, method and data hash."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Fitter(Protocol):
    """What `fit` may use: the model on text, a piece at a time."""

    view: ModelView
    tokenizer: Any

    @property
    def inv_freq(self) -> Tensor | None:
        """[R/2] radians a position by which the model turns queries and keys; None where it does not."""
        ...

    def documents(self) -> Iterable[Tensor]:
        """Token ids [1, T] of each document of the fitting text, cut to the trained length."""
        ...

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """(logits [1, T, V], last hidden [1, T, d]) without a cache."""
        ...

    def layer_inputs(self, ids: Tensor, layer: int) -> LayerInputs:
        """What attention of `layer` sees on ids [1, T]; the layers above it are not run."""
        ...

    def altered(self, ids: Tensor, change: Altered) -> tuple[Tensor, Tensor]:
        """(logits [1, T, V], last hidden [1, T, d]) with gradients towards what `change` holds; the model is frozen."""
        ...

    def layer_by_layer(
        self,
        pieces: Sequence[Tensor],
        see: Callable[[str, Tensor], None],
        change: Callable[[str, Tensor], Tensor | None],
    ) -> None:
        """Layer after layer: `see(path, x [T, in])` hears what each matrix reads of every piece of ids [1, T]; then
        `change(path, weight [out, in])` says what stands there instead (None: nothing), and what the layer puts
        out under that is what the next one reads. The model itself does not change."""
        ...


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """One technique. Fields are the paper's knobs under the paper's names.

    The name users type is the file's name with dashes (set by the index). papers are arXiv ids.
    exact promises the output distribution of the same recipe without it. `acts` says, for people, what
    a non-zero counter means.
    """

    name: ClassVar[str] = ""
    papers: ClassVar[tuple[str, ...]] = ()
    exact: ClassVar[bool] = False
    baseline: ClassVar[bool] = False  # in the catalogue because papers compare with it
    entries: ClassVar[tuple[str, ...]] = ()  # where there is no budget: the knob that counts entries, those beside it
    fit_knobs: ClassVar[tuple[str, ...]] = ()  # knobs that `fit` reads: another value needs another artifact

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__module__.rpartition(".")[2].replace("_", "-")

    def __post_init__(self) -> None:
        check_knobs(self)
        self.validate()

    def validate(self) -> None:  # noqa: B027
        """Raises RecipeError where knobs contradict each other (a window larger than the budget)."""

    @abstractmethod
    def plan(self, view: ModelView) -> Iterable[Edit]:
        """The edits; reads only. Raises ConflictError where the model has no place for the method."""

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """The cost of a sequence of `tokens` once this method is added to what stood `before`."""
        return before

    def fit(self, fitter: Fitter, budget: int | None) -> Artifact | None:
        """What the method learns from text (budget: at most so many tokens); None where nothing is to fit."""
        return None

    def chunk(self, tokens: int) -> int | None:
        """The largest forward, in tokens, at which scoring a text of `tokens` still means this method.

        None where one forward of many tokens equals as many single steps. A method whose edits break
        CHUNK_INVARIANT answers at most an eighth of its budget."""
        return None

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any]) -> nn.Module:
        """An empty module of the kind this method's WEIGHTS parts make, from the `spec()` of such a module; an
        exported checkpoint is read into it."""
        raise ConflictError(f"{cls.name} makes modules that cannot be rebuilt from a file; apply it in a session")

    @property
    def fits(self) -> bool:
        """Whether a plan of this method needs an artifact."""
        return type(self).fit is not Method.fit
