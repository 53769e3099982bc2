"""Magnitude pruning: the smallest weights become zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from paretolm.contracts import OpenContext

from ._pruning import Pruning, lowest, lowest_of_groups


@dataclass(frozen=True, kw_only=True)
class Magnitude(Pruning):
    """Zeroes the weights of smallest magnitude of each matrix, without data.

    Learning both Weights and Connections for Efficient Neural Networks (1506.02626), section 3, in the form that
    papers on language models compare with: one share for every matrix, a threshold over the whole matrix, or prunen
    of every prunem neighbours of a row; no retraining. Zeros are held like other numbers, so this saves no bytes.
    weights_zeroed counts weights; sparsity and bytes are noted.

    Where we leave the paper: it prunes and retrains in turns, and sets the threshold by a layer's standard deviation.
    """

    papers: ClassVar[tuple[str, ...]] = ("1506.02626",)
    baseline: ClassVar[bool] = True

    def pruned(self, path: str, weight: Tensor, ctx: OpenContext) -> Tensor:
        return weight.masked_fill(smallest(weight, self.sparsity, self.prunen, self.prunem), 0)


def smallest(weight: Tensor, sparsity: float, prunen: int = 0, prunem: int = 0) -> Tensor:
    """[out, in] True where a weight goes: the int(sparsity * out * in) smallest, or prunen of every prunem."""
    size = weight.float().abs()
    if prunem:
        return lowest_of_groups(size, prunen, prunem)
    return lowest(size.reshape(1, -1), int(sparsity * size.numel())).reshape(size.shape)
