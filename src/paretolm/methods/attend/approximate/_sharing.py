"""Attention matrices that several layers read: how alike they are, who reads whose, and attention by them.

Layers are numbered as in the model; a layer that reads another's matrix follows it, its leader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from paretolm.contracts import Altered, Artifact, Fitter
from paretolm.methods.attend.select._choice import probabilities

LOOKED_AT = 256  # tokens of a piece whose attention is compared


def matrix(queries: Tensor, keys: Tensor, scaling: float, allowed: Tensor | None) -> Tensor:
    """[B, Hq, Q, n] float32. queries [B, Hq, Q, D], the last Q of the n entries; keys [B, H, n, D]; allowed
    [B|1, 1, Q, n], or None for causality."""
    if allowed is None:
        size, length = queries.shape[2], keys.shape[2]
        allowed = torch.ones(size, length, dtype=torch.bool, device=queries.device).tril(length - size)
    return probabilities(queries, keys, scaling, allowed)


def reading(probability: Tensor, values: Tensor) -> Tensor:
    """[B, Hq, Q, Dv] of probability [B, Hq, Q, n] and values [B, H, n, Dv]."""
    grouped = probability.to(values.dtype).unflatten(1, (values.shape[1], -1))
    return torch.matmul(grouped, values[:, :, None]).flatten(1, 2)


def reading_as(probability: Tensor, heads: Tensor, values: Tensor) -> Tensor:
    """`reading`, the i-th query head by the matrix of head heads[i]; no matrix is copied."""
    groups = len(heads) // values.shape[1]
    own = [probability[:, head].to(values.dtype) @ values[:, i // groups] for i, head in enumerate(heads.tolist())]
    return torch.stack(own, dim=1)


@dataclass(frozen=True)
class Sharing:
    """leaders: follower -> leader; heads: follower -> [Hq], which head of the leader each of its own reads as."""

    leaders: Mapping[int, int] = field(default_factory=dict)
    heads: Mapping[int, Tensor] = field(default_factory=dict)

    def last(self, leader: int) -> int:
        """The last layer that reads the matrix of `leader`."""
        return max(follower for follower, own in self.leaders.items() if own == leader)

    def tensors(self) -> dict[str, Tensor]:
        return {f"heads.{layer}": heads for layer, heads in self.heads.items()}

    def facts(self) -> dict[str, int]:
        return {str(layer): leader for layer, leader in self.leaders.items()}

    @classmethod
    def of(cls, artifact: Artifact, device: torch.device) -> Sharing:
        leaders = {int(layer): int(leader) for layer, leader in artifact.facts["leaders"].items()}
        return cls(leaders, {layer: artifact.tensors[f"heads.{layer}"].to(device) for layer in leaders})


@dataclass
class Matrices:
    """The matrices of one forward [B, Hq, Q, n], each until the last of its followers has read it."""

    sharing: Sharing
    kept: dict[int, Tensor] = field(default_factory=dict)

    def output(
        self,
        layer: int,
        queries: Tensor,
        keys: Callable[[], Tensor],
        values: Callable[[], Tensor],
        scaling: float,
        allowed: Callable[[], Tensor | None],
    ) -> Tensor | None:
        """[B, Hq, Q, Dv]; None for a layer that neither leads nor follows. A follower's queries and keys are not
        read."""
        leader = self.sharing.leaders.get(layer)
        if leader is None:
            if layer not in self.sharing.leaders.values():
                return None
            self.kept[layer] = found = matrix(queries, keys(), scaling, allowed())
            return reading(found, values())
        found = self.kept.pop(leader) if layer == self.sharing.last(leader) else self.kept[leader]
        return reading_as(found, self.sharing.heads[layer], values())

    def instead(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor | None:
        """As `contracts.Altered` asks for attention."""
        return self.output(layer, queries, lambda: keys, lambda: values, scaling, lambda: None)


# --- how alike layers are ------------------------------------------------------------------------


def agreement(matrices: Tensor) -> Tensor:
    """[L, L, Hq, Hq]: the cosine of each head of one layer with each of another. matrices [L, Hq, Q, n]."""
    flat = torch.nn.functional.normalize(matrices.flatten(2), dim=-1)
    return torch.einsum("agx,bhx->abgh", flat, flat)


def look(fitter: Fitter, layers: Sequence[int], pieces: Sequence[Tensor]) -> Tensor:
    """[L, L, Hq, Hq] the mean agreement of `layers` over pieces of ids [1, T]."""
    total: Tensor | None = None
    for ids in pieces:
        seen: dict[int, Tensor] = {}

        def note(
            layer: int, queries: Tensor, keys: Tensor, values: Tensor, scaling: float, to: dict[int, Tensor] = seen
        ) -> None:
            if layer in layers:
                to[layer] = matrix(queries, keys, scaling, None)[0].detach()

        fitter.altered(ids[:, :LOOKED_AT], Altered(attention=note))
        found = agreement(torch.stack([seen[layer] for layer in layers]))
        total = found if total is None else total + found
    assert total is not None
    return total / len(pieces)


def pairing(agreement: Tensor, matched: bool) -> Tensor:
    """[L, L, Hq] the head of the first layer that each head of the second reads as: the one that agrees best, or the
    one of its own number. agreement [L, L, Hq, Hq]."""
    if matched:
        return agreement.argmax(2)
    return torch.arange(agreement.shape[-1], device=agreement.device).expand(*agreement.shape[:2], -1)


def likeness(agreement: Tensor, pairs: Tensor) -> Tensor:
    """[L, L] mean over the heads of the second layer of how much each agrees with its pair [L, L, Hq] of the first."""
    return agreement.gather(2, pairs[:, :, None]).mean((2, 3))


# --- who follows ---------------------------------------------------------------------------------


def most_alike(likeness: Sequence[Sequence[float]], count: int) -> dict[int, int]:
    """{follower: leader} for `count` followers among layers 0..L-1: layers fall into groups of neighbours, the first
    of each leads, and the sum over followers of likeness[leader][follower] is the largest there is."""
    best: dict[tuple[int, int], tuple[float, dict[int, int]]] = {(0, 0): (0.0, {})}  # (layers, followers) so far
    for end in range(1, len(likeness) + 1):
        for start in range(end):
            group = dict.fromkeys(range(start + 1, end), start)
            gain = sum(likeness[start][layer] for layer in group)
            for before in range(count - len(group) + 1):
                if (start, before) not in best:
                    continue
                score, leaders = best[start, before]
                key = (end, before + len(group))
                if key not in best or score + gain > best[key][0]:
                    best[key] = score + gain, leaders | group
    return best[len(likeness), count][1]


def drawn(size: int, count: int, seed: int) -> dict[int, int]:
    """{follower: leader} for `count` of the layers 1..size-1, drawn; each follows the nearest before it that does not."""
    order = torch.randperm(size - 1, generator=torch.Generator().manual_seed(seed)) + 1
    followers = set(order[:count].tolist())
    return {f: max(i for i in range(f) if i not in followers) for f in sorted(followers)}
