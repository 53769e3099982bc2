"""Reading far beyond the trained length: loss by position of recipes, the window recomputed, attention on the first
tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..bridge.reading import attention_weights
from ..evaluation.metrics.likelihood import token_nll
from ..recipes.recipe import Recipe
from ..recipes.session import Session
from .scoring import Tell, silent

if TYPE_CHECKING:
    from ..bridge.lm import LM

SINKS = 4
WARM = 64  # queries before this one have little but the first tokens to look at
_AT_ONCE = 1 << 13  # tokens of one forward of recomputed windows


def streaming_recipes(trained: int, sinks: int = SINKS) -> dict[str, str]:
    """Name -> recipe of equal memory: the last `trained` tokens, and with the first ones among them."""
    return {
        "dense": "dense",
        "window": f"window(window={trained})",
        "sinks + window": f"streaming-llm(sinks={sinks}, window={trained - sinks})",
    }


def losses(lm: LM, line: str, ids: Tensor, chunk: int = 64, tell: Tell = silent) -> Tensor:
    """Negative log-likelihood [T-1] of each next token of ids [1, T], read through the cache."""
    found, size = [], ids.shape[1]
    with Session.open(lm, Recipe.parse(line)) as session, torch.inference_mode():
        stream = session.stream()
        for start in range(0, size - 1, chunk):
            logits = stream.step(ids[:, start : start + chunk]).logits[0]
            targets = ids[0, start + 1 : start + 1 + len(logits)]
            found.append(token_nll(logits[: len(targets)], targets).cpu())
            tell(min(1.0, (start + chunk) / size))
    return torch.cat(found)


def recomputed(lm: LM, ids: Tensor, places: Tensor, window: int, sinks: int = 0, tell: Tell = silent) -> Tensor:
    """Loss [n] of the token after each place, read in a fresh forward over the `window` tokens up to it; with `sinks`
    over that many first tokens of the text and window - sinks up to it."""
    found, rows = [], max(1, _AT_ONCE // window)
    back = torch.arange(sinks - window + 1, 1)
    for part in places.split(rows):
        first = torch.arange(sinks).expand(len(part), sinks)
        read = ids[0, torch.cat([first, part[:, None] + back], dim=1)]
        with torch.inference_mode():
            logits = lm.model(read.to(lm.model.device), use_cache=False, logits_to_keep=1).logits[:, 0]
        found.append(token_nll(logits, ids[0, part + 1]).cpu())
        tell(sum(map(len, found)) / len(places))
    return torch.cat(found)


def sink_share(lm: LM, ids: Tensor) -> list[float]:
    """Mean attention that queries from the `WARM`th on pay to the first 4 tokens of ids [1, T], by layer."""
    shares = []
    with Session.open(lm, Recipe()) as session:
        for layer in range(lm.view.num_layers):
            seen = session.binding.layer_inputs(ids.to(lm.model.device), layer)
            causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=seen.keys.device).tril()
            weights = attention_weights(seen.queries, seen.keys, causal[None, None], seen.scaling)
            shares.append(float(weights[:, :, WARM:, :SINKS].sum(-1).mean()))
    return shares


def even_share(length: int) -> float:
    """`sink_share` of attention that is spread evenly."""
    return float(np.mean([SINKS / (query + 1) for query in range(WARM, length)]))


def edges(length: int, trained: int) -> list[float]:
    """Borders of positions in trained lengths: 0, 0.5, 1, 2, 4, ... up to the stream's end."""
    found, end = [0.0, 0.5, 1.0], length / trained
    while found[-1] < end:
        found.append(min(found[-1] * 2, end))
    return found


def by_position(nll: Sequence[Tensor], borders: Sequence[float], trained: int) -> list[float]:
    """Perplexity between borders (in trained lengths), of several streams together."""
    spans = [(int(a * trained), int(b * trained)) for a, b in pairwise(borders)]
    return [float(torch.cat([x[a:b] for x in nll]).mean().exp()) for a, b in spans]
