"""HyperAttention (2310.05869): sorted hashing and a sample of keys read long texts in near-linear time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper
from ._sparse_prefill import losses

if TYPE_CHECKING:
    from ...studies.study import Findings, Place

SIZES = "min_seq_len=256, block_size=64, sample_size=64"
ARMS = {"half the layers": f"hyper-attention({SIZES}, num_patch_layers=4)", "all layers": f"hyper-attention({SIZES})"}
SHORT, LONG, REPEATS = 4096, 65536, 3
WIDTH = 32
SAMPLES = (64, 256, 1024, 4096)


def quality(at: Place) -> Findings:
    """Perplexity of prompts under the sketch, in half the layers and in all."""
    from ...studies.study import Findings

    numbers, rows = losses(at, ARMS)
    return Findings(numbers=numbers, rows=rows)


def layer(at: Place) -> Findings:
    """One causal head on drawn keys: error by sample, cost a token by length, speed beside exact attention in turns."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from ...methods.attend.approximate._sorted import Sketch
    from ...studies.study import Findings
    from ..numbers import exact
    from ..timing import faster, turns

    make = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, LONG, WIDTH, generator=make) for _ in range(3))
    directions = torch.randn(WIDTH, 7, generator=make)
    a, b, c = (x[:, :SHORT] for x in (q, k, v))
    expected = scaled_dot_product_attention(a[None], b[None], c[None], is_causal=True)[0]
    errors = []
    for size in SAMPLES:
        found = Sketch(directions, 64, size, 256, make).causal(a, b, c, WIDTH**-0.5).output
        errors.append(float((found - expected).norm() / expected.norm()))
    sketch = Sketch(directions, 256, 256, 4096, make)
    jobs: dict[str, Callable[[], object]] = {
        "short": partial(sketch.causal, a, b, c, WIDTH**-0.5),
        "long": partial(sketch.causal, q, k, v, WIDTH**-0.5),
        "exact": partial(scaled_dot_product_attention, q[None], k[None], v[None], is_causal=True),
    }
    seconds = turns(jobs, REPEATS)
    numbers = {
        "growth of the error with more samples": exact(max(b / a for a, b in itertools.pairwise(errors)), "x"),
        "error with all keys sampled": exact(errors[-1]),
        "cost a token at 64 thousand tokens over that at 4": faster(seconds["short"], seconds["long"], SHORT / LONG),
        "speed over exact attention at 64 thousand tokens": faster(seconds["long"], seconds["exact"]),
    }
    rows = [{"sample": size, "error": error} for size, error in zip(SAMPLES, errors, strict=True)]
    return Findings(numbers=numbers, rows=rows)


USES = ("papers/checks/_sparse_prefill.py", "methods/attend/approximate/_sorted.py", "papers/timing.py")
QUALITY = Direct(work=quality, uses=(*USES, "methods/attend/approximate/hyper_attention.py"))
LAYER = Direct(work=layer, uses=USES)

PAPER = Paper(
    title="HyperAttention: Long-context Attention in Near-Linear Time",
    arxiv=("2310.05869",),
    family="attention",
    methods=("hyper-attention",),
    claims=(
        Claim(
            says="Half the layers can be replaced at a small loss.",
            metric="perplexity",
            setting="LongBench texts of 32 thousand tokens, half of 28 layers",
            size="ChatGLM2-6B-32k",
            figure="5.6 to 6.3",
            section="abstract; experiments on monkey patching",
            experiment=QUALITY,
            limits=(Limit(number="half the layers, change of perplexity", at_most=20, expected=12.5),),
            also=(
                "half the layers, pairs multiplied",
                "all layers, change of perplexity",
                "all layers, pairs multiplied",
            ),
        ),
        Claim(
            says="More samples mean less error, down to none.",
            metric="relative error of one head's output",
            setting="theory, spectral norm",
            size="any",
            figure="1 over the square root of the samples",
            section="main theorem",
            experiment=LAYER,
            limits=(
                Limit(number="growth of the error with more samples", at_most=1, expected=0.5),
                Limit(number="error with all keys sampled", at_most=1e-4, expected=0),
            ),
        ),
        Claim(
            says="Time is near-linear in the text.",
            metric="time a token",
            setting="4 to 131 thousand tokens",
            size="any",
            figure="near-linear",
            section="abstract; title",
            experiment=LAYER,
            limits=(Limit(number="cost a token at 64 thousand tokens over that at 4", at_most=2, expected=1.5),),
        ),
        Claim(
            says="One causal layer is several times faster than exact attention.",
            metric="time of one causal attention layer",
            setting="131 thousand tokens, one A100; here 64 thousand, one head",
            size="one layer",
            figure="5 times",
            section="abstract",
            experiment=LAYER,
            limits=(
                Limit(number="speed over exact attention at 64 thousand tokens", at_least=1, expected=5),
                Limit(number="speed over exact attention at 64 thousand tokens", at_least=5, expected=5),
            ),
        ),
    ),
)
