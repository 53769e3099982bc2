"""Token recycling: the model's own runner-up tokens become the drafts of later steps.

'Turning Trash into Treasure: Accelerating Inference of Large Language Models with Token Recycling',
arXiv 2408.08696, section 3: an adjacency matrix holds the k likeliest successors each token had when the model
last read it; a breadth-first search from the last token fills a static, imbalanced tree with them; one forward
verifies the tree, and the logits of all its nodes, accepted or not, update the matrix.

Where we leave the paper. The tree of any size follows from one rule (`tree_template`) in place of a hand-made
list of 80 nodes; the default is smaller, because on a CPU verification grows with the tree. A token never read
has no successors (-1) where the paper has token 0, so nothing is drafted from it. Where a token stands at several
nodes its last node in the tree decides, where the paper leaves that to chance. The paper verifies greedily; here
each node draws its token as plain decoding would, from the scores of its own prefix and in the same order, so
sampling is exact too.

Shapes: V vocabulary, k candidates, Q nodes of a tree with the last token of the text as node 0.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    WHOLE,
    Cost,
    Edit,
    Interval,
    Loop,
    Method,
    ModelView,
    Need,
    OpenContext,
    Phase,
    Slot,
    knob,
)
from paretolm.errors import ConflictError

DECAY = 2 / 3  # with it 80 nodes spread over 6 layers as 8, 21, 25, 19, 6, 1; the paper's list: 8, 21, 25, 15, 8, 3


@dataclass(frozen=True, kw_only=True)
class TokenRecycling(Method):
    """Drafts a tree from the runner-up tokens of earlier steps, and verifies it in one forward."""

    papers: ClassVar[tuple[str, ...]] = ("2408.08696",)
    exact: ClassVar[bool] = True

    k: int = knob(8, low=1, help="successors kept for each token of the vocabulary (k)")
    num_nodes: int = knob(15, low=0, help="drafts in a tree (the paper: 80); 0 is plain decoding")
    depth: int = knob(6, low=1, help="layers of the tree")
    recycle_prompt: bool = knob(False, help="also recycle the logits of the prompt, which the paper throws away")
    state: str = knob("session", choices=("session", "request"), help="how long the matrix lives (the paper: session)")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if self.k > view.vocab_size:
            raise ConflictError(f"{self.name}: k={self.k}, but the vocabulary has {view.vocab_size} tokens; lower k")
        needs = frozenset({Need.TREE, Need.CHUNK_INVARIANT})
        yield Edit(Slot.DECODE, WHOLE, partial(Recycler, self), Phase.AFTER, needs)

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        deepest = max((node.depth for node in tree_template(self.num_nodes, self.k, self.depth)), default=0)
        matrix = Interval.exact(view.vocab_size * self.k * torch.int32.itemsize)
        passes = before.passes * Interval(1 / (deepest + 1), 1)
        return replace(before, index_bytes=before.index_bytes + matrix, passes=passes)


@dataclass(frozen=True, slots=True)
class Node:
    """A place in the tree: the successor of place `parent` (0 is the root) with this rank, at this depth."""

    parent: int
    rank: int
    depth: int


@lru_cache
def tree_template(num_nodes: int, k: int, depth: int) -> tuple[Node, ...]:
    """The `num_nodes` places likeliest to be accepted, layer by layer; node i of the tree is entry i - 1.

    A successor of rank r (from 0) is taken as 1 / (r + 1) times as likely as the best one, a layer down as DECAY
    times as likely as the layer above; along a path these multiply.
    """
    heap: list[tuple[float, tuple[int, ...]]] = [(-1.0, ())]
    chosen: list[tuple[int, ...]] = []
    while heap and len(chosen) <= num_nodes:
        weight, path = heapq.heappop(heap)
        chosen.append(path)
        if len(path) < depth:
            for rank in range(k):
                heapq.heappush(heap, (weight * DECAY / (rank + 1), (*path, rank)))
    places = {path: i for i, path in enumerate(sorted(chosen, key=lambda path: (len(path), path)))}
    return tuple(Node(places[path[:-1]], path[-1], len(path)) for path in places if path)


@dataclass(frozen=True)
class Draft:
    """A tree: tokens and parents of its nodes (the root's is -1), and each node's children by token."""

    tokens: list[int]
    parents: list[int]
    children: list[dict[int, int]]


def grow(matrix: Tensor, root: int, template: Sequence[Node], depth: int) -> Draft:
    """Fills the template with tokens of matrix [V, k], down to layer `depth`; unknown successors are left out."""
    draft = Draft([root], [-1], [{}])
    rows = {0: matrix[root].tolist()}
    standing = {0: 0}  # place in the template -> node of the draft
    for place, spot in enumerate(template, start=1):
        parent = standing.get(spot.parent)
        if parent is None or spot.depth > depth:
            continue
        if parent not in rows:
            rows[parent] = matrix[draft.tokens[parent]].tolist()
        token = rows[parent][spot.rank]
        if token < 0:
            continue
        standing[place] = draft.children[parent][token] = len(draft.tokens)
        draft.tokens.append(token)
        draft.parents.append(parent)
        draft.children.append({})
    return draft


def recycle(matrix: Tensor, tokens: Tensor, logits: Tensor) -> None:
    """Writes the k best of logits [Q, V] into the rows of matrix [V, k] that tokens [Q] name; the last of equal
    tokens decides."""
    best = logits.topk(matrix.shape[1], dim=-1).indices.to(matrix.dtype)
    rows, which = tokens.unique(return_inverse=True)
    order = torch.arange(len(tokens), device=tokens.device)
    last = torch.zeros_like(rows).scatter_reduce_(0, which, order, "amax")
    matrix[rows] = best[last]


class Recycler:
    """The loop: draft, verify, follow the tokens chosen, recycle."""

    def __init__(self, method: TokenRecycling, ctx: OpenContext) -> None:
        self.method, self.ctx, self.keeps_prompt_logits = method, ctx, method.recycle_prompt
        self.template = tree_template(method.num_nodes, method.k, method.depth)

    @property
    def matrix(self) -> Tensor:
        lifetime = self.ctx.kept if self.method.state == "session" else self.ctx.shared
        return lifetime(self._new_matrix)

    def _new_matrix(self) -> Tensor:
        shape = (self.ctx.view.vocab_size, self.method.k)
        return torch.full(shape, -1, dtype=torch.int32, device=self.ctx.device)

    def tensors(self) -> Iterable[Tensor]:
        yield self.matrix

    def decode(self, loop: Loop) -> None:
        matrix, start, forwards = self.matrix, loop.ids.shape[1], 0
        recycle(matrix, loop.ids[0, -loop.prompt_logits.shape[1] :], loop.prompt_logits[0])
        alive = loop.emit(loop.pick(loop.scores(loop.prompt_logits[:, -1]))[:, None])
        while alive:
            draft = grow(matrix, int(loop.ids[0, -1]), self.template, self._reach(loop))
            nodes = torch.tensor([draft.tokens], device=loop.ids.device)
            logits = loop.verify(nodes, draft.parents).logits
            recycle(matrix, nodes[0], logits[0])
            alive, path = self.follow(loop, logits, draft)
            loop.commit(path)
            forwards += 1
            self.ctx.count("drafts_accepted", len(path) - 1)
        if forwards:
            self.ctx.note("tokens_per_forward", round((loop.ids.shape[1] - start - 1) / forwards, 3))

    def _reach(self, loop: Loop) -> int:
        """Layers worth drafting: one more token than drafts accepted is emitted."""
        return self.method.depth if loop.room is None else min(self.method.depth, loop.room - 1)

    def follow(self, loop: Loop, logits: Tensor, draft: Draft) -> tuple[bool, list[int]]:
        """Emits tokens along the tree while the chosen one was drafted: (the text goes on, nodes accepted)."""
        path = [0]
        while True:
            token = self.choose(loop, logits[:, path[-1]], draft, path[-1])
            if not loop.emit(token[:, None]):
                return False, path
            child = draft.children[path[-1]].get(int(token))
            if child is None:
                return True, path
            path.append(child)

    def choose(self, loop: Loop, logits: Tensor, draft: Draft, node: int) -> Tensor:
        """The token [1] after `node`, from its logits [1, V]; the text emitted so far is the node's own prefix."""
        return loop.pick(loop.scores(logits))
