"""InfLLM: a window on the text, and a memory of blocks in which each window of queries looks up a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ._memory import BlockMemory


@dataclass(frozen=True, kw_only=True)
class InfLLM(BlockMemory):
    """Reads the first entries, the newest, and of all between the blocks that fit the queries best.

    InfLLM: Training-Free Long-Context Extrapolation for LLMs with an Efficient Context Memory (2402.04617), section 3.
    What leaves the window goes into blocks. The entries of a block that got most attention while they were in the
    window stand for it; their product with the mean of a window's queries says which `topk` blocks are read, by all
    heads of a layer alike. Whatever is not in the window of n_local stands at a distance of n_local.

    Where we leave the paper: the blocks stay in the cache beside the rest (the paper moves them out of the GPU's
    memory), so reading is flat and holding is not; attention received is counted by key-value head, and within the
    window alone; the entries read stand at n_local, in the official code at n_local - 1; windows of queries are 64
    tokens by default. Since blocks are counted in entries, no eviction may stand beside it. Padded batches are
    refused, and another size of forward is another choice of blocks.
    """

    papers: ClassVar[tuple[str, ...]] = ("2402.04617",)
