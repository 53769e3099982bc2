"""ActQKV (2502.13542): queries that stand out say best which part of the past a window needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper
from ._selecting import FAR_TEXT

if TYPE_CHECKING:
    from torch import Tensor

    from ...contracts import LayerInputs
    from ...studies.study import Findings, Place

LENGTH, TEXTS, FROM, WINDOW = 1024, 20, 512, 64  # windows of queries in the second half of texts
N_INIT, N_LOCAL, BLOCK, TOPK = 4, 128, 16, 8
PROBES = ("activated", "mean", "last")


def retrieval(at: Place) -> Findings:
    """Attention of windows of queries on what is far, and the share of it in the blocks that three probes look up."""
    import torch

    from ...bridge.rope import buffer_name, rotate
    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..numbers import mean

    lm = at.load(at.models[0])
    rope = lm.view.rope
    assert rope is not None
    module = lm.model.get_submodule(rope.path)
    inv_freq = getattr(module, str(buffer_name(module)))
    ids: list[str] = []
    rows = []
    with Session.open(lm, Recipe()) as session, torch.inference_mode():
        for text in build(at.source, lm, LENGTH, TEXTS, per_document=LENGTH, seed=0):
            found = torch.zeros(len(PROBES))
            for layer in range(lm.view.num_layers):
                inputs, place = session.binding.layer_inputs(text.ids, layer), torch.arange(LENGTH)[None, None]
                bare = rotate(inputs.keys, -place, inv_freq, rope.halves)
                moved = rotate(inputs.queries, N_LOCAL - place, inv_freq, rope.halves)
                found += _caught(inputs, bare, moved)
            ids.append(text.id)
            rows.append(dict(zip(PROBES, (100 * found / lm.view.num_layers).tolist(), strict=True)))
    numbers = {f"attention caught, {name}": mean([row[name] for row in rows], ids, unit="%") for name in PROBES}
    for other in PROBES[1:]:
        gains = [row["activated"] - row[other] for row in rows]
        numbers[f"attention caught, activated over {other}"] = mean(gains, ids, unit="points")
    return Findings(numbers=numbers, rows=[{"text": text, **row} for text, row in zip(ids, rows, strict=True)])


def _caught(inputs: LayerInputs, bare: Tensor, moved: Tensor) -> Tensor:
    """[3] the mean over windows of the share of attention on blocks that each probe's TOPK get.

    bare: keys [1, H, n, D] at position 0; moved: queries [1, Hq, n, D] at N_LOCAL."""
    import torch

    from ...methods.attend.select._blocks import Sizes, local_attention, relevance, represent
    from ...methods.attend.select._choice import attention, reading
    from ...methods.attend.select.actqkv import activation_bias, weighed

    sizes = Sizes(N_INIT, N_LOCAL, BLOCK, repr_topk=4)
    received = local_attention(inputs.queries, inputs.keys, 0, 0, N_LOCAL)
    num = sizes.blocks(LENGTH)
    cuts = [slice(sizes.begin(b), sizes.begin(b + 1)) for b in range(num)]
    vectors = torch.stack([represent(bare[:, :, c], received[..., c], sizes.repr_topk) for c in cuts], dim=2)
    flat, shares = moved.transpose(1, 2).flatten(2), []
    for start in range(FROM, LENGTH, WINDOW):
        rows, blocks = slice(start, start + WINDOW), sizes.blocks(start)
        seen = flat[:, : rows.stop]
        bias = activation_bias(flat[:, rows], seen.mean(1), seen.var(1, unbiased=False))
        queries = moved[:, :, rows]
        probes = (weighed(queries, bias), queries.mean(2), queries[:, :, -1])
        own = torch.arange(start, rows.stop)
        mass = attention(inputs.queries[:, :, rows], inputs.keys, reading(LENGTH, own)).sum((0, 1, 2, 3))
        far = torch.stack([mass[c].sum() for c in cuts[:blocks]])
        picked = [relevance(p, vectors[:, :, :blocks])[0].topk(TOPK).indices for p in probes]
        shares.append(torch.stack([far[index].sum() for index in picked]) / far.sum())
    return torch.stack(shares).mean(0)


PROBE = Direct(work=retrieval, uses=("methods/attend/select", "bridge/rope.py"))

PAPER = Paper(
    title="Activation-aware Probe-Query: Effective Key-Value Retrieval for Long-Context LLMs Inference",
    arxiv=("2502.13542",),
    family="cache",
    methods=("actqkv",),
    claims=(
        Claim(
            says="A probe of the most activated queries retrieves more of what matters than the mean of all does.",
            metric="attention on what is retrieved; task scores",
            setting="LongBench and InfiniteBench with 2 thousand entries; here 8 blocks of 16 at equal windows",
            size="Llama-3-8B-Instruct, Qwen2.5-7B-Instruct",
            figure="above InfLLM and other retrieval",
            section="experiments; analysis of the probe query",
            experiment=PROBE,
            limits=(
                Limit(number="attention caught, activated over mean", at_least=0, expected=2),
                Limit(number="attention caught, activated over last", at_least=0, expected=5),
            ),
            also=tuple(f"attention caught, {name}" for name in PROBES),
        ),
        Claim(
            says="With it long texts are read better at an equal number of entries.",
            metric="task scores; here perplexity",
            setting="LongBench, InfiniteBench; here 16 windows of 256",
            size="Llama-3-8B-Instruct, Qwen2.5-7B-Instruct",
            figure="state of the art",
            section="experiments",
            experiment=FAR_TEXT,
            limits=(Limit(number="actqkv, perplexity against infllm", at_most=0, expected=-0.5),),
            also=("actqkv, perplexity against sinks + window", "actqkv, perplexity against a recomputed window"),
        ),
    ),
)
