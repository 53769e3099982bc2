"""Teaching the estimators of all layers what the frozen model attends to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice

import torch
from torch import Tensor

from paretolm.contracts import Altered, Fitter, LayerInputs
from paretolm.methods.attend.select._choice import probabilities
from paretolm.methods.attend.select._predictor import texts

from ._cells import densities, entries, grouped_top, pooled, sizes
from ._estimator import Estimate, Past, Shape, Weights, decode, knot_of, see

STRETCH = 256  # queries of a piece whose maps are drawn
RATE = 3e-3
FEWEST = 8  # entries a query that are read while learning; the most is a quarter of the piece


def scale(estimate: Estimate, density: Tensor, size: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """(how much what is read counts, how far it stands for the whole), both [B, Hq, Q, 1] from 0 to 1.

    The second starts from the estimated attention on the chosen cells."""
    read = torch.where(chosen, density.exp() * size, 0).sum(-1).clamp(1e-6, 1 - 1e-6)
    known = torch.logit(read) + estimate.scales[..., 1]
    return estimate.scales[..., :1].sigmoid(), known.sigmoid()[..., None]


def weighted(shares: Tensor, values: Tensor) -> Tensor:
    """[B, Hq, Q, Dv] of shares [B, Hq, Q, n] and values [B, H, n, Dv]."""
    return torch.matmul(shares.unflatten(1, (values.shape[1], -1)), values[:, :, None].float()).flatten(1, 2)


def mixed(read: Tensor, mean: Tensor, scales: tuple[Tensor, Tensor]) -> Tensor:
    """What is read [B, Hq, Q, Dv] and the mean of all values [B, H, Q, Dv], in the shares that `scale` gives."""
    counts, whole = scales
    return whole * counts * read + (1 - whole) * mean.repeat_interleave(read.shape[1] // mean.shape[1], dim=1)


def loss(weights: Weights, shape: Shape, inputs: LayerInputs, rows: slice, k: int) -> Tensor:
    """Cross-entropy of the map of some rows with the true attention, and how far the output is from the true one, as
    a share of it, when k entries are read."""
    assert inputs.values is not None
    past = Past()
    past.begin(shape, 1, inputs.queries.device)
    seen = see(weights, shape, (inputs.queries, inputs.keys, inputs.values), inputs.scaling, past)
    length = inputs.keys.shape[2]
    tokens = torch.arange(1, length + 1, device=inputs.keys.device)[rows]
    visible = torch.arange(length, device=tokens.device) < tokens[:, None]
    queries, size = inputs.queries[:, :, rows], sizes(tokens, shape.cells)
    truth = probabilities(queries, inputs.keys, inputs.scaling, visible)
    estimate = decode(weights, shape, seen.inputs[:, :, rows], tokens, past)
    density = densities(estimate.logits, size)
    entropy = -(pooled(truth, tokens, shape.cells) * density.masked_fill(size == 0, 0)).sum(-1).mean()
    chosen = grouped_top(density.detach(), size, torch.full_like(tokens, k))
    read = probabilities(queries, inputs.keys, inputs.scaling, entries(chosen, tokens, length))
    expected = weighted(truth, inputs.values)
    found = mixed(weighted(read, inputs.values), seen.mean[:, :, rows], scale(estimate, density, size, chosen))
    return entropy + (found - expected).square().sum() / expected.square().sum().clamp(min=1e-9)


def falloff(inputs: LayerInputs, knots: int) -> Tensor:
    """[Hq, knots] logarithm of the mean attention at the distances around each knot; of none, that of the last."""
    places = torch.arange(inputs.keys.shape[2], device=inputs.keys.device)
    distance = places[:, None] - places
    truth = probabilities(inputs.queries, inputs.keys, inputs.scaling, distance >= 0)[0].flatten(1)
    at, pairs = knot_of(distance, knots).flatten(), (distance >= 0).flatten()
    found: list[Tensor] = []
    for knot in range(knots):
        near = pairs & ((at - knot).abs() <= 1)
        found.append(truth[:, near].mean(1).clamp(min=1e-7).log() if bool(near.any()) else found[-1])
    return torch.stack(found, dim=1)


def learn(fitter: Fitter, shapes: Sequence[Shape], steps: int, budget: int | None) -> tuple[dict[str, Tensor], int]:
    """(weights of all layers as `layer.name`, how many tokens were shown) after `steps` pieces of text, seen again where
    there are fewer. Raises TextError without any."""
    found = texts("sea-attention", fitter, budget, steps, fitter.view.trained_length)
    draw = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.enable_grad():
        made = {shape.layer.index: shape.drawn(draw) for shape in shapes}
        shown = shown_inputs(fitter, found[0].clone())
        for shape in shapes:
            made[shape.layer.index]["far"] = falloff(shown[shape.layer.index], shape.knots)
        for one in made.values():
            one.update({name: t.to(found[0].device).requires_grad_(name != "towards") for name, t in one.items()})
        learnt = [t for one in made.values() for t in one.values() if t.requires_grad]
        optimizer = torch.optim.AdamW(learnt, lr=RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(2, steps), pct_start=0.1)
        for ids in islice(cycle(found), steps):
            optimizer.zero_grad()
            for part in _losses(fitter, shapes, made, ids.clone(), draw):
                part.backward()
            torch.nn.utils.clip_grad_norm_(learnt, len(shapes) ** 0.5)
            optimizer.step()
            schedule.step()
    tensors = {f"{layer}.{name}": t.detach() for layer, one in made.items() for name, t in one.items()}
    return tensors, sum(ids.shape[1] for ids in islice(cycle(found), steps))


def _losses(
    fitter: Fitter, shapes: Iterable[Shape], made: dict[int, dict[str, Tensor]], ids: Tensor, draw: torch.Generator
) -> Iterator[Tensor]:
    """One layer after the other, of a stretch of ids [1, T], with some number of entries to read."""
    length = ids.shape[1]
    start = int(torch.randint(0, max(1, length - STRETCH + 1), (1,), generator=draw))
    share = float(torch.rand(1, generator=draw))
    k = round(FEWEST * max(1.0, length / 4 / FEWEST) ** share)
    shown = shown_inputs(fitter, ids)
    for shape in shapes:
        yield loss(made[shape.layer.index], shape, shown[shape.layer.index], slice(start, start + STRETCH), k)


def shown_inputs(fitter: Fitter, ids: Tensor) -> dict[int, LayerInputs]:
    """What attention of every full layer sees of ids [1, T], by one forward."""
    shown: dict[int, LayerInputs] = {}

    def keep(layer: int, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> None:
        shown[layer] = LayerInputs(queries, keys, scaling, values)

    fitter.altered(ids, Altered(attention=keep))
    return shown
