"""Low-rank changes of matrices (LoRA, 2106.09685): a pair beside each matrix, learnt in `fit`, merged into it after.

Matrices and pairs are named by path, as `ModelView.linears` names them. A pair adds up @ down to its matrix, so that
a method that learns one hands `fitter.altered` the sums (`learn` makes them anew at every step) and puts `Merging` in
its WEIGHTS edit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from paretolm.contracts import Artifact, Fitter, ModelView, OpenContext, WeightsPart
from paretolm.errors import ConflictError, FitError, TextError

from .weights._matrices import around

SHORTEST = 8  # tokens of a text that is learnt from
WARM = 0.1  # of the steps, in which the rate rises


class Pair(NamedTuple):
    """down [r, in], up [out, r]."""

    down: Tensor
    up: Tensor


Matrices = Mapping[str, Tensor]
Pairs = Mapping[str, Pair]
Lesson = Callable[[int, Matrices], Tensor]  # (step, matrices as they now are) -> the loss


def attention_matrices(name: str, view: ModelView, layers: Iterable[int]) -> list[str]:
    """Paths of every matrix of attention in these layers. Raises ConflictError for a layer that has none."""
    found = []
    for layer in sorted(layers):
        at = view.layers[layer].attention_path
        own = [li.path for li in view.linears if at and li.path.startswith(at + ".") and not li.tied]
        if not own:
            raise ConflictError(
                f"{name} tunes the matrices of attention, and layer {layer} of {view.architecture} holds none as "
                "nn.Linear"
            )
        found += own
    return found


def matrices(fitter: Fitter, paths: Iterable[str]) -> dict[str, Tensor]:
    """path -> [out, in], as the model has them."""
    wanted, found = set(paths), dict[str, Tensor]()

    def keep(path: str, weight: Tensor) -> None:
        if path in wanted:
            found[path] = weight

    few = next(iter(fitter.documents()))[:, :2]
    fitter.layer_by_layer([few], lambda _path, _x: None, keep)
    return found


def fresh(base: Matrices, rank: int, seed: int = 0) -> dict[str, Pair]:
    """Pairs that add nothing yet, in float32: down is drawn, of variance 1 / in, and up is zero."""
    draw = torch.Generator().manual_seed(seed)
    pairs = {}
    for path, weight in base.items():
        num_out, num_in = weight.shape
        down = torch.randn(rank, num_in, generator=draw) * num_in**-0.5
        pairs[path] = Pair(down.to(weight.device), torch.zeros(num_out, rank, device=weight.device))
    return pairs


def merged(weight: Tensor, pair: Pair) -> Tensor:
    """weight + up @ down, [out, in], summed in float32."""
    return (weight.float() + pair.up @ pair.down).to(weight.dtype)


def learn(base: Matrices, pairs: Pairs, lesson: Lesson, steps: int, rate: float) -> tuple[dict[str, Pair], list[float]]:
    """(the pairs after `steps` of AdamW on `lesson`, the loss of each step). The rate rises, then falls as a cosine.

    Raises FitError where the loss is no number."""
    losses = []
    with torch.inference_mode(False), torch.enable_grad():
        own = {path: Pair(*(part.clone().requires_grad_() for part in pair)) for path, pair in pairs.items()}
        leaves = [part for pair in own.values() for part in pair]
        optimizer = torch.optim.AdamW(leaves, lr=rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _scale(step, steps))
        for step in range(steps):
            loss = lesson(step, {path: merged(base[path], pair) for path, pair in own.items()})
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise FitError(f"the loss of step {step + 1} is {losses[-1]}: give a smaller learning rate")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(leaves, 1.0)
            optimizer.step()
            schedule.step()
    return {path: Pair(*(part.detach() for part in pair)) for path, pair in own.items()}, losses


def _scale(step: int, steps: int) -> float:
    warm = max(1, round(WARM * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def next_token_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Mean nats a token that logits [1, T, V] give to what follows in ids [1, T]."""
    return nn.functional.cross_entropy(logits[0, :-1].float(), ids[0, 1:])


def windows(fitter: Fitter, length: int, budget: int | None = None) -> list[Tensor]:
    """Ids [1, length], documents one after the other and cut; the last may be shorter. Raises TextError without any.

    budget: tokens in all."""
    with torch.inference_mode(False):
        text = torch.cat([ids.clone() for ids in fitter.documents()], dim=1)[:, :budget]
        found = [piece.clone() for piece in text.split(length, dim=1) if piece.shape[1] >= SHORTEST]
    if not found:
        raise TextError(f"there are fewer than {SHORTEST} tokens to learn from; give more text or a larger budget")
    return found


def to_tensors(pairs: Pairs) -> dict[str, Tensor]:
    """As an artifact holds them."""
    return {f"{path}.{name}": part for path, pair in pairs.items() for name, part in pair._asdict().items()}


def pair_at(artifact: Artifact, path: str) -> Pair:
    down, up = (artifact.tensors[f"{path}.{name}"] for name in Pair._fields)
    return Pair(down, up)


@dataclass(frozen=True)
class Merging(WeightsPart):
    """The WEIGHTS part: the artifact's pair is added to the matrix, which takes the bytes it took before."""

    ctx: OpenContext

    def replace(self, path: str, module: nn.Module) -> nn.Module:
        assert isinstance(module, nn.Linear)
        if self.ctx.artifact is None:
            raise FitError(f"{self.ctx.method} has learnt nothing yet; run `paretolm fit` with this recipe and a text")
        before = module.weight.detach()
        pair = Pair(*(part.to(before.device) for part in pair_at(self.ctx.artifact, path)))
        after = merged(before, pair)
        self.ctx.count("matrices_tuned", int(not torch.equal(before, after)))
        return around(module, after)
