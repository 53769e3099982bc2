"""EchoAtt (2409.14595): inner layers whose attention is alike can share one matrix, after a short distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._tasks import TEXT

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place
    from ..found import Found

OURS, COPIED, ONE = "echoatt", "echoatt(steps=0)", "echoatt(share=0.125)"
SEEDS = (0, 1)
DRAWN = tuple(f"echoatt(choose=random, seed={seed})" for seed in SEEDS)


def quality(found: Found) -> Mapping[str, Number]:
    against = {f"perplexity against layers drawn with seed {s}": found.change("nll", OURS, DRAWN[s]) for s in SEEDS}
    return {
        "change of perplexity": found.change("nll", OURS),
        "change of perplexity, copied and not adjusted": found.change("nll", COPIED),
        "change of perplexity with one follower": found.change("nll", ONE),
        "weights held": found.weights(OURS),
        **against,
    }


def saved(at: Place) -> Findings:
    """What following layers do not compute, how alike layers are, and who follows whom, in each arm."""
    from ...bench.workers.fitting import fit_recipe
    from ...recipes.recipe import Recipe
    from ...studies.study import Findings
    from ..numbers import exact

    lm, texts = at.load(at.models[0]), [d.text for d in at.source.fit_documents]
    facts = {}
    for line in (OURS, *DRAWN):
        (artifact,) = fit_recipe(lm, Recipe.parse(line), lambda: texts).values()
        facts[line] = artifact.facts
    own = facts[OURS]
    place = {layer: i for i, layer in enumerate(own["layers"])}
    alike = {(a, b): own["similarity"][place[a]][place[b]] for a in place for b in place if a < b}
    followed = [alike[leader, int(follower)] for follower, leader in own["leaders"].items()]
    numbers = {
        "operations saved": exact(own["operations"]["percent"], "%"),
        "likeness of followers to leaders": exact(sum(followed) / len(followed)),
        "likeness of all pairs": exact(sum(alike.values()) / len(alike)),
    }
    rows: list[dict[str, object]] = [{"layer": b, "to": a, "likeness": value} for (a, b), value in alike.items()]
    rows += [
        {"arm": line, **{k: told[k] for k in ("leaders", "operations", "divergence")}} for line, told in facts.items()
    ]
    return Findings(numbers=numbers, rows=rows)


QUALITY = Bench(recipes=(OURS, COPIED, ONE, *DRAWN), tasks=(TEXT,), measure=quality)
SAVED = Direct(
    work=saved,
    uses=(
        "methods/_low_rank.py",
        "methods/attend/approximate/_adjusting.py",
        "methods/attend/approximate/_sharing.py",
        "methods/attend/approximate/echoatt.py",
    ),
)

PAPER = Paper(
    title="EchoAtt: Attend, Copy, then Adjust for More Efficient Large Language Models",
    arxiv=("2409.14595",),
    family="attention",
    methods=("echoatt",),
    claims=(
        Claim(
            says="Layers share attention matrices, after distillation, at hardly any loss.",
            metric="zero-shot accuracy; here perplexity",
            setting="inner layers that are most alike, distilled; here three of eight, low-rank, on the embedded text",
            size="TinyLLaMA-1.1B",
            figure="better than the original, with 4% fewer parameters",
            section="abstract",
            experiment=QUALITY,
            limits=(Limit(number="change of perplexity", at_most=3, expected=1),),
            also=(
                "change of perplexity, copied and not adjusted",
                "change of perplexity with one follower",
                "weights held",
            ),
        ),
        Claim(
            says="Layers that are alike are the ones to share.",
            metric="perplexity at equal savings",
            setting="as many inner layers drawn, distilled alike",
            size="TinyLLaMA-1.1B",
            figure="inner layers are alike, the first and the last are not",
            section="abstract; analysis of attention",
            experiment=QUALITY,
            limits=tuple(
                Limit(number=f"perplexity against layers drawn with seed {seed}", at_most=0, expected=-1)
                for seed in SEEDS
            ),
        ),
        Claim(
            says="Following layers save operations.",
            metric="parameters and time; here operations a token, counted and not timed",
            setting="here texts of the trained length",
            size="TinyLLaMA-1.1B",
            figure="about 4% fewer parameters; time is not measured here",
            section="abstract",
            experiment=SAVED,
            limits=(Limit(number="operations saved", at_least=4, expected=6),),
            also=("likeness of followers to leaders", "likeness of all pairs"),
        ),
    ),
)
