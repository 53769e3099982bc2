"""IFEval: instructions that a program can check (2311.07911)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ....contracts import knob
from ....errors import TextError
from ...metrics.instructions import RULES, UNJUDGED, kept
from .._data import Record
from .._generation import AnswerTask, Asked


@dataclass(frozen=True, kw_only=True)
class Ifeval(AnswerTask):
    """Rows: followed, every rule of the prompt is kept; rules_kept, the share of its rules. A prompt with a rule
    that takes another model to judge (the language of the response) is left out. The prompt is given as it is:
    no chat template stands around it."""

    fields: ClassVar[str] = "id, prompt, checks (a list of {type, args})"
    origin: ClassVar[str] = "google/IFEval, with instruction_id_list and kwargs as checks"
    headline: ClassVar[str] = "followed"

    max_new_tokens: int = knob(256, low=1, help="tokens generated at most")

    def asked(self, record: Record) -> list[Asked]:
        rules = _rules(record)
        if any(rule in UNJUDGED for rule, _ in rules):
            return []
        return [Asked(record.id, record.id, record.text("prompt"), tuple(json.dumps(rule) for rule in rules))]

    def grade(self, text: str, answers: Sequence[str]) -> dict[str, float]:
        found = [kept(rule, text, args) for rule, args in map(json.loads, answers)]
        return {"followed": all(found), "rules_kept": sum(found) / len(found)}


def _rules(record: Record) -> list[tuple[str, Mapping[str, Any]]]:
    found = record.fields.get("checks")
    if not isinstance(found, list) or not found or not all(isinstance(c, dict) and "type" in c for c in found):
        record.fail("checks", "a list of {type, args}") if "checks" in record.fields else record.texts("checks")
    rules = [(str(c["type"]), c.get("args") or {}) for c in found or []]
    for rule, _ in rules:
        if rule not in RULES and rule not in UNJUDGED:
            raise TextError(f"{record.where}: no rule is called {rule!r}; known: {', '.join(sorted(RULES))}")
    return rules
