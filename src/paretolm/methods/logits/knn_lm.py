"""kNN-LM: the model's next-token distribution mixed with that of its nearest neighbours in a text.

'KNN-LM Does Not Improve Open-ended Text Generation', arXiv 2305.14625 (the method: 'Generalization through
Memorization', 1911.00172, section 2). A datastore holds a key for each place of a text, the hidden state there, and
the token that followed. The k nearest keys of the current hidden state vote for their tokens with
softmax(-squared L2 distance / temperature), and p = (1 - lmbda) p_LM + lmbda p_kNN.

Where we leave the papers: keys are the final hidden states, after the last norm, where they take the input to the
last layer's feed-forward; the search is exact, where they ask an approximate index.

Shapes: N keys, d hidden size, Q queries, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    WHOLE,
    Artifact,
    Cost,
    Edit,
    Fitter,
    Interval,
    Method,
    ModelView,
    Need,
    OpenContext,
    Slot,
    knob,
)
from paretolm.errors import FitError, TextError

BLOCK = 8192  # keys a matrix product: bounds the fp32 copy of the fp16 keys and the table of distances


@dataclass(frozen=True, kw_only=True)
class KnnLM(Method):
    """Lets the nearest places of a text vote on the next token."""

    papers: ClassVar[tuple[str, ...]] = ("2305.14625", "1911.00172")
    fit_knobs: ClassVar[tuple[str, ...]] = ("max_keys",)

    lmbda: float = knob(
        0.25, low=0, high=1, help="weight of the neighbours' distribution (lambda); 0 is the plain model"
    )
    k: int = knob(1024, low=1, help="neighbours (k)")
    temperature: float = knob(1.0, low=1e-6, help="divides the squared distances before the softmax")
    max_keys: int = knob(200_000, low=1, help="places of the text kept at most")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.LOGITS, WHOLE, partial(Neighbours, self), needs=frozenset({Need.FITTED, Need.HIDDEN}))

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        entry = view.hidden_size * torch.float16.itemsize + torch.int32.itemsize
        return replace(before, index_bytes=before.index_bytes + Interval(entry, self.max_keys * entry))

    def fit(self, fitter: Fitter, budget: int | None) -> Artifact:
        limit = self.max_keys if budget is None else min(self.max_keys, budget)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        left = limit
        for document in fitter.documents():
            ids = document[:, : left + 1]
            if ids.shape[1] < 2:
                continue
            _, hidden = fitter.forward(ids)
            keys.append(hidden[0, :-1].to("cpu", torch.float16))
            values.append(ids[0, 1:].to("cpu", torch.int32))
            left -= ids.shape[1] - 1
            if left <= 0:
                break
        if not keys:
            raise TextError("knn-lm: the fitting text has no document of two tokens or more; give it more text")
        store = torch.cat(keys)
        if not bool(store.isfinite().all()):
            raise FitError("knn-lm: the model's hidden states overflow 16-bit floats, so they cannot serve as keys")
        return Artifact({"keys": store, "values": torch.cat(values)}, {"keys": store.shape[0]})


def nearest_keys(queries: Tensor, keys: Tensor, k: int, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """(squared distances, indices), both [Q, min(k, N)], nearest first. queries [Q, d] fp32, keys [N, d] any dtype."""
    distances = queries.new_empty(queries.shape[0], 0)
    indices = torch.empty(queries.shape[0], 0, dtype=torch.long, device=queries.device)
    for start in range(0, keys.shape[0], block):
        part = keys[start : start + block].to(queries.dtype)
        ranked = part.square().sum(-1) - 2 * queries @ part.T  # |q|^2 is the same for all
        near, at = ranked.topk(min(k, part.shape[0]), dim=1, largest=False)
        distances, indices = torch.cat([distances, near], dim=1), torch.cat([indices, at + start], dim=1)
        distances, best = distances.topk(min(k, distances.shape[1]), dim=1, largest=False)
        indices = indices.gather(1, best)
    return (distances + queries.square().sum(-1, keepdim=True)).clamp(min=0), indices


def retrieval_distribution(distances: Tensor, tokens: Tensor, vocab_size: int, temperature: float) -> Tensor:
    """p_kNN [Q, V] from squared distances [Q, k] and the tokens [Q, k] that followed."""
    weights = (-distances / temperature).softmax(dim=-1)
    return weights.new_zeros(distances.shape[0], vocab_size).scatter_add_(1, tokens.long(), weights)


def entropy(probabilities: Tensor) -> Tensor:
    """[Q] nats of probabilities [Q, V]."""
    return torch.special.entr(probabilities).sum(dim=-1)


def mix(logits: Tensor, retrieved: Tensor, lmbda: float) -> Tensor:
    """[Q, V] log((1 - lmbda) p_LM + lmbda p_kNN) from logits and p_kNN, both [Q, V]; 0 < lmbda <= 1."""
    plain = logits.log_softmax(dim=-1) + (math.log1p(-lmbda) if lmbda < 1 else -math.inf)
    return torch.logaddexp(plain, retrieved.log() + math.log(lmbda))


class _Entropy:
    """Running mean over a request."""

    def __init__(self) -> None:
        self.total, self.num = 0.0, 0

    def add(self, values: Tensor) -> float:
        self.total += float(values.sum())
        self.num += values.numel()
        return self.total / self.num


class Neighbours:
    """Mixes the neighbours' distribution into the logits of every token of a forward."""

    def __init__(self, method: KnnLM, ctx: OpenContext) -> None:
        if ctx.artifact is None:
            raise FitError(f"{method.name} has no datastore yet; run `paretolm fit` with this recipe and a text")
        self.method, self.ctx = method, ctx
        self.keys = ctx.artifact.tensors["keys"].to(ctx.device)
        self.values = ctx.artifact.tensors["values"].to(ctx.device)

    def tensors(self) -> Iterable[Tensor]:
        return self.keys, self.values

    def __call__(self, ids: Tensor, hidden: Tensor, logits: Tensor) -> Tensor:
        if self.method.lmbda == 0:
            return logits
        queries = hidden.reshape(-1, hidden.shape[-1]).float()
        distances, index = nearest_keys(queries, self.keys, self.method.k)
        retrieved = retrieval_distribution(distances, self.values[index], logits.shape[-1], self.method.temperature)
        self.ctx.count("neighbours_used", index.numel())
        self.ctx.note("retrieval_entropy", round(self.ctx.shared(_Entropy).add(entropy(retrieved)), 4))
        flat = logits.reshape(-1, logits.shape[-1]).float()
        return mix(flat, retrieved, self.method.lmbda).to(logits.dtype).reshape(logits.shape)
