"""HyperAttention: sorted hashing finds large entries of the attention matrix, a sample of keys stands for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Edit, Held, Method, ModelView, Need, OpenContext, Slot, Step, knob
from paretolm.errors import ConflictError

from ._prefill import PROMPT
from ._sorted import Sketch


@dataclass
class SketchedPrefill:
    """The ATTEND part."""

    ctx: OpenContext
    method: HyperAttention

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.method.seed * 1000 + int(self.ctx.place))

    def compute(
        self, queries: Tensor, held: Held, allowed: Callable[[], Tensor | None], scaling: float, step: Step
    ) -> Tensor | None:
        size, least = step.num_queries, self.method.min_seq_len
        if step.moment not in PROMPT or size <= 1 or held.length <= least or allowed() is not None:
            return None
        sketch = self._sketch(queries.shape[-1], queries.device)
        batch, heads, groups = *queries.shape[:2], queries.shape[1] // held.keys().shape[1]
        q = queries.flatten(0, 1)
        k, v = (x.repeat_interleave(groups, dim=1).flatten(0, 1) for x in (held.keys(), held.values()))
        first = held.length - size
        found = sketch.causal(q, k[:, first:], v[:, first:], scaling)
        pairs = sketch.pairs(size, size, True)
        if first:
            found = found.merge(sketch.unmasked(q, k[:, :first], v[:, :first], scaling))
            pairs += sketch.pairs(size, first, False)
        every = size * (first + held.length + 1) // 2
        self.ctx.count("pairs_unread", max(0, len(q) * (every - pairs)))
        return found.output.unflatten(0, (batch, heads))

    def _sketch(self, width: int, device: torch.device) -> Sketch:
        knobs = self.method
        directions = torch.randn(width, knobs.lsh_num_projs, generator=self.generator).to(device)
        return Sketch(directions, knobs.block_size, knobs.sample_size, knobs.min_seq_len, self.generator)


@dataclass(frozen=True, kw_only=True)
class HyperAttention(Method):
    """Reads long prompts in near-linear time: keys that hash like a query exactly, a random sample for all the others.

    HyperAttention: Long-context Attention in Near-Linear Time (2310.05869), section 3. Causal attention is cut in
    halves again and again: up to `min_seq_len` entries it is exact, and what a later half reads of an earlier one is
    estimated. Queries and keys are sorted by the signs of `lsh_num_projs` random products, each block of sorted
    queries reads the block of sorted keys at its place, and `sample_size` random keys, weighted, stand for those
    outside. What follows the prompt is read densely. pairs_unread counts pairs of query and key.

    Where we leave the official code: the sample is drawn without replacement, so that one of all keys is exact;
    where queries and keys are not of one number (a prompt read in pieces) the sketch stands for all earlier keys;
    sequences of odd length are cut unevenly instead of padded. Padded batches are refused.
    """

    papers: ClassVar[tuple[str, ...]] = ("2310.05869",)

    lsh_num_projs: int = knob(7, low=1, high=30, help="random products whose signs are the hash")
    block_size: int = knob(256, low=1, help="keys of a sorted block (b)")
    sample_size: int = knob(256, low=1, help="sampled keys (m)")
    min_seq_len: int = knob(4096, low=1, help="entries up to which attention is exact")
    num_patch_layers: int | None = knob(None, low=1, help="how many of the last layers; none: all")
    seed: int = knob(0, low=0, help="of hashes and samples")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        full = sorted(view.full_layers)
        if self.num_patch_layers is not None and self.num_patch_layers > len(full):
            raise ConflictError(
                f"hyper-attention: num_patch_layers={self.num_patch_layers}, but this model has {len(full)} layers with "
                "full attention; give that many or fewer"
            )
        yield Edit(
            slot=Slot.ATTEND,
            where=frozenset(full[-self.num_patch_layers :] if self.num_patch_layers else full),
            make=lambda ctx: SketchedPrefill(ctx, self),
            needs=frozenset({Need.QUERIES, Need.PLAIN_ATTENTION}),
            breaks=frozenset({Need.PADDING, Need.FULL_SCORES}),
        )
