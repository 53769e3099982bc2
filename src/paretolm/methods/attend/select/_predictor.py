"""A predictor of attention: two matrices that make short queries and keys for many heads, and how they are learnt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice

import torch
from torch import Tensor

from paretolm.contracts import Fitter
from paretolm.errors import TextError

from ._choice import attention, own_entries, reading

SHORTEST, LONGEST = 8, 256  # tokens of a piece that is learnt from
RATE = 3e-3


def encode(features: Tensor, inner: Tensor, outer: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """(queries, keys), both [B, heads, n, r] float32, of features [B, n, f]; inner [m, f], outer [2 * heads * r, m].

    Features are brought to mean 0 and variance 1 a token; between the matrices stands SiLU."""
    unit = torch.nn.functional.layer_norm(features.float(), features.shape[-1:])
    made = torch.nn.functional.silu(unit @ inner.mT) @ outer.mT
    queries, keys = made.unflatten(-1, (2, heads, -1)).unbind(2)
    return queries.transpose(1, 2), keys.transpose(1, 2)


def predicted(queries: Tensor, keys: Tensor) -> Tensor:
    """[B, heads, Q, n] logits of queries [B, heads, Q, r] and keys [B, heads, n, r]."""
    return torch.matmul(queries, keys.mT) * queries.shape[-1] ** -0.5


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """The mean over heads and queries between predicted logits and true attention, both [B, heads, T, T], causal."""
    seen = torch.ones(truth.shape[-2:], dtype=torch.bool, device=truth.device).tril()
    logs = logits.masked_fill(~seen, float("-inf")).log_softmax(-1).masked_fill(~seen, 0)
    return -(truth * logs).sum(-1).mean()


def lesson(fitter: Fitter, ids: Tensor, dense: Sequence[int], rest: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(features [1, T, f], true attention [1, heads, T, T], a mean over each key-value head's group) of ids [1, T]."""
    shown = [fitter.layer_inputs(ids, layer).values for layer in dense]
    features = torch.cat([v.transpose(1, 2).flatten(2) for v in shown if v is not None], dim=-1)
    own = own_entries(ids.shape[1], ids.shape[1], ids.device)
    truth = []
    for layer in rest:
        inputs = fitter.layer_inputs(ids, layer)
        truth.append(attention(inputs.queries, inputs.keys, reading(ids.shape[1], own)).mean(2))
    return features, torch.cat(truth, dim=1)


def texts(
    name: str, fitter: Fitter, budget: int | None, most: int | None = None, longest: int = LONGEST
) -> list[Tensor]:
    """The first `most` pieces that the method `name` learns from. Raises TextError where there are none."""
    found = list(islice(pieces(fitter, budget, longest), most))
    if not found:
        raise TextError(f"{name}: the fitting text has no document of {SHORTEST} tokens; give it more text")
    return found


def pieces(fitter: Fitter, budget: int | None, longest: int = LONGEST) -> Iterator[Tensor]:
    """Ids [1, T] of at most `longest` tokens, of `budget` tokens in all."""
    left = budget
    for document in fitter.documents():
        for piece in document.split(longest, dim=1):
            if piece.shape[1] >= SHORTEST and (left is None or left > 0):
                left = None if left is None else left - piece.shape[1]
                yield piece


def learn(
    fitter: Fitter, dense: Sequence[int], rest: Sequence[int], inner: int, rank: int, steps: int, budget: int | None
) -> tuple[Tensor, Tensor]:
    """The two matrices after `steps` pieces of text, seen again where there are fewer. Raises TextError without any."""
    found = texts("token-butler", fitter, budget, steps)
    heads = sum(fitter.view.layers[layer].num_kv_heads for layer in rest)
    width = sum(fitter.view.layers[i].num_kv_heads * fitter.view.layers[i].value_dim for i in dense)
    with torch.inference_mode(False), torch.enable_grad():
        draw = torch.Generator().manual_seed(0)
        shapes = ((inner, width), (2 * heads * rank, inner))
        weights = [torch.randn(shape, generator=draw) * shape[1] ** -0.5 for shape in shapes]
        weights = [w.to(found[0].device).requires_grad_() for w in weights]
        optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(2, steps))
        for ids in islice(cycle(found), steps):
            features, truth = (t.clone() for t in lesson(fitter, ids, dense, rest))
            loss = cross_entropy(predicted(*encode(features, weights[0], weights[1], heads)), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    inner_matrix, outer_matrix = (w.detach() for w in weights)
    return inner_matrix, outer_matrix
