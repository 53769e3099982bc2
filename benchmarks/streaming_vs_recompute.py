"""Time per token of StreamingLLM against recomputing the window for every token, in one run, taking turns.

    python benchmarks/streaming_vs_recompute.py --window 256 512 1024

Both read as many tokens: StreamingLLM 4 sinks and the last window - 4 from its cache, the other side the last
`window` in one forward without a cache (the paper's section 4.5 makes this comparison). One grows with the window,
the other with its square. The ratio is recomputed over streaming, of the same repeat.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paretolm.evaluation.isolated import run_isolated
from paretolm.evaluation.machine import machine, usable_threads
from paretolm.evaluation.spread import spread

if TYPE_CHECKING:
    from torch import Tensor

    from paretolm.bridge.lm import LM
    from paretolm.bridge.stream import Stream

SINKS, REPEATS, CHUNK = 4, 7, 256


def main() -> None:
    options = parse()
    print(f"{options.model} on {machine()}; {options.threads} threads used; ms/token, median [interval]")
    print(f"{'window':>8}{'streaming-llm':>28}{'recomputed':>28}{'ratio':>24}")
    results = {}
    for window in options.window:
        arguments = {"model": options.model, "window": window, "tokens": options.tokens}
        told = run_isolated(f"{Path(__file__).stem}:job", arguments, threads=options.threads)
        ms = {name: spread([1000 * s for s in told[name]]) for name in ("streaming", "recomputed")}
        ratio = spread([b / a for a, b in zip(told["streaming"], told["recomputed"], strict=True)])
        print(f"{window:>8}{ms['streaming']!s:>28}{ms['recomputed']!s:>28}{ratio!s:>24}", flush=True)
        results[window] = {**{k: v.as_json() for k, v in ms.items()}, "ratio": ratio.as_json(), "raw": told}
    if options.json:
        print(json.dumps(results))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference")
    parser.add_argument("--window", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--tokens", type=int, default=8, help="tokens timed in a repeat")
    parser.add_argument("--threads", type=int, default=usable_threads())
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    return parser.parse_args()


def job(model: str, window: int, tokens: int) -> dict[str, list[float]]:
    """Seconds a token of each side, a number a repeat; runs in a process of its own."""
    import torch

    import paretolm

    lm, plain = paretolm.load(model), paretolm.load(model)  # a model under a recipe refuses a forward without its cache
    torch.manual_seed(0)
    ids = torch.randint(lm.view.vocab_size, (1, 2 * window + (REPEATS + 1) * tokens))
    found: dict[str, list[float]] = {"streaming": [], "recomputed": []}
    with paretolm.recipe(f"streaming-llm(sinks={SINKS}, window={window - SINKS})").apply(lm) as session:
        stream = session.stream()
        for start in range(0, 2 * window, CHUNK):
            part = ids[:, start : min(start + CHUNK, 2 * window)]
            stream.read(part, last=start + CHUNK >= 2 * window, logits=False)
        for repeat in range(REPEATS + 1):
            begin = 2 * window + repeat * tokens
            text = ids[:, : begin + tokens]
            sides = [
                ("streaming", lambda t=text: step(stream, t, tokens)),
                ("recomputed", lambda t=text: recompute(plain, t, tokens, window)),
            ]
            for name, run in sides if repeat % 2 else reversed(sides):
                seconds = timed(run) / tokens
                if repeat:  # the first one warms up
                    found[name].append(seconds)
    return found


def timed(run: Any) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def step(stream: Stream, text: Tensor, tokens: int) -> None:
    for i in range(text.shape[1] - tokens, text.shape[1]):
        stream.step(text[:, i : i + 1]).logits.argmax().item()


def recompute(lm: LM, text: Tensor, tokens: int, window: int) -> None:
    """One forward over the last `window` tokens for each new one, without a cache."""
    import torch

    with torch.inference_mode():
        for end in range(text.shape[1] - tokens + 1, text.shape[1] + 1):
            lm.model(text[:, end - window : end], use_cache=False, logits_to_keep=1).logits.argmax().item()


if __name__ == "__main__":
    sys.exit(main())
