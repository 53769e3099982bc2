"""The closed vocabulary: where a method acts, what loops rely on, when an edit is in force."""

from __future__ import annotations

from enum import Enum


class Slot(Enum):
    """The place where a method acts; members stand in order of application."""

    PROMPT = "prompt"
    TOKENS = "tokens"
    WEIGHTS = "weights"
    BLOCK = "block"
    FREQUENCY = "frequency"
    INDEX = "index"
    ATTEND = "attend"
    KEEP = "keep"
    STORE = "store"
    DECODE = "decode"
    LOGITS = "logits"

    @property
    def order(self) -> int:
        return _ORDER[self]

    @property
    def stackable(self) -> bool:
        """Several edits may share one place; they act in recipe order."""
        return self in _STACKABLE

    @property
    def in_cache(self) -> bool:
        """The slot acts inside attention and its cache, per layer."""
        return self in _IN_CACHE


_ORDER = {slot: i for i, slot in enumerate(Slot)}
_STACKABLE = frozenset({Slot.PROMPT, Slot.BLOCK, Slot.LOGITS})
_IN_CACHE = frozenset({Slot.INDEX, Slot.ATTEND, Slot.KEEP, Slot.STORE})


class Need(Enum):
    """What a loop, a kernel or a call relies on and a method may give up."""

    ROLLBACK = "rollback"  # the last tokens can be taken back
    TREE = "tree"  # several continuations in one forward, one path committed
    FORK = "fork"  # a cache can be copied and continued two ways (beams)
    EQUAL_LENGTHS = "equal lengths"  # every layer holds the same number of entries
    PADDING = "padding"  # left-padded batches
    FULL_SCORES = "full scores"  # attention probabilities over all held keys
    PLAIN_ATTENTION = "plain attention"  # a softmax of queries times keys, each key at one position
    QUERIES = "queries"  # queries as attention sees them
    HIDDEN = "hidden states"  # hidden states of every token, at every step
    LOGITS_FEEDBACK = "logits feedback"  # logits come back to the method after a forward
    SPANS = "spans"  # template, context and question are told apart
    TOKENIZER = "tokenizer"  # the model came with a tokenizer
    FITTED = "fitted artifact"  # something fitted on text beforehand
    CHUNK_INVARIANT = "chunk invariance"  # many tokens in one forward equal one at a time


class Phase(Enum):
    """When an edit first changes anything; recipes equal up to the end of prefill share one prefill."""

    PREFILL = "prefill"
    AFTER = "after"


class Moment(Enum):
    """What one forward is part of."""

    PREFILL = "prefill"  # part of the prompt, more of it follows
    PREFILL_END = "prefill end"  # the last part of the prompt
    DECODE = "decode"
    VERIFY = "verify"  # drafts; nothing is settled until the loop commits a path
