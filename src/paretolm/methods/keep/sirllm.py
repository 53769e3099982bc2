"""SirLLM: a streaming cache that remembers what came as a surprise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    Band,
    Cost,
    Edit,
    Held,
    Interval,
    Kept,
    Method,
    ModelView,
    Need,
    Observe,
    Observed,
    OpenContext,
    Slot,
    Step,
    knob,
)
from paretolm.errors import CallError

from ._cost import SCORE_BYTES, holding
from ._ranking import top


def token_entropy(logits: Tensor, ids: Tensor, before: Tensor | None) -> Tensor:
    """[B, Q] float32, -log p of each of `ids` [B, Q] given what stands before it, in nats.

    logits [B, Q, V] of these tokens; before [B, V]: those of the token in front of them. At the start of a text
    there is none, and the first token counts as much as the most surprising of the others.
    """
    later = -logits[:, :-1].float().log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    if before is not None:
        first = -before.float().log_softmax(-1).gather(-1, ids[:, :1])
    elif later.shape[1]:
        first = later.amax(-1, keepdim=True)
    else:
        first = torch.full_like(ids, torch.inf, dtype=torch.float32)
    return torch.cat([first, later], dim=-1)


def remembered(
    entropy: Tensor, positions: Tensor, sizes: tuple[int, int, int], decay_ratio: float, turn: int
) -> Tensor:
    """Ascending indices [B, m] of the first and last entries and of those of the highest decayed entropy.

    entropy [B, n] at positions [B|1, n], m = sum(sizes) < n; sizes: first, by entropy, last. An entry's entropy is
    multiplied by decay_ratio for every `turn` tokens that came after it.
    """
    first, _, last = sizes
    n = entropy.shape[-1]
    age = (positions[:, -1:] - positions) // turn
    scores = entropy * decay_ratio**age
    scores[:, :first] = torch.inf
    scores[:, n - last :] = torch.inf
    return top(scores, sum(sizes))


@dataclass(frozen=True)
class HeldRanks:
    """Positions inside the cache: an entry's is how many are held before it."""

    def bands(self, query_positions: Tensor, key_positions: Tensor) -> Sequence[Band]:
        n = key_positions.shape[-1]
        ranks = torch.arange(n, device=key_positions.device)
        return [Band(ranks[None, None], ranks[None, n - query_positions.shape[-1] :])]


@dataclass
class Memory:
    """One for all layers. entropy [B, n] of the held tokens; before [B, V]: the last logits; index [B, m] of what
    stays, decided once `seen` tokens had gone through."""

    entropy: Tensor | None = None
    before: Tensor | None = None
    seen: int = 0
    index: Tensor | None = None


@dataclass
class SirKeep:
    ctx: OpenContext
    method: SirLLM
    memory: Memory = field(init=False)
    observe: Observe = field(default_factory=lambda: Observe(logits=True))

    def __post_init__(self) -> None:
        self.memory = self.ctx.shared(Memory)

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        memory = self.memory
        if memory.seen != held.seen:
            memory.seen, memory.index = held.seen, self._decide(held, observed, step)
        if memory.index is None:
            return None
        self.ctx.count("tokens_evicted", held.length - memory.index.shape[-1])
        return Kept(memory.index[:, None])

    def _decide(self, held: Held, observed: Observed, step: Step) -> Tensor | None:
        if step.ids is None:
            raise CallError("sirllm reads how likely each token was and needs input_ids, not inputs_embeds")
        memory, logits = self.memory, observed.logits
        assert logits is not None
        new = token_entropy(logits, step.ids, memory.before)
        memory.before = logits[:, -1].clone()
        memory.entropy = new if memory.entropy is None else torch.cat([memory.entropy, new], dim=-1)
        if held.length <= self.method.capacity:
            return None
        index = remembered(
            memory.entropy, held.positions[:, 0], self.method.sizes, self.method.decay_ratio, self.method.turn
        )
        memory.entropy = memory.entropy.gather(-1, index)
        return index

    def tensors(self) -> Iterable[Tensor]:
        return (x for x in (self.memory.entropy, self.memory.before) if x is not None)


@dataclass(frozen=True, kw_only=True)
class SirLLM(Method):
    """Keeps, beside the first and last tokens, those that came as the greatest surprise, and streams without end.

    SirLLM: Streaming Infinite Retentive LLM (2405.12528), section 3. A token's entropy is -log of the probability
    the model gave it; all layers and heads hold the same tokens, at positions inside the cache. With
    decay_ratio < 1 older surprises fade. The cache never holds more than its three sizes together between
    forwards, the prompt included.

    Where we leave the paper: the cache is evicted after every forward, while the official code makes room before
    each turn of a dialogue, so `recent_size` (0 there) should hold the question that is being answered. Turns are
    not told apart, so entropies decay by age, once for every `turn` tokens. A forward's first token has its own
    entropy, from the logits before it (the official code gives it the turn's largest). Acts on full-attention layers.
    """

    papers: ClassVar[tuple[str, ...]] = ("2405.12528",)
    entries: ClassVar[tuple[str, ...]] = ("token_entropy_size", "start_size", "recent_size")

    start_size: int = knob(4, low=0, help="first tokens that stay")
    token_entropy_size: int = knob(956, low=1, help="tokens that stay for their entropy")
    recent_size: int = knob(64, low=0, help="last tokens that stay")
    decay_ratio: float = knob(1.0, low=0, high=1, help="what an entropy is multiplied with a turn; 1: no decay")
    turn: int = knob(64, low=1, help="tokens of a turn, for the decay")

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.start_size, self.token_entropy_size, self.recent_size

    @property
    def capacity(self) -> int:
        return sum(self.sizes)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(slot=Slot.INDEX, where=view.full_layers, make=lambda _: HeldRanks())
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: SirKeep(ctx, self),
            needs=frozenset({Need.LOGITS_FEEDBACK}),
            # what is remembered belongs to one text and is decided with its logits
            breaks=frozenset({Need.CHUNK_INVARIANT, Need.PADDING, Need.ROLLBACK, Need.TREE, Need.FORK}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        cost = before.with_layers(view.full_layers, lambda layer: holding(layer, self.capacity))
        entropies = SCORE_BYTES * min(tokens, self.capacity)
        return replace(
            cost, index_bytes=cost.index_bytes + Interval.exact(entropies + view.vocab_size * view.dtype_bytes)
        )

    def chunk(self, tokens: int) -> int | None:
        return max(1, self.capacity // 8)
