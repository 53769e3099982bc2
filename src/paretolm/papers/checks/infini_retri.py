"""InfiniRetri (2502.12962): attention finds the sentences that are needed, window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper
from ._haystack import USES, last_tokens, measured

if TYPE_CHECKING:
    from torch import Tensor

    from ...evaluation.task import Item
    from ...studies.study import Findings, Place

LENGTHS, CHUNK, BUDGET, QUESTION = 16, 256, 256, 24  # 64 windows of 256 new tokens
LINE = f"infini-retri(budget={BUDGET}tok, chunk_size={CHUNK}, question={QUESTION})"


def work(at: Place) -> Findings:
    """A fact in 64 windows: what is kept and answered, beside truncation and pieces taken evenly, of equal length."""
    others = {"truncation": lambda _, ids, size: last_tokens(ids, size), "even pieces": even_pieces}
    return measured(at, LINE, LENGTHS, others, "infini-retri")


def even_pieces(_: Item, ids: Tensor, size: int) -> Tensor:
    """Stretches of 32 tokens at even distances, and the question; `size` tokens in all."""
    import torch

    context, num = ids.shape[1] - QUESTION, (size - QUESTION) // 32
    starts = [round(i * (context - 32) / max(1, num - 1)) for i in range(num)]
    index = [*(start + j for start in starts for j in range(32)), *range(context, ids.shape[1])]
    return ids[:, torch.tensor(index)]


FAR = Direct(work=work, uses=USES)

PAPER = Paper(
    title="Infinite Retrieval: Attention Enhanced LLMs in Long-Context Processing",
    arxiv=("2502.12962",),
    family="prompts",
    methods=("infini-retri",),
    claims=(
        Claim(
            says="The needle is among the sentences that are kept, however long the input.",
            metric="needle accuracy",
            setting="Needle in a Haystack to 1 million tokens; here 64 windows",
            size="Qwen2.5-0.5B-Instruct",
            figure="100%",
            section="abstract; needle experiments",
            experiment=FAR,
            limits=(Limit(number="infini-retri: fact kept", at_least=90, expected=100),),
        ),
        Claim(
            says="What is kept stays small: a fraction of the input is read for the answer.",
            metric="tokens read for the answer",
            setting="LongBench",
            size="Qwen2-7B, Llama-3-8B, Mistral-7B",
            figure="4% to 14% of the input",
            section="cost of inference",
            experiment=FAR,
            limits=(
                Limit(
                    number="longest prompt that is read, of the window",
                    at_most=100 * (BUDGET + QUESTION) / 1024,
                    expected=25,
                ),
            ),
        ),
        Claim(
            says="Answers are better than from other ways to shorten the input.",
            metric="task scores",
            setting="nine tasks of LongBench",
            size="Qwen2-7B, Llama-3-8B, Mistral-7B",
            figure="up to 288% above the plain model; above StreamingLLM, H2O, SnapKV",
            section="abstract; LongBench",
            experiment=FAR,
            limits=(
                Limit(number="change of answers against truncation", at_least=0, expected=60),
                Limit(number="change of answers against even pieces", at_least=0, expected=60),
            ),
            also=("infini-retri: answers", "truncation: answers", "even pieces: answers"),
        ),
    ),
)
