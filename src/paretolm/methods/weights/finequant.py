"""FineQuant: weights in 8 or 4 bits, with groups as fine as each matrix needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from paretolm.contracts import (
    Cost,
    Edit,
    Interval,
    Linear,
    Method,
    ModelView,
    OpenContext,
    Slot,
    WeightsPart,
    knob,
)
from paretolm.errors import ConflictError, RecipeError

from ._matrices import layer_matrices
from ._packing import QuantLinear, pack, packed_bytes
from ._rounding import quantize


@dataclass(frozen=True, kw_only=True)
class FineQuant(Method):
    """Weights in 8 or 4 bits without data; each matrix gets groups as fine as its weights need.

    FineQuant: Unlocking Efficiency with Fine-Grained Weight-Only Quantization for LLMs (2308.09723). Symmetric
    integers with one 16-bit scale a group of inputs of one output. An outlier widens the range of all that share
    its scale, so 4-bit groups start as whole columns and are halved while halving narrows the mean range by alpha
    or more. Eight bits do without: whole columns. Embeddings, norms and the output head stay as they are.
    weights_quantized counts weights; group_sizes and bytes are noted.

    Where we leave the paper:
    - The paper gives its halving rule in words; the mean over groups of the largest magnitude is our reading.
    - Its blocks go down to the 64 that its GPU kernel wants; ours may be smaller, as our matrices are.
    - A 4-bit scale has the sign that lets the largest weight use the longer side of -8..7, and is then the best
      of nine in least squares; scale="range" is the paper's max|w| / 2^(bits-1). Neither needs data.
    - A CPU unpacks tile by tile into float32; there is no fused kernel, so this saves memory and costs time.
    """

    papers: ClassVar[tuple[str, ...]] = ("2308.09723",)

    bits: int = knob(4, choices=(8, 4), help="bits a weight")
    group_size: int | None = knob(None, low=-1, help="weights that share a scale; none: chosen by matrix, -1: a column")
    alpha: float = knob(0.04, low=0, high=1, help="alpha: share by which halving must narrow the mean range")
    smallest: int = knob(16, low=2, help="groups are not halved below this")
    scale: str = knob("least-squares", choices=("least-squares", "range"), help="how a 4-bit scale is found")

    def validate(self) -> None:
        if self.group_size is not None and -1 < self.group_size < 2:
            raise RecipeError(f"finequant: group_size is -1 (a column) or at least 2, not {self.group_size}")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.WEIGHTS, frozenset(linear.path for linear in self._chosen(view)), self._part)

    def _part(self, ctx: OpenContext) -> WeightsPart:
        return _Quantize(self, ctx)

    def _chosen(self, view: ModelView) -> list[Linear]:
        """Every matrix of every layer whose inputs pack in pairs. Raises ConflictError."""
        found = [linear for linear in layer_matrices(self.name, view) if linear.in_features % 2 == 0]
        for linear in found:
            if self.group_size and linear.in_features % self._width(linear.in_features, self.group_size):
                raise ConflictError(
                    f"finequant: group_size={self.group_size} does not divide the {linear.in_features} inputs of "
                    f"{linear.path}; leave it out, or choose a divisor"
                )
        return found

    def _width(self, in_features: int, group: int) -> int:
        return in_features if group == -1 else min(group, in_features)

    def group_of(self, weight: Tensor) -> int:
        """The group size of a matrix [out, in]."""
        if self.group_size is not None or self.bits == 8:
            return self._width(weight.shape[1], self.group_size or -1)
        return adaptive_group(weight, self.alpha, self.smallest)

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Exact for given groups; from columns to the smallest groups where they are chosen by matrix."""
        change = Interval(0, 0)
        for li in self._chosen(view):
            dense = li.bytes * li.in_features // (li.in_features + li.bias)
            coarse = fine = self._width(li.in_features, self.group_size or -1)
            if self.group_size is None and self.bits == 4:
                *_, fine = halvings(li.in_features, self.smallest)
            ends = (packed_bytes(li.out_features, li.in_features, self.bits, g) - dense for g in (coarse, fine))
            change = change + Interval(*ends)
        return replace(before, weight_bytes=before.weight_bytes + change)

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any]) -> nn.Module:
        return QuantLinear.empty(**spec)


@dataclass(frozen=True)
class _Quantize:
    method: FineQuant
    ctx: OpenContext

    def replace(self, path: str, module: nn.Module) -> nn.Module:
        assert isinstance(module, nn.Linear)
        weight = module.weight.detach()
        group = self.method.group_of(weight)
        codes, scales = quantize(weight, self.method.bits, group, self.method.scale == "least-squares")
        self.ctx.count("weights_quantized", weight.numel())
        self._note(path, module, group)
        return QuantLinear(pack(codes, self.method.bits), scales, self.method.bits, module.bias)

    def _note(self, path: str, module: nn.Linear, group: int) -> None:
        weight = module.weight
        done: dict[str, tuple[int, int, int]] = self.ctx.kept(dict)
        packed = packed_bytes(module.out_features, module.in_features, self.method.bits, group)
        done[path] = (group, weight.numel() * weight.element_size(), packed)
        groups = Counter(group for group, _, _ in done.values())
        self.ctx.note("group_sizes", {path: group for path, (group, _, _) in done.items()})
        self.ctx.note("matrices_by_group", {str(group): groups[group] for group in sorted(groups)})
        self.ctx.note(
            "bytes", {"before": sum(b for _, b, _ in done.values()), "after": sum(a for *_, a in done.values())}
        )


# --- the mathematics -----------------------------------------------------------------------------


def halvings(columns: int, smallest: int) -> Iterator[int]:
    """The group sizes to try, from the whole column down."""
    yield columns
    while columns % 2 == 0 and columns // 2 >= smallest:
        columns //= 2
        yield columns


def mean_range(weight: Tensor, group: int) -> float:
    """The largest magnitude of a group, averaged over the groups of [out, in]."""
    return float(weight.reshape(-1, group).abs().amax(1).double().mean())


def adaptive_group(weight: Tensor, alpha: float, smallest: int) -> int:
    """Halves the group while that narrows the mean range of [out, in] by a share of alpha or more."""
    sizes = halvings(weight.shape[1], smallest)
    chosen = next(sizes)
    width = mean_range(weight, chosen)
    for size in sizes:
        narrower = mean_range(weight, size)
        if narrower > (1 - alpha) * width:
            break
        chosen, width = size, narrower
    return chosen
