"""Claim: a sentence of a paper as data, the experiment it is put to, and the limits that decide. Loads no torch.

Limits are written before anything is measured; `verdict.judge` reads the verdict off the numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..studies.study import Findings, Number, Place
    from .found import Found

DATA = "{data}"  # in lines and models of an experiment: the directory given as --data


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a number must be: at_least or at_most, one of them.

    expected: what it would be here if the claim held; a number that stays on both sides of the limit counts as
    missed where so large a difference would have been seen, and as untestable where it would not."""

    number: str
    at_least: float | None = None
    at_most: float | None = None
    expected: float

    def __post_init__(self) -> None:
        assert (self.at_least is None) != (self.at_most is None), f"{self.number}: at_least or at_most, one of them"
        assert self.expected >= self.bound if self.at_most is None else self.expected <= self.bound, self.number

    @property
    def bound(self) -> float:
        bound = self.at_least if self.at_most is None else self.at_most
        assert bound is not None
        return bound


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Recipes on tasks, as `paretolm compare` takes them. measure: numbers from the rows; needs_data: files or
    folders below the directory given as --data."""

    recipes: tuple[str, ...]
    tasks: tuple[str, ...]
    measure: Callable[[Found], Mapping[str, Number]]
    model: str = "reference"
    dtype: str | None = None
    text: str | None = None
    limit: int | None = None
    seed: int = 0
    needs_data: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """A study, as `paretolm study` takes it; its numbers are what its findings call so."""

    study: str
    models: tuple[str, ...] = ("reference",)
    text: str | None = None
    needs_data: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Direct:
    """A measurement of its own, written beside the claims: findings with numbers and rows. uses: files or folders
    of the package that its numbers depend on beside model, recipes and tasks."""

    work: Callable[[Place], Findings]
    models: tuple[str, ...] = ("reference",)
    text: str | None = None
    uses: tuple[str, ...] = ()
    needs_data: tuple[str, ...] = ()


Experiment = Bench | Rerun | Direct


@dataclass(frozen=True, kw_only=True)
class Claim:
    """says: in our own words. metric, setting, size, figure, section: the paper's. limits: what is measured must
    meet; needs: without which the experiment shows nothing, so that the claim is not testable at this scale.
    also: numbers that are shown beside those of limits and needs."""

    says: str
    metric: str
    setting: str
    size: str
    figure: str
    section: str
    experiment: Experiment
    limits: tuple[Limit, ...]
    needs: tuple[Limit, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def numbers(self) -> list[str]:
        """Names of the numbers shown, in order."""
        return list(dict.fromkeys([*(x.number for x in (*self.limits, *self.needs)), *self.also]))


@dataclass(frozen=True, kw_only=True)
class Paper:
    """arxiv: ids, the one that makes the claims first. methods, tasks, studies: names here that stand for it."""

    title: str
    arxiv: tuple[str, ...]
    family: str
    claims: tuple[Claim, ...]
    methods: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()

    @property
    def experiments(self) -> list[Experiment]:
        """Each once, in order: claims may share one."""
        return list(dict.fromkeys(claim.experiment for claim in self.claims))

    @property
    def needs_data(self) -> list[str]:
        return sorted({name for e in self.experiments for name in e.needs_data})
