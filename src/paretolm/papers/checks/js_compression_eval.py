"""Compression and tasks (2409.11233): divergence tells more of tasks than perplexity, and calibration text matters."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

PRUNED = Rerun(study="js-compression-eval")
HALF = {m: (f"{m} at 0.5, rise of perplexity", f"{m} at 0.5, task loss") for m in ("wanda", "sparsegpt")}

PAPER = Paper(
    title="Evaluating the Impact of Compression Techniques on Task-Specific Performance of Large Language Models",
    arxiv=("2409.11233",),
    family="evaluation",
    methods=("magnitude", "wanda", "sparsegpt"),
    studies=("js-compression-eval",),
    claims=(
        Claim(
            says="At half of the weights Wanda and SparseGPT keep perplexity and lose on tasks.",
            metric="perplexity; task scores",
            setting="LLaMA-2-7B pruned by half, calibrated on C4",
            size="LLaMA-2-7B",
            figure="perplexity close to the whole model's, clear losses on instructions",
            section="abstract; evaluation",
            experiment=PRUNED,
            limits=tuple(
                limit
                for rise, loss in HALF.values()
                for limit in (
                    Limit(number=rise, at_most=30, expected=20),
                    Limit(number=loss, at_least=5, expected=15),
                )
            ),
        ),
        Claim(
            says="Divergence from the whole model ranks the loss on tasks at least as well as perplexity.",
            metric="rank correlation with the loss on tasks",
            setting="three methods at several sparsities",
            size="LLaMA-2-7B",
            figure="Jensen-Shannon divergence follows the tasks, perplexity does not",
            section="Jensen-Shannon divergence as a measure",
            experiment=PRUNED,
            limits=(
                Limit(number="rank correlation of js and task loss", at_least=0.5, expected=0.9),
                Limit(number="the same, js minus perplexity", at_least=0, expected=0.1),
            ),
            also=("rank correlation of perplexity and task loss",),
        ),
        Claim(
            says="Calibrating on text of the task beats general text on the task.",
            metric="task score",
            setting="SparseGPT and Wanda calibrated on C4 and on Alpaca",
            size="LLaMA-2-7B",
            figure="clearly better on the task that the text is of",
            section="calibration data",
            experiment=PRUNED,
            limits=(
                Limit(number="gain of wanda by task text", at_least=0, expected=10),
                Limit(number="gain of sparsegpt by task text", at_least=0, expected=10),
            ),
        ),
    ),
)
