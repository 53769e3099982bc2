"""SparseGPT: the weights that stay are moved to make up for those that go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Artifact, Fitter, OpenContext, knob
from paretolm.errors import FitError, RecipeError

from ._pruning import Pruning, calibration_pieces, lowest, lowest_of_groups


@dataclass(frozen=True, kw_only=True)
class SparseGPT(Pruning):
    """Zeroes weights column by column and moves those to the right to keep the layer's output.

    SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot (2301.00774), section 3 and algorithm 1.
    With H = X X^T over the inputs of a matrix, the optimal brain surgeon's update for a weight of column j reads the
    inverse of H over the columns not yet passed, which the Cholesky factor of H^-1 holds for all j at once. What
    goes is chosen blocksize columns at a time by w^2 / [H^-1]_jj: the share of the block over all rows, or prunen
    of every prunem neighbours. Layers are calibrated in turn, each reading what the pruned ones before it put out.
    Zeros are held like other numbers, so this saves no bytes. weights_zeroed counts weights; sparsity and bytes
    are noted.

    Where we leave the official code: exactly the share goes (its threshold takes one more of each block, and one at
    sparsity 0); pieces are the fitting text's own documents, cut at the trained length; a matrix that no token
    reached stays whole. The update is worked out in float32 as there.
    """

    papers: ClassVar[tuple[str, ...]] = ("2301.00774",)
    baseline: ClassVar[bool] = True
    fit_knobs: ClassVar[tuple[str, ...]] = (
        "sparsity", "prunen", "prunem", "blocksize", "percdamp", "nsamples", "seed"
    )  # fmt: skip

    blocksize: int = knob(128, low=1, help="columns whose mask is chosen at once (B_s)")
    percdamp: float = knob(0.01, low=0, help="added to the diagonal of H, in mean diagonals")
    nsamples: int = knob(128, low=1, help="pieces of text calibrated on, each of the trained length at most")
    seed: int = knob(0, low=0, help="draws the pieces")

    def validate(self) -> None:
        super().validate()
        if self.prunem and self.blocksize % self.prunem:
            raise RecipeError(f"sparsegpt: blocksize={self.blocksize} is no multiple of prunem={self.prunem}")

    def fit(self, fitter: Fitter, budget: int | None) -> Artifact:
        """The new matrices: path -> [out, in]."""
        chosen = {linear.path for linear in self.chosen(fitter.view)}
        pieces = calibration_pieces(fitter, self.nsamples, self.seed, budget)
        products: dict[str, Tensor] = {}
        found: dict[str, Tensor] = {}

        def see(path: str, x: Tensor) -> None:
            if path in chosen:
                x = x.float() * (2 / len(pieces)) ** 0.5
                products[path] = products.get(path, 0) + x.T @ x

        def change(path: str, weight: Tensor) -> Tensor | None:
            if path not in products:
                return None
            found[path] = self._solved(path, weight, products.pop(path))
            return found[path]

        fitter.layer_by_layer(pieces, see, change)
        return Artifact(found, {"pieces": len(pieces), "tokens": sum(piece.shape[1] for piece in pieces)})

    def _solved(self, path: str, weight: Tensor, hessian: Tensor) -> Tensor:
        try:
            factor = inverse_factor(hessian, self.percdamp)
        except RuntimeError:  # torch.linalg.LinAlgError is one
            raise FitError(
                f"sparsegpt: the inputs of {path} do not span its columns, so that H has no inverse; "
                "give more text or a larger percdamp"
            ) from None
        dead = hessian.diagonal() == 0
        new = solve(
            weight.float().masked_fill(dead, 0), factor, self.sparsity, self.prunen, self.prunem, self.blocksize
        )
        return new.to(weight.dtype)

    def pruned(self, path: str, weight: Tensor, ctx: OpenContext) -> Tensor | None:
        if ctx.artifact is None:
            raise FitError(f"{self.name} has no matrices yet; run `paretolm fit` with this recipe and a text")
        new = ctx.artifact.tensors.get(path)
        return None if new is None else new.to(weight.device, weight.dtype)


def inverse_factor(hessian: Tensor, percdamp: float) -> Tensor:
    """The upper Cholesky factor U of H^-1 = U^T U, [in, in]: U[j, j:] * U[j, j] is the first row of the inverse of
    H over columns j and later. Inputs that are always zero count 1. Raises RuntimeError where H has no inverse."""
    damped = hessian.clone()
    diagonal = damped.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += percdamp * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


def solve(weight: Tensor, factor: Tensor, sparsity: float, prunen: int, prunem: int, blocksize: int) -> Tensor:
    """The pruned matrix [out, in] of `weight`; factor: see `inverse_factor`."""
    left = weight.clone()
    for start, end in _blocks(weight.shape[1], blocksize):
        part, inner = left[:, start:end], factor[start:end, start:end]
        goes = torch.zeros_like(part, dtype=torch.bool) if prunem else _share(part, inner, sparsity)
        errors = torch.zeros_like(part)
        for i in range(end - start):
            if prunem and i % prunem == 0:
                group = slice(i, i + prunem)
                goes[:, group] = lowest_of_groups(_losses(part, inner)[:, group], prunen, prunem)
            errors[:, i] = torch.where(goes[:, i], part[:, i], 0) / inner[i, i]
            part[:, i:] -= errors[:, i, None] * inner[i, i:]
            part[:, i].masked_fill_(goes[:, i], 0)  # what is left of the subtraction is rounding
        left[:, end:] -= errors @ factor[start:end, end:]
    return left


def _blocks(columns: int, size: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + size, columns)) for start in range(0, columns, size))


def _losses(part: Tensor, factor: Tensor) -> Tensor:
    """What each weight costs if it alone goes: w^2 / [H^-1]_jj."""
    return part.square() / factor.diagonal().square()


def _share(part: Tensor, factor: Tensor, sparsity: float) -> Tensor:
    """True at the share of least loss, over all rows of the block."""
    return lowest(_losses(part, factor).reshape(1, -1), int(sparsity * part.numel())).reshape(part.shape)
