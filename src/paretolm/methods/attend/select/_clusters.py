"""Keys in clusters: k-means on directions, and how much attention a cluster may get.

Shapes: n keys, C clusters, G query heads of a key-value head, Q queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ROUNDS = 20


@dataclass(frozen=True)
class Clusters:
    """centroids [B, H, C, D], the mean of their keys; sizes [B, H, C]; labels [B, H, n] int32, the cluster of each key."""

    centroids: Tensor
    sizes: Tensor
    labels: Tensor

    def rows(self, rows: Tensor) -> Clusters:
        return Clusters(self.centroids[rows], self.sizes[rows], self.labels[rows])


def cluster(keys: Tensor, num: int) -> Clusters:
    """k-means by cosine of keys [B, H, n, D], begun at `num` keys evenly spaced; a centroid is the mean of its keys as
    they are. A cluster that runs empty keeps size 0."""
    directions = torch.nn.functional.normalize(keys.float(), dim=-1)
    start = torch.linspace(0, keys.shape[2] - 1, num, device=keys.device).round().long()
    centers, labels = directions[:, :, start], None
    for _ in range(ROUNDS):
        found = torch.matmul(directions, centers.mT).argmax(-1)
        if labels is not None and torch.equal(found, labels):
            break
        labels = found
        means, sizes = _means(directions, labels, num)
        centers = torch.where(sizes[..., None] > 0, torch.nn.functional.normalize(means, dim=-1), centers)
    assert labels is not None
    centroids, sizes = _means(keys.float(), labels, num)
    return Clusters(centroids.to(keys.dtype), sizes, labels.int())


def _means(x: Tensor, labels: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """(means [B, H, num, D], sizes [B, H, num]) of x [B, H, n, D] by label."""
    shape = (*x.shape[:2], num)
    sizes = torch.zeros(shape, device=x.device).scatter_add_(-1, labels, torch.ones_like(labels, dtype=torch.float32))
    sums = torch.zeros(*shape, x.shape[-1], device=x.device)
    sums.scatter_add_(2, labels[..., None].expand_as(x), x)
    return sums / sizes.clamp(min=1)[..., None], sizes


def regroup(fine: Clusters, num: int) -> tuple[Clusters, Tensor]:
    """(clusters of the same keys whose centroids are means of near centroids, [B, H, C] the one of each centroid)."""
    above = cluster(fine.centroids, num)
    sizes = torch.zeros(*above.sizes.shape, device=fine.sizes.device)
    sizes.scatter_add_(-1, above.labels.long(), fine.sizes)
    labels = above.labels.gather(-1, fine.labels.long())
    return Clusters(above.centroids, sizes, labels), above.labels.long()


def exponents(queries: Tensor, centroids: Tensor) -> Tensor:
    """[B, H, G, Q, C] float32 scaled products with centroids. queries [B, Hq, Q, D], centroids [B, H, C, D]."""
    grouped = queries.unflatten(1, (centroids.shape[1], -1))
    return torch.matmul(grouped, centroids[:, :, None].mT).float() * queries.shape[-1] ** -0.5


def shares(queries: Tensor, clusters: Clusters) -> Tensor:
    """[B, H, Q, C]: the attention one key of a cluster would get if every key were its centroid, a mean over a
    group's heads."""
    logits = exponents(queries, clusters.centroids)
    sizes = clusters.sizes[:, :, None, None]
    total = (logits + sizes.log()).logsumexp(-1, keepdim=True)
    return (logits - total).exp().mean(2)


def shares_below(queries: Tensor, fine: Clusters, coarse: Clusters, parents: Tensor, passed: Tensor) -> Tensor:
    """[B, H, Q, C]: as `shares`, looking only at centroids whose parent [B, H, C] passed [B, H, Q, C']; what did not
    pass counts in the sum as its coarse centroid. 0 for centroids not looked at."""
    logits, above = exponents(queries, fine.centroids), exponents(queries, coarse.centroids)
    looked = passed.gather(-1, parents[:, :, None].expand(-1, -1, passed.shape[2], -1))[:, :, None]
    own = (logits + fine.sizes[:, :, None, None].log()).masked_fill(~looked, float("-inf"))
    rest = (above + coarse.sizes[:, :, None, None].log()).masked_fill(passed[:, :, None], float("-inf"))
    total = torch.cat([own, rest], dim=-1).logsumexp(-1, keepdim=True)
    return ((logits - total).exp() * looked).mean(2)


def of_keys(scores: Tensor, labels: Tensor) -> Tensor:
    """[B, H, Q, n]: each key has what its cluster has. scores [B, H, Q, C], labels [B, H, n]."""
    return scores.gather(-1, labels[:, :, None].long().expand(-1, -1, scores.shape[2], -1))
