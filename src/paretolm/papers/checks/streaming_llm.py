"""StreamingLLM (2309.17453): a window collapses without the first tokens, and streams for ever with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper
from ._decoding import DECODING
from ._far import FAR

if TYPE_CHECKING:
    from ...studies.study import Findings, Place

TEXTS = 8


def sinks(at: Place) -> Findings:
    """Attention that queries pay to the first four tokens of texts of the trained length, by layer."""
    from ...cards.positions import SINKS, even_share, sink_share
    from ...evaluation.streams import build
    from ...studies.study import Findings
    from ..numbers import exact, mean

    lm = at.load(at.models[0])
    trained = lm.view.trained_length
    streams = build(at.source, lm, trained, TEXTS, per_document=trained, seed=0)
    layers = {s.id: sink_share(lm, s.ids)[2:] for s in streams}
    upper = {name: 100 * sum(found) / len(found) for name, found in layers.items()}
    numbers = {
        f"attention on the first {SINKS} tokens above layer 1": mean(list(upper.values()), list(upper), unit="%"),
        "attention there if it were spread evenly": exact(100 * even_share(trained), "%"),
    }
    return Findings(numbers=numbers, rows=[{"text": name, "share_by_layer": found} for name, found in layers.items()])


SHARES = Direct(work=sinks, uses=("cards/positions.py",))

PAPER = Paper(
    title="Efficient Streaming Language Models with Attention Sinks",
    arxiv=("2309.17453",),
    family="cache",
    methods=("streaming-llm",),
    claims=(
        Claim(
            says="A plain window collapses once the first tokens have left it; four of them held beside it cure that.",
            metric="perplexity",
            setting="the first 20 thousand tokens of PG19, a cache of 1,024",
            size="Llama-2-13B",
            figure="5,158 with the window alone, 5.40 with 4 first tokens",
            section="table 1",
            experiment=FAR,
            limits=(Limit(number="sinks + window, perplexity against window", at_most=-50, expected=-99.9),),
            also=("window, perplexity against a recomputed window",),
        ),
        Claim(
            says="The full cache fails beyond the trained length, and sinks with a window do not.",
            metric="perplexity",
            setting="20 thousand tokens of PG19",
            size="Llama-2-7B, MPT-7B, Falcon-7B, Pythia-12B",
            figure="dense perplexity explodes past the trained length, that of sinks and window stays level",
            section="figure 3",
            experiment=FAR,
            limits=(Limit(number="sinks + window, perplexity against dense", at_most=-50, expected=-90),),
        ),
        Claim(
            says="Sinks and window predict as well as a window that is read afresh for every token.",
            metric="perplexity",
            setting="20 thousand tokens of PG19",
            size="Llama-2-13B",
            figure="5.40 beside 5.43",
            section="table 1 and figure 3",
            experiment=FAR,
            limits=(Limit(number="sinks + window, perplexity against a recomputed window", at_most=5, expected=-0.5),),
        ),
        Claim(
            says="The first tokens collect a large share of attention in all but the lowest layers.",
            metric="mean attention on the first tokens",
            setting="short texts; above the bottom two layers",
            size="Llama-2-7B",
            figure="most of a head's attention",
            section="section 3.1, figure 2",
            experiment=SHARES,
            limits=(Limit(number="attention on the first 4 tokens above layer 1", at_least=25, expected=50),),
            also=("attention there if it were spread evenly",),
        ),
        Claim(
            says="A token takes far less time than with recomputing the window for each.",
            metric="decoding speed over sliding window with recomputation",
            setting="one A6000, caches of 256 to 4,096 tokens",
            size="Llama-2-7B and 13B",
            figure="up to 22.2 times",
            section="section 4.5, figure 10",
            experiment=DECODING,
            limits=(
                Limit(number="sinks + window, speed over recomputing", at_least=2, expected=22.2),
                Limit(number="sinks + window, speed over recomputing", at_least=22.2, expected=22.2),
            ),
        ),
        Claim(
            says="Memory stays flat however long the text is.",
            metric="bytes of the cache",
            setting="up to 4 million tokens",
            size="Llama-2, MPT, Falcon, Pythia",
            figure="constant",
            section="section 4.1 and 4.5",
            experiment=DECODING,
            limits=(Limit(number="sinks + window, cache at 8 trained lengths over that at 2", at_most=1, expected=1),),
            also=("dense, cache at 8 trained lengths over that at 2",),
        ),
    ),
)
