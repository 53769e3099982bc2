"""Perplexity by position of dense, window, StreamingLLM and LM-Infinite, and against recomputing the window.

    python benchmarks/streaming_quality.py --lengths 16

Every recipe reads the same stream, built from many documents, through its cache. The naive twin recomputes, for
sampled positions, one forward over the last tokens. If the model has attention sinks, the window without them should
blow up; the share of attention that each layer pays to the first tokens says whether it has.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
from torch import Tensor

import paretolm
from paretolm.bridge.lm import LM
from paretolm.cards import positions
from paretolm.cards.positions import losses, sink_share
from paretolm.evaluation.source import TextSource
from paretolm.evaluation.streams import encode, separator, tokenizer_of


def main() -> None:
    options = parse()
    lm = paretolm.load(options.model)
    trained = lm.view.trained_length
    recipes = {**positions.streaming_recipes(trained), "lm-infinite": "lm-infinite"}
    stream = text_stream(lm, trained * options.lengths, options.text)
    print(f"{stream.shape[1]} tokens, trained length {trained}; perplexity by position in trained lengths")
    nll = {name: losses(lm, line, stream) for name, line in recipes.items()}
    edges = positions.edges(stream.shape[1], trained)
    table = {name: positions.by_position([values], edges, trained) for name, values in nll.items()}
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
    source, tokenizer = TextSource.open(path), tokenizer_of(lm)
    ids: list[int] = []
    for document in source.eval_documents:
        ids += [*separator(tokenizer, first=True), *encode(tokenizer, document.text)[0]]
        if len(ids) >= length:
            return torch.tensor([ids[:length]])
    raise SystemExit(f"the text has {len(ids)} tokens, {length} are needed; give more with --text or fewer --lengths")


def recomputed(lm: LM, ids: Tensor, places: Tensor, window: int) -> float:
    """Perplexity at `places` where each token is read from a fresh forward over the `window` tokens up to it."""
    return float(positions.recomputed(lm, ids, places, window).mean().exp())


if __name__ == "__main__":
    sys.exit(main())
