"""PowerAttention (2503.03588): blocks at distances of powers of two reach the whole text within a few layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._sparse_prefill import TIMES
from ._tasks import RECALL, TEXT

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place
    from ..found import Found

POWER, WINDOW = "power-attention(window=128, block_size=64)", "window(window=320)"  # keys a query reads at most: 320
PLACES = 16  # tokens that are changed, one at a time
UNTUNED = "here without the tuning that the paper adds"


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of recall against a window": found.change("recall", POWER, WINDOW, task=RECALL),
        "change of recall": found.change("recall", POWER, task=RECALL),
        "dense recall": found.mean("recall", task=RECALL),
        "change of perplexity against a window": found.change("nll", POWER, WINDOW, task=TEXT),
        "change of perplexity": found.change("nll", POWER, task=TEXT),
    }


def reach(at: Place) -> Findings:
    """Share of a text's tokens whose change changes the last token's logits, and the most keys that a query reads."""
    import torch

    from ...evaluation.streams import build
    from ...methods.attend.masks.power_attention import readable
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..numbers import exact, share

    lm = at.load(at.models[0])
    length = lm.view.trained_length
    (text,) = build(at.source, lm, length, 1, per_document=length, seed=0)
    with Session.open(lm, Recipe.parse(POWER)) as session, torch.inference_mode():
        before = session.stream().read(text.ids, last=True, logits=False).logits[0, -1]
        hits = []
        for place in torch.linspace(0, length - 2, PLACES).long().tolist():
            changed = text.ids.clone()
            changed[0, place] = (changed[0, place] + 1) % lm.view.vocab_size
            after = session.stream().read(changed, last=True, logits=False).logits[0, -1]
            hits.append(not torch.equal(before, after))
    distances = torch.arange(length // 64)
    blocks = [int(readable(distances[: n + 1], 2).sum()) for n in (len(distances) // 4 - 1, len(distances) - 1)]
    numbers = {
        "tokens that reach the last logits": share(hits, [str(i) for i in range(PLACES)]),
        "blocks read at the text's end, more than at a quarter of it": exact(blocks[1] - blocks[0]),
    }
    return Findings(numbers=numbers)


EQUAL = Bench(recipes=(POWER, WINDOW), tasks=(RECALL, TEXT), measure=measure)
REACH = Direct(work=reach, uses=("methods/attend/masks/power_attention.py", "methods/attend/approximate/_gathered.py"))

PAPER = Paper(
    title="PowerAttention: Exponentially Scaling of Receptive Fields for Effective Sparse Attention",
    arxiv=("2503.03588",),
    family="attention",
    methods=("power-attention",),
    claims=(
        Claim(
            says="Every token of the text reaches the output, while a query reads only log2 of its blocks.",
            metric="tokens whose change is seen at the output; keys a query reads",
            setting="2^d tokens in d layers, by theory and by probing",
            size="Qwen2-7B",
            figure="complete and continuous receptive field",
            section="abstract; analysis of receptive fields",
            experiment=REACH,
            limits=(
                Limit(number="tokens that reach the last logits", at_least=75, expected=100),
                Limit(number="blocks read at the text's end, more than at a quarter of it", at_most=2, expected=2),
            ),
        ),
        Claim(
            says="Facts far away are found better than through a sliding window of as many keys.",
            metric="passkey and RULER accuracy",
            setting=f"against static patterns of equal cost, to 32 thousand tokens; {UNTUNED}",
            size="Qwen2-7B",
            figure="5 to 40% better",
            section="abstract; experiments",
            experiment=EQUAL,
            limits=(Limit(number="change of recall against a window", at_least=0, expected=20),),
            needs=(Limit(number="dense recall", at_least=80, expected=100),),
            also=("change of recall", "change of perplexity against a window", "change of perplexity"),
        ),
        Claim(
            says="Prompts are read faster than with full attention.",
            metric="time of a prompt, over full attention",
            setting="128 thousand tokens, one GPU; here 8 thousand",
            size="Qwen2-7B",
            figure="3.0 times",
            section="abstract",
            experiment=TIMES,
            limits=(
                Limit(number="power-attention, speed over dense", at_least=1, expected=3.0),
                Limit(number="power-attention, speed over dense", at_least=3.0, expected=3.0),
            ),
        ),
    ),
)
