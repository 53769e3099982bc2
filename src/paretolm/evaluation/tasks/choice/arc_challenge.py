"""ARC (challenge): grade-school science questions that word overlap does not answer (Clark et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .arc_easy import ArcEasy


@dataclass(frozen=True, kw_only=True)
class ArcChallenge(ArcEasy):
    headline: ClassVar[str] = "acc_norm"
    origin: ClassVar[str] = "allenai/ai2_arc, ARC-Challenge, test"
