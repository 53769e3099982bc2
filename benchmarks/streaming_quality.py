"""Perplexity by position of dense, window, StreamingLLM and LM-Infinite, and against recomputing the window.

    python benchmarks/streaming_quality.py --lengths 16

Every recipe reads the same stream, built from many documents, through its cache. The naive twin recomputes, for
sampled positions, one forward over the last tokens (sinks included for its second form). If the model has attention
sinks, the window without them should blow up; the share of attention that each layer pays to the first tokens says
whether it has.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise

import torch
from torch import Tensor

import paretolm
from paretolm.bridge.lm import LM
from paretolm.bridge.reading import attention_weights
from paretolm.recipes.session import Session

SINKS, CHUNK = 4, 64


def main() -> None:
    options = parse()
    lm = paretolm.load(options.model)
    trained = lm.view.trained_length
    window = trained - SINKS
    recipes = {
        "dense": "dense",
        "window": f"window(window={trained})",
        "streaming-llm": f"streaming-llm(sinks={SINKS}, window={window})",
        "lm-infinite": "lm-infinite",
    }
    stream = text_stream(lm, trained * options.lengths, options.text)
    print(f"{stream.shape[1]} tokens, trained length {trained}; perplexity by position in trained lengths")
    nll = {name: losses(lm, line, stream) for name, line in recipes.items()}
    edges = [0.0, 0.5, 1.0]
    while edges[-1] < options.lengths:
        edges.append(min(edges[-1] * 2, options.lengths))
    table = {name: by_position(values, edges, trained) for name, values in nll.items()}
    for name, row in table.items():
        print(f"{name:>14}" + "".join(f"{x:>9.1f}" for x in row))
    places = torch.arange(2 * trained, stream.shape[1] - 1, max(1, (stream.shape[1] - 2 * trained) // options.samples))
    twin = recomputed(lm, stream, places, trained)
    own = {name: float(values[places].mean().exp()) for name, values in nll.items()}
    print(f"at {len(places)} positions: recomputed {twin:.2f}, " + ", ".join(f"{k} {v:.2f}" for k, v in own.items()))
    sinks = sink_share(lm, stream[:, :trained])
    print("attention on the first 4 tokens by layer: " + " ".join(f"{s:.1%}" for s in sinks))
    found = {"edges": edges, "perplexity": table, "recomputed": twin, "sampled": own, "sink_share": sinks}
    if options.json:
        print(json.dumps(found))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference")
    parser.add_argument("--text", help="a text file or a folder; the embedded text by default")
    parser.add_argument("--lengths", type=int, default=16, help="length of the stream in trained lengths")
    parser.add_argument("--samples", type=int, default=400, help="positions at which the window is recomputed")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    return parser.parse_args()


def text_stream(lm: LM, length: int, path: str | None) -> Tensor:
    """[1, length] token ids of documents one after the other, each begun as the tokenizer's documents begin."""
    from paretolm.evaluation.source import TextSource

    source = TextSource.open(path)
    assert lm.tokenizer is not None
    ids: list[int] = []
    for document in source.eval_documents:
        ids += [lm.tokenizer.bos_token_id or lm.tokenizer.eos_token_id, *lm.tokenizer(document.text).input_ids]
        if len(ids) >= length:
            return torch.tensor([ids[:length]])
    raise SystemExit(f"the text has {len(ids)} tokens, {length} are needed; give more with --text or fewer --lengths")


def losses(lm: LM, line: str, ids: Tensor) -> Tensor:
    """Negative log-likelihood [T-1] of each next token, read through the cache."""
    found = []
    with paretolm.recipe(line).apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        for start in range(0, ids.shape[1] - 1, CHUNK):
            part = ids[:, start : start + CHUNK]
            logits = stream.step(part).logits[0]
            targets = ids[0, start + 1 : start + 1 + len(logits)]
            found.append(torch.nn.functional.cross_entropy(logits[: len(targets)].float(), targets, reduction="none"))
    return torch.cat(found)


def by_position(nll: Tensor, edges: list[float], trained: int) -> list[float]:
    spans = [(int(a * trained), int(b * trained)) for a, b in pairwise(edges)]
    return [float(nll[a:b].mean().exp()) for a, b in spans]


def recomputed(lm: LM, ids: Tensor, places: Tensor, window: int) -> float:
    """Perplexity at `places` where each token is read from a fresh forward over the `window` tokens up to it."""
    losses = []
    with torch.inference_mode():
        for end in places.tolist():
            logits = lm.model(ids[:, end - window + 1 : end + 1], use_cache=False, logits_to_keep=1).logits[0]
            losses.append(torch.nn.functional.cross_entropy(logits.float(), ids[0, end + 1 : end + 2]))
    return float(torch.stack(losses).mean().exp())


def sink_share(lm: LM, ids: Tensor) -> list[float]:
    """Mean attention that queries beyond the first 4 tokens pay to them, by layer."""
    shares = []
    with Session.open(lm, paretolm.recipe("dense")) as session:
        for layer in range(lm.view.num_layers):
            seen = session.binding.layer_inputs(ids, layer)
            causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()[None, None]
            weights = attention_weights(seen.queries, seen.keys, causal, seen.scaling)
            shares.append(float(weights[:, :, 64:, :SINKS].sum(-1).mean()))
    return shares


if __name__ == "__main__":
    sys.exit(main())
