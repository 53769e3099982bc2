"""Decoding methods that look fast by not doing the work; the judge of speed must catch them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from paretolm.contracts import WHOLE, Edit, Loop, Method, ModelView, OpenContext, Phase, Slot


class _Loop:
    """One token a forward."""

    keeps_prompt_logits = False

    def __init__(self, ctx: OpenContext) -> None:
        self.ctx = ctx

    def decode(self, loop: Loop) -> None:
        logits = loop.prompt_logits[:, -1]
        while loop.emit(token := loop.pick(loop.scores(logits))[:, None]):
            self.ctx.count("tokens")
            logits = loop.forward(token).logits[:, -1]


class _Parrot(_Loop):
    """Says the first token again and again, and asks the model nothing."""

    def decode(self, loop: Loop) -> None:
        token = loop.pick(loop.scores(loop.prompt_logits[:, -1]))[:, None]
        while loop.emit(token):
            self.ctx.count("tokens")


class _Stutter(_Loop):
    """Asks the model once for every four tokens it gives."""

    def decode(self, loop: Loop) -> None:
        logits = loop.prompt_logits[:, -1]
        while loop.emit((token := loop.pick(loop.scores(logits))[:, None]).expand(1, 4)):
            self.ctx.count("tokens", 4)
            logits = loop.forward(token).logits[:, -1]


class _Quitter(_Loop):
    """Ends the text after two tokens, whatever was asked for."""

    def decode(self, loop: Loop) -> None:
        token = loop.pick(loop.scores(loop.prompt_logits[:, -1]))[:, None]
        loop.emit(token)
        loop.forward(token)
        loop.emit(torch.full_like(token, 2))  # the tiny models' end of text


@dataclass(frozen=True, kw_only=True)
class _Decoding(Method):
    part: ClassVar[Any] = _Loop
    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.DECODE, WHOLE, self.part, phase=Phase.AFTER)


class Stepper(_Decoding):
    """Honest."""


class Parrot(_Decoding):
    part = _Parrot


class Stutter(_Decoding):
    part = _Stutter


class Quitter(_Decoding):
    part = _Quitter
