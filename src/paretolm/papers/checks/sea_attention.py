"""SEA (2310.01777): a linear attention learns to say which few keys exact attention needs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper
from ._sparse_prefill import TEXTS, by_document

if TYPE_CHECKING:
    from torch import Tensor

    from ...bridge.fitter import TextFitter
    from ...contracts import LayerView
    from ...recipes.session import Session
    from ...studies.study import Findings, Number, Place

KEYS = 32
OURS, WINDOW = f"sea-attention(budget={KEYS}tok)", f"window(window={KEYS})"


def work(at: Place) -> Findings:
    """Texts of the trained length read whole, all layers sparse from the first token; loss from the 257th on."""
    import torch

    from ...bench.workers.fitting import fit_recipe
    from ...bridge.fitter import TextFitter
    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..numbers import change, exact

    lm, learnt = at.load(at.models[0]), [d.text for d in at.source.fit_documents]
    lines = {"dense": "dense", "ours": OURS, "window": WINDOW}
    at.progress.plan({name: name for name in ("fit", *lines, "random features")})
    artifacts = fit_recipe(lm, Recipe.parse(OURS), lambda: learnt)
    at.progress.finish("fit")
    length, facts = lm.view.trained_length, next(iter(artifacts.values())).facts
    texts = build(at.source, lm, length, TEXTS, per_document=length, seed=0)
    rows, logits = {}, {}
    for arm, line in lines.items():
        with Session.open(lm, Recipe.parse(line)) as session, torch.inference_mode():
            rows[arm] = by_document(texts, partial(_read, session))
        at.progress.finish(arm)
    for arm, line in (("dense", "dense"), ("ours", f"sea-attention(budget={length}tok)")):
        with Session.open(lm, Recipe.parse(line)) as session, torch.inference_mode():
            logits[arm] = _read(session, texts[0].ids)
    features, dearer = costs(lm.view.layers[0], length)
    rows["random features"] = by_document(texts, partial(_linear, TextFitter(lm, learnt), features))
    numbers: dict[str, Number] = {
        "change of perplexity": change(rows["ours"], rows["dense"]),
        "perplexity against a window": change(rows["ours"], rows["window"]),
        "perplexity against random features": change(rows["ours"], rows["random features"]),
        "difference of logits with all keys": exact(float((logits["ours"] - logits["dense"]).abs().max())),
        "tokens shown in fitting, in millions": exact(facts["tokens"] / 1e6),
        "parameters of the estimator": exact(100 * facts["share"], "%"),
        "random features of equal cost": exact(features),
        "products a token over those of dense attention": exact(dearer, "x"),
    }
    told = [{"arm": arm, "item": r.item, "doc": r.doc, "nll": r.value} for arm, found in rows.items() for r in found]
    return Findings(numbers=numbers, rows=told)


def costs(layer: LayerView, length: int) -> tuple[int, float]:
    """Random features of a linear attention that multiplies as much a token as ours does with its estimator; and how
    many times what dense attention multiplies that is, on average over a text of `length` tokens."""
    from ...methods.attend.approximate._estimator import Shape, linear_products
    from ...methods.attend.approximate.sea_attention import SeaAttention

    knobs = SeaAttention()
    shape = Shape(layer, knobs.predictor_length, knobs.features, knobs.inner, length)
    pair = layer.num_heads * (layer.key_dim + layer.value_dim)
    ours = shape.products + KEYS * pair
    return round(ours / linear_products(layer, 1, layer.value_dim)), ours / (pair * (length + 1) / 2)


def _read(session: Session, ids: Tensor) -> Tensor:
    return session.stream().read(ids, last=True).logits


def _linear(fitter: TextFitter, features: int, ids: Tensor) -> Tensor:
    """Logits [1, T, V] of ids [1, T] with a linear attention of random features in every layer."""
    import torch

    from ...contracts import Altered
    from ...methods.attend.approximate._linear import directions, key_features, linear_attention, query_features

    draw = torch.Generator().manual_seed(0)

    def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        towards = directions(features, queries.shape[-1], draw)
        sides = query_features(queries, towards, scaling), key_features(keys, towards, scaling)
        past = torch.zeros(1, keys.shape[1], features, values.shape[-1] + 1)
        return linear_attention(*sides, values, past)[0]

    return fitter.altered(ids, Altered(attention=attend))[0]


SPARSE = Direct(work=work, uses=("papers/checks/_sparse_prefill.py", "methods/attend"))

PAPER = Paper(
    title="SEA: Sparse Linear Attention with Estimated Attention Mask",
    arxiv=("2310.01777",),
    family="attention",
    methods=("sea-attention",),
    claims=(
        Claim(
            says="A few keys that a distilled estimator names serve nearly as well as all.",
            metric="perplexity",
            setting="Wikitext2, the model trained along; here frozen, 32 keys a head of at most 1,024, the estimator "
            "distilled on the embedded text",
            size="OPT-125M to 1.3B",
            figure="better than dense for OPT-1.3B",
            section="abstract; experiments on language modeling",
            experiment=SPARSE,
            limits=(Limit(number="change of perplexity", at_most=10, expected=0),),
            needs=(Limit(number="tokens shown in fitting, in millions", at_most=5, expected=1),),
            also=("parameters of the estimator", "products a token over those of dense attention"),
        ),
        Claim(
            says="Other sparse and linear attentions of equal cost lose much more.",
            metric="perplexity",
            setting="Wikitext2; here against a window of as many keys, and random features (Performer) of as many "
            "products, both in the frozen model",
            size="OPT-125M to 1.3B",
            figure="others near twice the perplexity of dense",
            section="abstract; experiments on language modeling",
            experiment=SPARSE,
            limits=(
                Limit(number="perplexity against a window", at_most=0, expected=-20),
                Limit(number="perplexity against random features", at_most=0, expected=-50),
            ),
            also=("random features of equal cost",),
        ),
        Claim(
            says="With all keys it is the attention it started from.",
            metric="largest difference of logits",
            setting="by construction; k as long as the text",
            size="any",
            figure="none",
            section="method",
            experiment=SPARSE,
            limits=(Limit(number="difference of logits with all keys", at_most=1e-4, expected=0),),
        ),
    ),
)
