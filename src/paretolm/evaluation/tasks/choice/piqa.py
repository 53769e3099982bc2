"""PIQA: which of two ways reaches a goal in the physical world (Bisk et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .arc_easy import ArcEasy


@dataclass(frozen=True, kw_only=True)
class Piqa(ArcEasy):
    fields: ClassVar[str] = "id, question (the goal), choices, answer (the right choice, from 0)"
    origin: ClassVar[str] = "baber/piqa, validation"
