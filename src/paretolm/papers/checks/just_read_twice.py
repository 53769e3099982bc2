"""Just read twice (2407.05483): a prompt that comes twice helps who must choose what to remember."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place
    from ..found import Found

TWICE = "just-read-twice"
FACTS = "recall(lengths=0.45, num_facts=4, repeats=8)"


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of recall when it is read twice": found.change("recall", TWICE),
        "dense recall": found.mean("recall"),
    }


def states(at: Place) -> Findings:
    """Layers with a state of fixed size in the model at hand."""
    from ...studies.study import Findings
    from ..numbers import exact

    view = at.load(at.models[0]).view
    return Findings(numbers={"recurrent layers": exact(sum(layer.kind == "linear" for layer in view.layers))})


TRANSFORMER = Bench(recipes=(TWICE,), tasks=(FACTS,), measure=measure)
RECURRENT = Direct(work=states)
HAS_STATES = (Limit(number="recurrent layers", at_least=1, expected=12),)

PAPER = Paper(
    title="Just read twice: closing the recall gap for recurrent language models",
    arxiv=("2407.05483",),
    family="prompts",
    methods=("just-read-twice",),
    claims=(
        Claim(
            says="Recurrent models recall more when the context comes twice.",
            metric="accuracy over 6 recall tasks",
            setting="zero-shot, 16 models",
            size="Mamba, GLA, Based and others, 130M to 2.8B",
            figure="11.0 +/- 1.3 points",
            section="abstract; JRT-Prompt",
            experiment=RECURRENT,
            limits=(Limit(number="recurrent layers", at_least=1, expected=12),),
            needs=HAS_STATES,
        ),
        Claim(
            says="A Transformer, which looks back for free, gains less than that.",
            metric="accuracy over 6 recall tasks",
            setting="the same prompts",
            size="Transformer++ at the recurrent models' sizes",
            figure="below the recurrent models' 11.0 points",
            section="JRT-Prompt",
            experiment=TRANSFORMER,
            limits=(Limit(number="change of recall when it is read twice", at_most=11, expected=0),),
            also=("dense recall",),
        ),
        Claim(
            says="A recurrent architecture that reads the prompt in both directions nearly closes the gap.",
            metric="average recall quality of the Transformer's",
            setting="JRT-RNN, pretrained on 30 and 50 billion tokens",
            size="360M, 1.3B",
            figure="99% and 96%",
            section="abstract; JRT-RNN",
            experiment=RECURRENT,
            limits=(Limit(number="recurrent layers", at_least=1, expected=12),),
            needs=HAS_STATES,
        ),
    ),
)
