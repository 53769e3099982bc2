"""What pruning methods share: how much goes, by which pattern, and the matrix with zeros that stands instead.

Zeros are held like any other number: a pruned matrix takes the bytes it took before.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paretolm.contracts import Edit, Fitter, Linear, Method, ModelView, Need, OpenContext, Slot, WeightsPart, knob
from paretolm.errors import ConflictError, RecipeError, TextError

from ._matrices import around, layer_matrices


@dataclass(frozen=True, kw_only=True)
class Pruning(Method):
    """Weights of the layers' matrices become zero; embeddings, norms and the output head stay."""

    sparsity: float = knob(0.5, low=0, high=1, help="share of each matrix that becomes zero")
    prunen: int = knob(0, low=0, help="N of N:M: zeros in every prunem weights of a row; sparsity is then not read")
    prunem: int = knob(0, low=0, help="M of N:M: weights of a row that share prunen zeros; 0 for no pattern")

    def validate(self) -> None:
        if not self.prunen <= self.prunem:
            raise RecipeError(f"{self.name}: prunen={self.prunen} zeros do not fit in prunem={self.prunem} weights")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        needs = frozenset({Need.FITTED}) if self.fits else frozenset[Need]()
        yield Edit(Slot.WEIGHTS, frozenset(li.path for li in self.chosen(view)), self._part, needs=needs)

    def _part(self, ctx: OpenContext) -> WeightsPart:
        return _Prune(self, ctx)

    def chosen(self, view: ModelView) -> list[Linear]:
        """Every matrix of every layer. Raises ConflictError where the pattern does not divide one."""
        found = layer_matrices(self.name, view)
        for linear in found:
            if self.prunem and linear.in_features % self.prunem:
                raise ConflictError(
                    f"{self.name}: prunem={self.prunem} does not divide the {linear.in_features} inputs of "
                    f"{linear.path}; choose a divisor"
                )
        return found

    @abstractmethod
    def pruned(self, path: str, weight: Tensor, ctx: OpenContext) -> Tensor | None:
        """The matrix [out, in] that stands at `path` instead of `weight`; None where it is left as it is."""


@dataclass(frozen=True)
class _Prune:
    method: Pruning
    ctx: OpenContext

    def replace(self, path: str, module: nn.Module) -> nn.Module:
        assert isinstance(module, nn.Linear)
        before = module.weight.detach()
        after = self.method.pruned(path, before, self.ctx)
        done: dict[str, tuple[int, int, int]] = self.ctx.kept(dict)
        done[path] = (int(((before if after is None else after) == 0).sum()), before.numel(), before.element_size())
        self.ctx.count("weights_zeroed", max(0, done[path][0] - int((before == 0).sum())))
        self._note(done)
        return module if after is None else around(module, after)

    def _note(self, done: dict[str, tuple[int, int, int]]) -> None:
        held = sum(count * size for _, count, size in done.values())
        self.ctx.note(
            "sparsity", round(sum(zeros for zeros, *_ in done.values()) / sum(n for _, n, _ in done.values()), 6)
        )
        self.ctx.note("bytes", {"before": held, "after": held, "why": "zeros are held like other numbers"})


def lowest(scores: Tensor, count: int) -> Tensor:
    """True at the `count` smallest of each row of [rows, n], the first of equal ones."""
    order = scores.sort(dim=1, stable=True).indices[:, :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, True)


def lowest_of_groups(scores: Tensor, prunen: int, prunem: int) -> Tensor:
    """True at the prunen smallest of every prunem neighbours of a row of [out, in]."""
    return lowest(scores.reshape(-1, prunem), prunen).reshape(scores.shape)


def calibration_pieces(fitter: Fitter, nsamples: int, seed: int, budget: int | None) -> Sequence[Tensor]:
    """At most `nsamples` pieces of text, ids [1, T], drawn by seed; together at most `budget` tokens."""
    pieces = list(fitter.documents())
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen, left = [], budget
    for i in order[:nsamples]:
        piece = pieces[i] if left is None else pieces[i][:, :left]
        if piece.shape[1]:
            chosen.append(piece)
        left = None if left is None else left - piece.shape[1]
    if not chosen:
        raise TextError("the text to calibrate on has no tokens; give more text or a larger budget")
    return chosen
