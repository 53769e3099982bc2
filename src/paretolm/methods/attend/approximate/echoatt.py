"""EchoAtt: layers whose attention is most alike share one attention matrix; a short distillation makes up for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from paretolm.contracts import (
    Artifact,
    Cost,
    Edit,
    Fitter,
    Held,
    Interval,
    LayerCost,
    Linear,
    Method,
    ModelView,
    Need,
    OpenContext,
    Side,
    Slot,
    Step,
    Store,
    knob,
)
from paretolm.errors import ConflictError, FitError
from paretolm.methods.attend.select._hold import HoldAll

from ..._low_rank import Merging, to_tensors, windows
from ._adjusting import Distillation, adjust
from ._sharing import Matrices, Sharing, drawn, likeness, look, most_alike, pairing
from ._unread import NoKeys, Unread

LENGTH = 512  # tokens of a text that is learnt from
LOOKS = 8  # texts whose attention is compared


@dataclass
class Echo:
    """The ATTEND part."""

    ctx: OpenContext
    sharing: Sharing

    def compute(
        self, queries: Tensor, held: Held, allowed: Callable[[], Tensor | None], scaling: float, step: Step
    ) -> Tensor | None:
        matrices = self.ctx.shared(lambda: Matrices(self.sharing))
        if held.layer in self.sharing.leaders:
            self.ctx.count("rows_reused", queries.shape[0] * queries.shape[1] * queries.shape[2])
        return matrices.output(held.layer, queries, held.keys, held.values, scaling, allowed)


@dataclass(frozen=True)
class KeysUnread:
    """The STORE part."""

    follows: bool

    def store(self, side: Side, inner: Callable[[], Store]) -> Store:
        return NoKeys() if side == "key" and self.follows else inner()


@dataclass(frozen=True)
class Adjusted:
    """The WEIGHTS part of one layer. unread: paths that nobody reads if the layer follows."""

    ctx: OpenContext
    layer: int
    unread: frozenset[str]

    def replace(self, path: str, module: nn.Module) -> nn.Module:
        artifact = fitted(self.ctx)
        if path in self.unread and str(self.layer) in artifact.facts["leaders"]:
            assert isinstance(module, nn.Linear)
            return Unread(module)
        return Merging(self.ctx).replace(path, module) if path in artifact.facts["adjusted"] else module


@dataclass(frozen=True, kw_only=True)
class EchoAtt(Method):
    """Reads values in some inner layers by the attention matrix of an earlier layer, whose own is most like theirs.

    EchoAtt: Attend, Copy, then Adjust for More Efficient Large Language Models (2409.14595). The cosine between the
    layers' attention matrices is measured on text (`fit`); the `share` of layers whose matrices are most like that of
    the layer which leads their group of neighbours follow it: they have no queries and keys. The first and the last
    layers are left alone. What the copying costs is made up by distillation from the untouched model. Of a following
    layer neither products nor keys in the cache are left, nor the projections to queries and keys where they are
    matrices of their own. rows_reused counts a query and head; similarity, leaders and saved operations are noted.

    Where we leave the paper:
    - There a student model is trained whole. Here the matrices of layers that lead or follow are changed by low-rank
      products (`rank`), learnt on `steps` pieces of the fitting text from the original's distribution and the next
      tokens.
    - Heads of two layers stand in no common order, and so small a change cannot put them into one: each head reads as
      the leader's head whose attention was most like its own; heads="same" is by number.
    - A forward holds the matrices of its leaders, query heads by queries by entries in float32: long prompts are
      better read in pieces. A method that looks into attention before the prompt is read (gemfilter) sees each
      layer's own, from the projections kept for undoing.
    - Its code is not public: groups of neighbours that together are most alike are our reading.
    """

    papers: ClassVar[tuple[str, ...]] = ("2409.14595",)
    fit_knobs: ClassVar[tuple[str, ...]] = (
        "share", "first", "last", "choose", "heads", "steps", "rank", "alpha", "seed",
    )  # fmt: skip

    share: float = knob(0.4, low=0, high=1, help="share of the layers with full attention that follow another")
    first: int = knob(1, low=0, help="first layers that are left alone")
    last: int = knob(1, low=0, help="last layers that are left alone")
    choose: str = knob("similar", choices=("similar", "random"), help="followers by similarity, or drawn")
    heads: str = knob("matched", choices=("matched", "same"), help="read as the head most alike, or of the same number")
    steps: int = knob(60, low=0, help="pieces of text that the changes are learnt on; 0: copied, not adjusted")
    rank: int = knob(8, low=1, help="of the change of a matrix")
    alpha: float = knob(0.5, low=0, high=1, help="weight of the next tokens beside the original's distribution")
    seed: int = knob(0, low=0, help="of the changes, the order of the text and choose=random")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if not self.share:
            return
        inner, _ = self._layers(view)
        may = inner[1:]  # the first of them has no earlier one to follow
        learnt = frozenset({Need.FITTED})
        for layer in inner:
            make = partial(Adjusted, layer=layer, unread=frozenset(paths_of(unread_of(view, layer))))
            yield Edit(Slot.WEIGHTS, frozenset(paths_of(matrices_of(view, layer))), make, needs=learnt)
        yield Edit(
            Slot.ATTEND,
            frozenset(inner),
            partial(self._echo, inner[0]),
            needs=frozenset({Need.FITTED, Need.QUERIES, Need.PLAIN_ATTENTION}),
            breaks=frozenset({Need.QUERIES, Need.FULL_SCORES, Need.ROLLBACK}),
        )
        yield Edit(Slot.KEEP, frozenset(inner), lambda _: HoldAll())  # entries of a group must be the same tokens
        yield Edit(Slot.STORE, frozenset(may), self._keys, needs=learnt)

    def _echo(self, noting: int, ctx: OpenContext) -> Echo:
        artifact = fitted(ctx)
        if ctx.place == noting:
            for name in ("similarity", "leaders", "operations"):
                ctx.note(name, artifact.facts[name])
        return Echo(ctx, Sharing.of(artifact, ctx.device))

    def _keys(self, ctx: OpenContext) -> KeysUnread:
        return KeysUnread(str(ctx.place) in fitted(ctx).facts["leaders"])

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Without the keys and projections of the following layers. Which those are is only known when fitted: exact
        where all that may follow are alike, as if the last of them did."""
        if not self.share:
            return before
        inner, count = self._layers(view)
        may = inner[1:]
        alike = len({before.layers[layer] for layer in may}) == 1

        def keyless(layer: LayerCost) -> LayerCost:
            return replace(layer, key_bytes=Interval(0, 0 if alike else layer.key_bytes.high))

        sizes = sorted(sum(linear.bytes for linear in unread_of(view, layer)) for layer in may)
        gone = Interval(-sum(sizes[-count:]), -sum(sizes[:count]))
        after = before.with_layers(frozenset(may[-count:] if alike else may), keyless)
        return replace(after, weight_bytes=before.weight_bytes + gone)

    @torch.inference_mode(mode=False)  # what is made here takes part in forwards with gradients
    def fit(self, fitter: Fitter, budget: int | None) -> Artifact:
        view = fitter.view
        if not self.share:
            return Artifact({})
        inner, count = self._layers(view)
        texts = windows(fitter, min(LENGTH, view.trained_length), budget)
        alike = look(fitter, inner, texts[:LOOKS])
        pairs = pairing(alike, self.heads == "matched")
        similarity = likeness(alike, pairs).tolist()
        similar = self.choose == "similar"
        leaders = most_alike(similarity, count) if similar else drawn(len(inner), count, self.seed)
        sharing = Sharing(
            {inner[f]: inner[g] for f, g in leaders.items()}, {inner[f]: pairs[g, f] for f, g in leaders.items()}
        )
        paths = {p for i in {*sharing.leaders, *sharing.leaders.values()} for p in paths_of(matrices_of(view, i))}
        paths -= {p for follower in sharing.leaders for p in paths_of(unread_of(view, follower))}
        how = Distillation(self.steps, self.rank, self.alpha, self.seed)
        changes, told = adjust(fitter, sharing, paths, texts, how) if self.steps else ({}, [])
        tensors = {name: tensor.half() for name, tensor in to_tensors(changes).items()}
        tenth = max(1, len(told) // 10)
        facts = {
            "layers": inner,
            "similarity": [[round(value, 4) for value in row] for row in similarity],
            "leaders": sharing.facts(),
            "operations": operations(view, list(sharing.leaders)),
            "adjusted": sorted(changes),
            "divergence": [round(sum(some) / len(some), 5) for some in (told[:tenth], told[-tenth:]) if some],
        }
        return Artifact(tensors | sharing.tensors(), facts)

    def _layers(self, view: ModelView) -> tuple[list[int], int]:
        """(layers between those left alone, how many follow). Raises ConflictError where that cannot be."""
        full = sorted(view.full_layers)
        inner = full[self.first : len(full) - self.last]
        count = int(self.share * len(full) + 0.5)
        if not 0 < count < len(inner):
            raise ConflictError(
                f"echoatt: share={self.share} of {len(full)} layers with full attention lets {count} follow another, and "
                f"with first={self.first} and last={self.last} left alone from 1 to {len(inner) - 1} can; change these"
            )
        bare = [layer for layer in inner if not matrices_of(view, layer)]
        if bare:
            raise ConflictError(
                f"echoatt adjusts nn.Linear, and layer {bare[0]} of {view.architecture} holds its matrices in another form"
            )
        return inner, count


def fitted(ctx: OpenContext) -> Artifact:
    """Raises FitError where there is none."""
    if ctx.artifact is None:
        raise FitError(
            "echoatt does not know yet which layers are alike; run `paretolm fit` with this recipe and a text"
        )
    return ctx.artifact


def paths_of(linears: Iterable[Linear]) -> list[str]:
    return [linear.path for linear in linears]


def matrices_of(view: ModelView, layer: int) -> list[Linear]:
    """The matrices of a layer that share no storage."""
    inside = view.layers[layer].path + "."
    return [linear for linear in view.linears if linear.path.startswith(inside) and not linear.tied]


def unread_of(view: ModelView, layer: int) -> list[Linear]:
    """The matrices of a layer that make queries or keys and nothing else."""
    own = view.layers[layer]
    widths = {"q_proj": own.num_heads * own.key_dim, "k_proj": own.num_kv_heads * own.key_dim}
    wanted = {f"{own.attention_path}.{name}": width for name, width in widths.items()}
    return [li for li in matrices_of(view, layer) if wanted.get(li.path) == li.out_features]


def operations(view: ModelView, followers: list[int]) -> dict[str, float]:
    """Floating-point operations a token that following layers do not do, in a text of the trained length, and the
    percentage of all; experts that are no nn.Linear are not among these."""
    reach = (view.trained_length + 1) / 2  # entries that a query reads, in the mean
    products = [2 * own.num_heads * own.key_dim * min(reach, own.window or reach) for own in view.layers]
    projections = sum(2 * li.out_features * li.in_features for f in followers for li in unread_of(view, f))
    scores = sum(products[f] for f in followers)
    every = sum(2 * li.out_features * li.in_features for li in view.linears) + 2 * sum(products)
    return {
        "tokens": view.trained_length,
        "projections": projections,
        "scores": scores,
        "percent": round(100 * (projections + scores) / every, 3),
    }
