"""Scales++ (2510.26384): a twentieth of a set, chosen by what its items demand, predicts full scores."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

# what `paretolm train early --text CORPUS --to DATA/early` keeps
MODELS = tuple(f"{{data}}/early/checkpoints/{step:07d}" for step in (10, 40, 80, 160, 320, 500, 700, 900))
SUBSET = Rerun(
    study="scales-pp(path={data}/blimp, items=6700)",
    models=(*MODELS, "draft", "reference"),
    needs_data=("early", "blimp"),
)

PAPER = Paper(
    title="Scales++: Compute Efficient Evaluation Subset Selection with Cognitive Scales Embeddings",
    arxiv=("2510.26384",),
    family="evaluation",
    studies=("scales-pp",),
    claims=(
        Claim(
            says="Full scores are predicted from a small subset chosen by item features alone.",
            metric="mean absolute error of the full score",
            setting="Open LLM Leaderboard, 0.5% of the items",
            size="models of the leaderboard",
            figure="2.9 points",
            section="section 5, table 1",
            experiment=SUBSET,
            limits=(Limit(number="scales: error", at_most=3, expected=1.5),),
            also=("scales, weighted mean alone: error",),
        ),
        Claim(
            says="The subset does better than a random one of its size.",
            metric="error of a random subset minus that of the chosen one",
            setting="Open LLM Leaderboard, 0.5% of the items",
            size="models of the leaderboard",
            figure="random subsets have larger errors at equal size",
            section="section 5, table 1",
            experiment=SUBSET,
            limits=(Limit(number="random minus scales", at_least=0, expected=0.5),),
            also=("random: error", "random subsets that do worse"),
        ),
    ),
)
