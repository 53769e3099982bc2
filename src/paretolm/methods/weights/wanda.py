"""Wanda: weights are pruned by their magnitude times the norm of what they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Artifact, Fitter, OpenContext, knob
from paretolm.errors import FitError

from ._pruning import Pruning, calibration_pieces, lowest, lowest_of_groups


@dataclass(frozen=True, kw_only=True)
class Wanda(Pruning):
    """Zeroes in every row the weights of least |weight| times norm of the input they read.

    A Simple and Effective Pruning Approach for Large Language Models (2306.11695), section 3. The norms are taken
    over the tokens of nsamples pieces of text, layer after layer, each layer reading what the pruned ones before it
    put out. A row loses its share, or prunen of every prunem neighbours; no weight is changed otherwise. Zeros are
    held like other numbers, so this saves no bytes. weights_zeroed counts weights; sparsity and bytes are noted.

    Where we leave the official code: pieces are the fitting text's own documents, cut at the trained length, where
    it draws spans of equal length; a matrix that no token reached (an expert nobody was sent to) stays whole.
    """

    papers: ClassVar[tuple[str, ...]] = ("2306.11695",)
    baseline: ClassVar[bool] = True
    fit_knobs: ClassVar[tuple[str, ...]] = ("sparsity", "prunen", "prunem", "nsamples", "seed")

    nsamples: int = knob(128, low=1, help="pieces of text calibrated on, each of the trained length at most")
    seed: int = knob(0, low=0, help="draws the pieces")

    def fit(self, fitter: Fitter, budget: int | None) -> Artifact:
        """The norm of every input of every matrix: path -> [in]."""
        chosen = {linear.path for linear in self.chosen(fitter.view)}
        squares: dict[str, Tensor] = {}

        def see(path: str, x: Tensor) -> None:
            if path in chosen:
                squares[path] = squares.get(path, 0) + x.float().square().sum(0)

        def change(path: str, weight: Tensor) -> Tensor | None:
            return self._zeroed(weight, squares[path].sqrt()) if path in squares else None

        pieces = calibration_pieces(fitter, self.nsamples, self.seed, budget)
        fitter.layer_by_layer(pieces, see, change)
        facts = {"pieces": len(pieces), "tokens": sum(piece.shape[1] for piece in pieces)}
        return Artifact({path: total.sqrt() for path, total in squares.items()}, facts)

    def pruned(self, path: str, weight: Tensor, ctx: OpenContext) -> Tensor | None:
        if ctx.artifact is None:
            raise FitError(f"{self.name} has no norms yet; run `paretolm fit` with this recipe and a text")
        norms = ctx.artifact.tensors.get(path)
        return None if norms is None else self._zeroed(weight, norms.to(weight.device))

    def _zeroed(self, weight: Tensor, norms: Tensor) -> Tensor:
        return weight.masked_fill(least_important(weight, norms, self.sparsity, self.prunen, self.prunem), 0)


def least_important(weight: Tensor, norms: Tensor, sparsity: float, prunen: int = 0, prunem: int = 0) -> Tensor:
    """[out, in] True where a weight goes; norms [in]: int(sparsity * in) of each row, or prunen of every prunem."""
    importance = weight.float().abs() * norms.to(torch.float32)
    if prunem:
        return lowest_of_groups(importance, prunen, prunem)
    return lowest(importance, int(sparsity * weight.shape[1]))
