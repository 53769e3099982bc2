"""Cache coprocessor (2412.17747): latents that a trained network adds to the cache make what follows likelier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place
    from ..found import Found

MANY, FEW, NONE = (f"cache-coprocessor(latents={num})" for num in (16, 4, 0))
PROMPT, AHEAD = 128, 32
TASK = f"perplexity(length={PROMPT + AHEAD}, context=0.8, streams=200, documents=1, audit=0)"  # 0.8: PROMPT of both
TEXTS = 8


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity with 16 latents": found.change("nll", MANY),
        "change of perplexity with 4 latents": found.change("nll", FEW),
        "perplexity of 16 against 4 latents": found.change("nll", MANY, FEW),
        "perplexity of the frozen model": found.mean("nll"),
    }


def without(at: Place) -> Findings:
    """Logits of texts read through the cache with no latents beside the untouched model's."""
    import torch

    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..numbers import exact

    lm = at.load(at.models[0])
    texts = build(at.source, lm, PROMPT + AHEAD, TEXTS, per_document=PROMPT + AHEAD, seed=0)
    gaps = {}
    for text in texts:
        logits = []
        for line in (NONE, "dense"):
            with torch.inference_mode(), Session.open(lm, Recipe.parse(line)) as session:
                session.take_cache()
                stream = session.stream()
                parts = stream.read(text.ids[:, :PROMPT], last=True), stream.step(text.ids[:, PROMPT:])
                logits.append(torch.cat([part.logits for part in parts], dim=1))
        gaps[text.id] = float((logits[0] - logits[1]).abs().max())
    numbers = {"largest difference of a logit without latents": exact(max(gaps.values()), n=len(gaps))}
    return Findings(numbers=numbers, rows=[{"text": name, "gap": gap} for name, gap in gaps.items()])


# {data}/domains: see CONTRIBUTING.md. The embedded text has 11 works to learn from, too few for what others need.
QUALITY = Bench(recipes=(MANY, FEW), tasks=(TASK,), measure=measure, text="{data}/domains", needs_data=("domains",))
USES = ("methods/keep/cache_coprocessor.py", "methods/keep/_coprocessor.py", "bridge")
SIZE = "Gemma-2 2B"

PAPER = Paper(
    title="Deliberation in Latent Space via Differentiable Cache Augmentation",
    arxiv=("2412.17747",),
    family="cache",
    methods=("cache-coprocessor",),
    claims=(
        Claim(
            says="A trained coprocessor's latents in the cache make many of the tokens that follow likelier.",
            metric="perplexity of the 32 tokens after the augmentation",
            setting="texts like those it was trained on; here prompts of 128 tokens",
            size=SIZE,
            figure="lower at each of the next 32 tokens",
            section="abstract; perplexity evaluation",
            experiment=QUALITY,
            limits=(Limit(number="change of perplexity with 16 latents", at_most=0, expected=-1),),
            also=("change of perplexity with 4 latents", "perplexity of the frozen model"),
        ),
        Claim(
            says="More latents help more.",
            metric="perplexity of the 32 tokens after the augmentation",
            setting="16 latents against 4, each with its own coprocessor; there 4 to 64",
            size=SIZE,
            figure="lower with each doubling",
            section="perplexity evaluation",
            experiment=QUALITY,
            limits=(Limit(number="perplexity of 16 against 4 latents", at_most=0, expected=-0.5),),
        ),
        Claim(
            says="Without the coprocessor the model works as it did.",
            metric="logits",
            setting="no latents, through the same cache",
            size=SIZE,
            figure="the model does not change",
            section="abstract",
            experiment=Direct(work=without, uses=USES),
            limits=(Limit(number="largest difference of a logit without latents", at_most=0, expected=0),),
        ),
    ),
)
