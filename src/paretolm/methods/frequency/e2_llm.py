"""E2-LLM: tuned once on short text at drawn scales and offsets of positions, read at any length after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    Altered,
    Artifact,
    Edit,
    Fitter,
    FrequencyPart,
    Method,
    ModelView,
    Need,
    OpenContext,
    Slot,
    knob,
)
from paretolm.errors import ConflictError

from .._low_rank import Matrices, Merging, attention_matrices, fresh, learn, matrices, next_token_loss, to_tensors
from .._low_rank import windows as text_windows

FIRST = 4  # tokens that no offset moves


def scaled_positions(length: int, scale: float, offset: float, first: int = FIRST) -> Tensor:
    """[1, length] float32: the first tokens at 0, 1, ..., the others `offset` further on, all divided by `scale`."""
    places = torch.arange(length, dtype=torch.float32)
    places[first:] += offset
    return places[None] / scale


def drawn(step: int, g_max: int, length: int, seed: int) -> tuple[int, int]:
    """(g, t) of a step: g from 1 to g_max, as often as 1 / g; t from 0 to (g - 1) * length, all alike, so that
    (length + t) / g <= length."""
    draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
    g = 1 + int(torch.multinomial(1 / torch.arange(1, g_max + 1), 1, generator=draw))
    return g, int(torch.randint(0, (g - 1) * length + 1, (), generator=draw))


@dataclass(frozen=True, kw_only=True)
class E2LLM(Method):
    """Positions divided by `scale`, in a model tuned once to read short text at every such scale.

    E2-LLM: Efficient and Extreme Length Extension of Large Language Models (2401.06951). Every step of the tuning
    (`fit`) reads one window of the trained length with a scale g and an offset t of its own: positions are (i + t) / g,
    and the first tokens stay where they are, so that the others lie as far from them as in a long text. One artifact
    serves every length: for a text of n trained lengths give scale=n, for short texts scale=1. steps=0 tunes nothing;
    what is left is position interpolation (2306.15595).

    No code was released; what follows is our choice. The tuning is low-rank, on all matrices of attention, with AdamW.
    Scales are whole numbers from 1 to g_max, drawn as often as 1 / g: among small ones the next is further away. t is at
    most (g - 1) trained lengths, so that no position lies outside the trained range. Four tokens stay in place. Windows are documents one after the other, cut.

    A model whose sliding layers stand beside full ones is refused: they may turn by other frequencies, which the
    tuning would divide too.
    """

    papers: ClassVar[tuple[str, ...]] = ("2401.06951",)
    fit_knobs: ClassVar[tuple[str, ...]] = ("g_max", "rank", "steps", "rate", "seed")

    scale: float = knob(4.0, low=1, help="g: positions are divided by it; the length to be read over the trained one")
    g_max: int = knob(8, low=1, help="the largest scale in the tuning")
    rank: int = knob(16, low=1, help="of the change of each matrix")
    steps: int = knob(150, low=0, help="windows that the tuning reads; 0: none, position interpolation")
    rate: float = knob(3e-3, low=0, help="the learning rate at its highest")
    seed: int = knob(0, low=0, help="draws windows, scales and offsets")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if view.rope is None:
            raise ConflictError(f"e2-llm changes rotary frequencies, and {view.architecture} has none")
        if self.steps:
            where = frozenset(self._tuned(view))
            yield Edit(Slot.WEIGHTS, where, Merging, needs=frozenset({Need.FITTED}))
        yield Edit(Slot.FREQUENCY, frozenset({view.rope.path}), lambda ctx: Divided(self.scale, ctx))

    def fit(self, fitter: Fitter, budget: int | None) -> Artifact | None:
        if not self.steps:
            return None
        length = fitter.view.trained_length
        base = matrices(fitter, self._tuned(fitter.view))
        texts = text_windows(fitter, length, budget)
        order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(self.seed)).tolist()

        def lesson(step: int, now: Matrices) -> Tensor:
            ids = texts[order[step % len(order)]]
            g, t = drawn(step, self.g_max, length, self.seed)
            positions = scaled_positions(ids.shape[1], g, t).to(ids.device)
            return next_token_loss(fitter.altered(ids, Altered(weights=now, positions=positions))[0], ids)

        pairs, losses = learn(base, fresh(base, self.rank, self.seed), lesson, self.steps, self.rate)
        tensors = to_tensors(pairs)
        facts = {"parameters": sum(t.numel() for t in tensors.values()), "first_loss": losses[0], "loss": losses[-1]}
        return Artifact(tensors, facts)

    def _tuned(self, view: ModelView) -> list[str]:
        if {"full", "sliding"} <= {layer.kind for layer in view.layers}:
            raise ConflictError(
                f"e2-llm divides positions alike in all layers, and {view.architecture} has layers of two kinds, "
                "full and sliding, which may turn by different frequencies"
            )
        layers = [layer.index for layer in view.layers if layer.attention_path and layer.kind != "linear"]
        return attention_matrices(self.name, view, layers)


@dataclass(frozen=True)
class Divided(FrequencyPart):
    """The FREQUENCY part."""

    scale: float
    ctx: OpenContext

    def inv_freq(self, base: Tensor) -> Tensor:
        new = base / self.scale
        self.ctx.count("frequencies_changed", int((new != base).sum()))
        return new

    def attention_factor(self, base: float) -> float:
        return base
