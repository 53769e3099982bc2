"""LLM-KICK: what a compressed model still knows and finds, beside its perplexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...errors import RecipeError, TextError
from ...recipes.words import spell_plain
from .suite import PERPLEXITY, Suite

LONGEST = 8192
SETS = {  # task -> its group, where a folder of the task's name holds its set
    "nq-open": "knowledge",
    "mmlu": "knowledge",
    "squad": "retrieval",
    "summary": "summaries",
    "ifeval": "instructions",
}


@dataclass(frozen=True, kw_only=True)
class LlmKick(Suite):
    """Compressing LLMs: The Truth is Rarely Pure and Never Simple (2310.01382).

    Its groups: facts from memory (questions with short answers; multiple choice, MMLU), questions about a text at
    hand, summaries of a text at hand, instructions. By itself a suite of what the package holds: perplexity, facts
    from memory (closed-book), facts planted in a text (recall). path: a directory whose folders nq_open, mmlu, squad,
    summary and ifeval bring the public sets. limit: items of each of those.

    Where we leave the paper: its summaries and instructions are graded by another large model; ours by the words
    shared with reference summaries and by rules that a program checks. Natural Questions stand for FreebaseQA, and
    SQuAD for TriviaQA with its passages.
    """

    papers: ClassVar[tuple[str, ...]] = ("2310.01382",)

    path: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise RecipeError(f"llm-kick: limit must be at least 1, not {self.limit}")

    def groups(self, trained_length: int) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {
            PERPLEXITY: [f"perplexity(length={min(LONGEST, trained_length)}, streams=10, audit=0)"],
            "knowledge": ["closed-book"],
            "retrieval": ["recall(repeats=5)"],
        }
        for task, folder in self._folders().items():
            limit = f", limit={self.limit}" if self.limit else ""
            found.setdefault(SETS[task], []).append(f"{task}(path={spell_plain(str(folder))}{limit})")
        return found

    def _folders(self) -> dict[str, Path]:
        """Task -> folder of its set. Raises TextError where the directory has none."""
        if self.path is None:
            return {}
        place = Path(self.path).expanduser()
        folders = {task: place / task.replace("-", "_") for task in SETS}
        found = {task: folder for task, folder in folders.items() if folder.is_dir()}
        if not found:
            wanted = ", ".join(folder.name for folder in folders.values())
            raise TextError(f"llm-kick: {place} has none of the folders {wanted}; give path= a directory with one")
        return found
