"""What a method's test file declares so that the laws can be run on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LawSpec:
    """`LAWS = LawSpec(neutral="h2o(budget=100%)", acts="h2o(budget=25%)")` beside a method's tests.

    neutral: a recipe whose logits equal dense through the cache; None where the method has no such setting,
    and then `monotone` lists recipes from mild to strong whose error against dense grows, and `twin(model)`
    changes a copy of the model into the plain form of `acts` (fake quantization, say).
    acts: a recipe that changes something on a 96-token random text of a tiny model.
    refused: architecture -> a fragment of the reason, where the method has no place in a tiny architecture.
    """

    neutral: str | None
    acts: str
    monotone: tuple[str, ...] = ()
    twin: Callable[[Any], None] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
