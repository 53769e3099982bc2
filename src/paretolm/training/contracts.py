"""What a training run is made of: four kinds of parts, and what they hand each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..contracts.knobs import check_knobs

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .tokens import TokenFile


@dataclass(frozen=True, kw_only=True)
class Part(ABC):
    """A named part of a run; its fields are knobs, checked when it is made."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_knobs(self)


@dataclass(frozen=True)
class Batch:
    """ids [B, L]. positions [B, L] where they are not 0, 1, 2, ...: each restart hides what came before it."""

    ids: Tensor
    positions: Tensor | None = None


@dataclass(frozen=True)
class Sampled:
    """One sequence: ids [L], and positions [L] where they restart."""

    ids: np.ndarray
    positions: np.ndarray | None = None


@dataclass(frozen=True)
class Source:
    """What a data order draws from. encode turns text to token ids; length counts the first token too."""

    text: TokenFile
    encode: Callable[[str], list[int]]
    bos: int
    eos: int
    length: int
    seed: int


class Architecture(Part):
    """A model type of transformers and its config."""

    @abstractmethod
    def model_type(self) -> str:
        """As transformers names it."""

    @abstractmethod
    def config(self, vocab_size: int, length: int, special: Mapping[str, int]) -> dict[str, Any]:
        """special: ids of bos, eos and pad."""


class DataOrder(Part):
    """Which sequence comes when. A function of (seed, number) alone, so that a run continues at any number."""

    @abstractmethod
    def open(self, source: Source) -> Callable[[int], Sampled]:
        """From the number of a sequence, counted over the whole run, to the sequence."""


class Objective(Part):
    """What is made small."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean loss of the batch in nats a token, a scalar with gradients."""


class Optimizer(Part):
    """Which torch optimizer turns which parameters."""

    @abstractmethod
    def make(self, model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        """Each parameter that learns is in one of them."""


class Schedule(Part):
    """How the learning rates move."""

    @abstractmethod
    def scale(self, step: int, steps: int) -> float:
        """Factor on every learning rate at `step`, counted from 0."""
