"""Cache coprocessor: latents that a small trained network adds to the cache where the prompt ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    Artifact,
    Cost,
    Edit,
    Fitter,
    Held,
    Interval,
    Kept,
    LayerCost,
    Method,
    ModelView,
    Moment,
    Need,
    Observe,
    Observed,
    OpenContext,
    Phase,
    Slot,
    Step,
    knob,
)
from paretolm.contracts.cost import POSITION_BYTES
from paretolm.errors import ConflictError

from ._coprocessor import Rotation, Weights, deliberate, layer_weights, shapes
from ._coprocessor_fit import Course, learn

WEIGHT_BYTES = 4  # float32


@dataclass
class Thought:
    """state [B|1, N, m] of the latents behind the layers below, while the end of a prompt goes through them."""

    state: Tensor | None = None


@dataclass
class CoprocessorKeep:
    """One layer of the coprocessor: reads what the layer holds when the prompt ends, and adds N entries."""

    ctx: OpenContext
    soft: Tensor | None = None  # the latents before the first layer, of which this is one then
    last: bool = False
    weights: Weights | None = None
    observe: Observe = field(default_factory=Observe)

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        if self.weights is None or step.moment is not Moment.PREFILL_END:
            return None
        thought, rope, keys = self.ctx.shared(Thought), self.ctx.view.rope, held.keys()
        state = thought.state if self.soft is None else self.soft[None]
        assert state is not None
        rotation = Rotation(observed.inv_freq, rope is None or rope.halves)
        rows = keys.shape[0]
        seen, places = (held.positions[:, 0] >= 0).expand(rows, -1), step.positions[:, -1].expand(rows)
        state, more, worth = deliberate(state, keys, held.values(), seen, places, self.weights, rotation)
        thought.state = None if self.last else state
        self.ctx.count("latents_added", rows * more.shape[2])
        return Kept(
            torch.arange(held.length, device=keys.device)[None, None],
            append_keys=more.to(keys.dtype),
            append_values=worth.to(keys.dtype),
            append_positions=places[:, None, None].expand(-1, 1, more.shape[2]),
        )

    def tensors(self) -> Iterable[Tensor]:
        if self.weights is not None:
            yield from self.weights
        if self.soft is not None:
            yield self.soft

    def select_rows(self, rows: Tensor) -> None:
        """Weights are the same for all rows, and no state outlives the prompt."""


def _open(ctx: OpenContext) -> CoprocessorKeep:
    assert ctx.artifact is not None
    assert isinstance(ctx.place, int)
    full, tensors = ctx.view.full_layers, ctx.artifact.tensors
    weights = Weights(*(x.to(ctx.device) for x in layer_weights(tensors, ctx.place)))
    soft = tensors["soft"].to(ctx.device) if ctx.place == min(full) else None
    return CoprocessorKeep(ctx, soft, ctx.place == max(full), weights)


@dataclass(frozen=True, kw_only=True)
class CacheCoprocessor(Method):
    """Adds latent entries to the cache where the prompt ends, made by a small network trained to help what follows.

    Deliberation in Latent Space via Differentiable Cache Augmentation (2412.17747), sections 2.2 and 2.3. A
    coprocessor, fed with `latents` learnt soft tokens, reads the cache that the frozen model made of the prompt; what
    it puts out is held beside that and read by every later token. It is trained (`fit`) on the model's own loss over
    the `ahead` tokens after random places of a text, `points` of them in one forward, each as if it stood alone. The
    model does not change: without latents its logits are its own.

    Where we leave the paper: there the coprocessor is a copy of the model and puts out embeddings, which the model
    reads as input tokens. Here it is a transformer of width `width` with as many layers as the model has with full
    attention. In each the soft tokens read the keys and values which that layer holds (queries turned as if they
    stood at the prompt's end; they do not read one another) and pass a feed-forward; a latent's key and value in that
    layer are the means that it read, and what its state adds to them, which begins at nothing: untrained latents
    hardly disturb the model. All latents stand at the position of the prompt's last token, and what follows
    keeps its positions. The first token after the prompt comes from logits that no latent has touched. Training sees
    one place a forward where layers have no rotary positions or attention of their own.
    """

    papers: ClassVar[tuple[str, ...]] = ("2412.17747",)
    fit_knobs: ClassVar[tuple[str, ...]] = ("latents", "width", "ahead", "points", "steps")

    latents: int = knob(16, low=0, help="entries added to each layer (N_L); 0: none")
    width: int = knob(32, low=2, help="of the coprocessor")
    ahead: int = knob(16, low=1, help="tokens after an augmentation that are learnt from (N_A)")
    points: int = knob(16, low=1, help="augmentations of a text, learnt from together")
    steps: int = knob(150, low=1, help="texts that the coprocessor is trained on, one after the other")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if Need.PLAIN_ATTENTION in view.breaks:
            raise ConflictError(
                f"cache-coprocessor learns through attention that is a softmax alone, but "
                f"{view.breaks[Need.PLAIN_ATTENTION]}"
            )
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=_open if self.latents else CoprocessorKeep,
            phase=Phase.AFTER,  # the prompt is read densely
            needs=frozenset({Need.FITTED}) if self.latents else frozenset(),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """A prompt of `tokens`, or what was generated up to there, and the latents."""
        cost = before.with_layers(view.full_layers, self._with_latents)
        if not self.latents:
            return cost
        layers = [shapes(view.layers[i], self.width).values() for i in view.full_layers]
        weights = self.latents * self.width + sum(prod(shape) for layer in layers for shape in layer)
        return replace(cost, index_bytes=cost.index_bytes + Interval.exact(WEIGHT_BYTES * weights))

    def _with_latents(self, layer: LayerCost) -> LayerCost:
        entries = layer.entries + Interval.exact(self.latents)
        return replace(layer, entries=entries, position_bytes=POSITION_BYTES)

    def fit(self, fitter: Fitter, budget: int | None) -> Artifact | None:
        """None where there are no latents to learn."""
        if not self.latents:
            return None
        tensors = learn(fitter, Course(self.latents, self.width, self.ahead, self.points, self.steps), budget)
        parameters = sum(x.numel() for x in tensors.values())
        share = parameters * WEIGHT_BYTES / fitter.view.weight_bytes
        return Artifact(tensors, {"parameters": parameters, "share": round(share, 5)})
