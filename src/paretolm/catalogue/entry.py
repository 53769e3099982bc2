"""Entry: what is known of one paper, in our own words."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..errors import StoreError

SLOTS = (  # the values of contracts.Slot, which loads torch
    "prompt", "tokens", "weights", "block", "frequency", "index", "attend", "keep", "store", "decode", "logits",
)  # fmt: skip
NEEDS = (
    "fit on text", "small training", "second model", "several models", "embedding model", "outside data", "image data",
    "GPU",
)  # fmt: skip
LISTED = "listed"  # the kind of what `papers sync` added: nothing of it was read, nothing of it runs here
_DATE = re.compile(r"\d{4}-\d\d(-\d\d)?")
_ARXIV = re.compile(r"\d{4}\.\d{4,5}|[a-z-]+/\d{7}")


@dataclass(frozen=True)
class Entry:
    """date: of the first version, 'YYYY-MM-DD' or 'YYYY-MM'; None where unknown. slots: some of SLOTS, where it acts on a
    trained model. needs: beside a model and text, some of NEEDS. says: what is done; claims: what the paper
    reports; shows: what counts as reproduced here. Of kind LISTED: family, slots, needs and these three are empty.
    authors, doi, categories: as a feed had them, empty where none did."""

    id: str
    title: str
    arxiv: str | None
    date: str | None
    family: str
    kind: str
    slots: tuple[str, ...]
    needs: tuple[str, ...]
    says: str
    claims: str
    shows: str
    authors: tuple[str, ...] = ()
    doi: str | None = None
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.id), self.id
        assert self.arxiv is None or _ARXIV.fullmatch(self.arxiv), self.id
        assert self.date is None or _DATE.fullmatch(self.date), self.id
        assert set(self.slots) <= set(SLOTS), self.id
        assert set(self.needs) <= set(NEEDS), self.id

    @property
    def url(self) -> str | None:
        """Made of the ids, never taken from a feed."""
        if self.arxiv:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return self.doi and f"https://doi.org/{quote(self.doi)}"

    @property
    def listed(self) -> bool:
        return self.kind == LISTED

    @property
    def kind_told(self) -> str:
        """The kind as people read it."""
        return "listed, not runnable here" if self.listed else self.kind

    @property
    def text(self) -> str:
        """Everything that is said of it, without what filters go by."""
        return " ".join([self.id, self.title, self.says, self.claims, self.shows])

    def since(self, date: str) -> bool:
        """Not older than 'YYYY-MM-DD', as far as its own date says; an unknown date is older than any."""
        return self.date is not None and self.date >= date[: len(self.date)]


def read(path: Path) -> tuple[Entry, ...]:
    """One entry a line. Raises StoreError for a file that holds anything else."""
    found = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            facts = json.loads(line)
            found.append(Entry(**facts | {"slots": tuple(facts["slots"]), "needs": tuple(facts["needs"])}))
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise StoreError(f"{path} holds no entries of papers, line {len(found) + 1}: {error}") from None
    return tuple(found)
