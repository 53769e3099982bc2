"""Recipe: methods as one value, with a canonical line, a hash, a cost and conflicts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import Cost, Interval, LayerCost, LayerView, Method, ModelView, Phase
from ..contracts.cost import POSITION_BYTES
from . import toml
from .index import shelf_rank
from .parse import build_all, parse_methods, resolved, spell_methods
from .plan import Conflict, Plan, make_plan

if TYPE_CHECKING:
    from ..bridge.lm import LM
    from .session import Session


@dataclass(frozen=True)
class Recipe:
    """Methods in written order; no method at all is the untouched model, 'dense'."""

    methods: tuple[Method, ...] = ()

    @classmethod
    def parse(cls, text: str | Path) -> Recipe:
        """A one-line recipe, or the path of a .toml file. Raises RecipeError."""
        if isinstance(text, Path) or text.strip().endswith(".toml"):
            return cls.from_file(text)
        return cls(parse_methods(text))

    @classmethod
    def from_file(cls, path: str | Path) -> Recipe:
        return cls(build_all(toml.load(Path(path))))

    def save(self, path: str | Path) -> None:
        Path(path).write_text(toml.write(self.methods), encoding="utf-8")

    def __str__(self) -> str:
        return spell_methods(self.methods)

    def full(self) -> str:
        """The line with every knob spelled out."""
        return spell_methods(self.methods, every_knob=True)

    @property
    def is_dense(self) -> bool:
        return not self.methods

    @property
    def hash(self) -> str:
        """Equal for recipes that mean the same; covers all resolved defaults."""
        return _hash(self.methods)

    def prefill_hash(self, view: ModelView) -> str:
        """Equal for recipes that read a prompt alike: the hash over methods with an edit in force during prefill."""
        plan = self.plan(view)
        early = {s.position for s in plan.steps if any(e.phase is Phase.PREFILL for e in s.edits)}
        return _hash(m for i, m in enumerate(self.methods) if i in early)

    def chunk(self, tokens: int) -> int | None:
        """The largest forward at which scoring a text of `tokens` still means this recipe; None: any."""
        chunks = [c for m in self.methods if (c := m.chunk(tokens)) is not None]
        return min(chunks, default=None)

    def plan(self, view: ModelView) -> Plan:
        return make_plan(self, view)

    def check(self, view: ModelView) -> list[Conflict]:
        """Empty, or why these methods cannot stand together on this model, and what to change."""
        return list(self.plan(view).conflicts)

    def cost(self, view: ModelView, tokens: int) -> Cost:
        """Predicted bytes of one sequence of `tokens`."""
        plan, cost = self.plan(view), dense_cost(view, tokens)
        if plan.takes_cache:
            cost = cost.with_layers(view.full_layers, lambda c: replace(c, position_bytes=POSITION_BYTES))
        for step in plan.steps:
            cost = step.method.cost(step.view, tokens, cost)
        return cost

    def apply(self, lm: LM) -> AbstractContextManager[Session]:
        """The recipe in force on `lm`; leaving the block puts back what stood there."""
        from .session import Session

        return Session.open(lm, self)


def recipe(text: str | Path) -> Recipe:
    """`recipe("streaming-llm(sinks=4, window=256) + kv-quant(bits=4)")`, or the path of a .toml file."""
    return Recipe.parse(text)


def dense_cost(view: ModelView, tokens: int) -> Cost:
    """The untouched model."""
    layers = tuple(_dense_layer(layer, view.dtype_bytes, tokens) for layer in view.layers)
    return Cost(layers, weight_bytes=Interval.exact(view.weight_bytes))


def _dense_layer(layer: LayerView, dtype_bytes: int, tokens: int) -> LayerCost:
    return LayerCost(
        heads=layer.num_kv_heads,
        entries=_dense_entries(layer, tokens),
        key_bytes=Interval.exact(layer.key_dim * dtype_bytes),
        value_bytes=Interval.exact(layer.value_dim * dtype_bytes),
        fixed=Interval(0, float("inf")) if layer.kind == "linear" else Interval(0, 0),  # a state of unknown size
    )


def _dense_entries(layer: LayerView, tokens: int) -> Interval:
    """transformers' sliding layer shows window - 1 entries; until the next forward after a prompt it is a view that
    keeps the whole prompt's storage."""
    if layer.kind in ("linear", "shared"):
        return Interval.exact(0)
    if layer.kind == "sliding" and layer.window:
        return Interval(min(tokens, layer.window - 1), tokens)
    return Interval(0, tokens) if layer.kind == "other" else Interval.exact(tokens)


def _hash(methods: Iterable[Method]) -> str:
    """Methods in shelf order, as they act; a method of another package has no shelf, then the written order counts."""
    listed = list(methods)
    ranks = [shelf_rank(m.name) for m in listed]
    if None not in ranks:
        listed = [m for _, m in sorted(zip(ranks, listed, strict=True), key=lambda pair: pair[0] or 0)]
    text = json.dumps([resolved(m) for m in listed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
