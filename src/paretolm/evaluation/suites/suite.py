"""Suite: tasks that belong together, in the groups a table sets apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

PERPLEXITY = "perplexity"  # the group of what other groups are set against


@dataclass(frozen=True, kw_only=True)
class Suite(ABC):
    """Fields are the suite's knobs; papers: arXiv ids. name is the file's name with dashes."""

    name: ClassVar[str] = ""
    papers: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.name = cls.__module__.rpartition(".")[2].replace("_", "-")

    @abstractmethod
    def groups(self, trained_length: int) -> Mapping[str, Sequence[str]]:
        """Group -> tasks as they are typed, for a model trained on texts of so many tokens."""
