"""A task of lm-evaluation-harness, read from its YAML and scored through the recipe's cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ....contracts import knob
from ....errors import TextError
from ...task import Base, Item, Run, Scored, Task
from ._config import Config, read_config
from ._kinds import headline, task_of

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource


@dataclass(frozen=True, kw_only=True)
class LmEval(Task):
    """What it sees, its mode and its headline are those of the YAML's output_type. Python functions, groups and
    sampled answers are refused by name; of the filters in a filter_list one is scored at a time."""

    headline: ClassVar[str] = "acc"

    yaml: str | None = knob(None, help="the task's YAML file")
    limit: int | None = knob(None, low=1, help="documents, drawn by seed; by itself all")
    filter: str | None = knob(None, help="which filter of generated answers; by itself the first of its filter_list")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.yaml:
            object.__setattr__(self, "headline", headline(self._config))
            for name in ("sees", "mode"):
                object.__setattr__(self, name, getattr(self._task, name))

    @cached_property
    def _config(self) -> Config:
        if not self.yaml:
            raise TextError(
                f"{self.name} has no task of its own: give {self.name}(yaml=...), a file that describes one"
            )
        return read_config(Path(self.yaml).expanduser())

    @cached_property
    def _task(self) -> Task:
        return task_of(self._config, self.limit, self.seed, self.filter)

    def files(self) -> tuple[Path, ...]:
        return (*self._config.files, *self._config.data_files) if self.yaml else ()

    def items(self, source: TextSource, lm: LM) -> list[Item]:
        return self._task.items(source, lm)

    def retokenised(self, item: Item, tokenizer: Any) -> Item:
        return self._task.retokenised(item, tokenizer)

    def tokens(self, item: Item) -> int:
        return self._task.tokens(item)

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        return self._task.score(run, item, base)
