"""Idealized runtime: what a request takes on stated hardware when nothing else runs, from a few timed runs.

Narayanan et al. 2023, 'Cheaply Evaluating Inference Efficiency Metrics for Autoregressive Transformer APIs'
(2305.02440): T(p, o) = time to read p prompt tokens + (o - 1) times the time of an output token. The reading time is
measured at a few prompt lengths, the time of an output token is fitted over all runs.

Where we leave the paper: between the lengths measured we interpolate, where the authors' code scales the next larger
one; an output token's time may grow with the context it reads, as it does where attention is not small beside the
matrices (a small model, a processor); slopes are medians of slopes (Theil, Sen), which a run that was disturbed does
not move. Without contention means: where one thread of a CPU works, its processor time, else the time of the clock.

Shapes are all that matters: weights may be random, as the authors' were.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..errors import CallError

if TYPE_CHECKING:
    from torch import Tensor

    from ..bridge.lm import LM

Request = tuple[int, int]  # tokens of the prompt, tokens of the output
MOST_RUNS = 10  # that a fit may use
_PER_PROMPT = 2  # runs a prompt length, of different output lengths


@dataclass(frozen=True)
class Timed:
    """One run, in seconds of one clock. first_s: until the first token; total_s: until the last."""

    prompt: int
    output: int
    first_s: float
    total_s: float


@dataclass(frozen=True)
class RuntimeModel:
    """T(p, o). knots: (prompt tokens, seconds to read them and choose a token), ascending; per_token: seconds of a
    further token with nothing to read back; growth: seconds more for each token of context, with its 95% interval."""

    knots: tuple[tuple[int, float], ...]
    per_token: float
    growth: float
    growth_interval: tuple[float, float] = (0.0, 0.0)

    def prompt_seconds(self, prompt: int) -> float:
        """Linear between knots and beyond the last; below the first, the first."""
        first, *_, last = self.knots
        if prompt <= first[0]:
            return first[1]
        for (a, low), (b, high) in pairwise(self.knots):
            if prompt <= b or b == last[0]:
                return low + (high - low) * (prompt - a) / (b - a)
        raise AssertionError("one of the pairs ends at the last knot")

    def seconds(self, prompt: int, output: int) -> float:
        """Of a request with `output` new tokens, at least one."""
        return self.prompt_seconds(prompt) + (output - 1) * self.token_seconds(prompt + output / 2)

    def token_seconds(self, context: float) -> float:
        """Of an output token that reads `context` tokens back."""
        return self.per_token + self.growth * context


def fit(runs: Sequence[Timed]) -> RuntimeModel:
    """Raises CallError for more than ten runs, fewer than two prompt lengths, or no run of two output tokens."""
    if len(runs) > MOST_RUNS:
        raise CallError(f"a fit takes at most {MOST_RUNS} timed runs, not {len(runs)}: that is what makes it cheap")
    lengths = sorted({run.prompt for run in runs})
    decoded = [run for run in runs if run.output > 1]
    if len(lengths) < 2 or not decoded:
        raise CallError("a fit needs runs of two prompt lengths or more, some of them with two output tokens or more")
    knots, reached = [], 0.0
    for length in lengths:  # a longer prompt never takes less
        reached = max(reached, min(run.first_s for run in runs if run.prompt == length))
        knots.append((length, reached))
    contexts = [run.prompt + run.output / 2 for run in decoded]
    rates = [(run.total_s - run.first_s) / (run.output - 1) for run in decoded]
    growth, interval = _growth(contexts, rates)
    per_token = statistics.median(r - growth * c for c, r in zip(contexts, rates, strict=True))
    return RuntimeModel(tuple(knots), per_token, growth, interval)


def _growth(contexts: Sequence[float], rates: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The median of the slopes of all pairs, never below zero, and its interval."""
    from scipy.stats import theilslopes

    if len(set(contexts)) < 3:
        return 0.0, (0.0, 0.0)
    slope, _, low, high = theilslopes(rates, contexts)
    return max(0.0, float(slope)), (float(low), float(high))


# --- which requests ---


def fitting_requests(room: int, output: int, runs: int) -> list[Request]:
    """(prompt, output) of the runs to fit: prompt lengths from 1 to as many as leave room for the output, closer
    together where they are short; two output lengths each."""
    longest, num = room - output, max(2, runs // _PER_PROMPT)
    lengths = sorted({max(1, round(longest * (i / (num - 1)) ** 2)) for i in range(num)})
    return [(p, o) for p in lengths for o in (output, max(2, output // 2))][:runs]


def unseen_requests(fitted: Collection[Request], room: int, output: int, num: int, seed: int) -> list[Request]:
    """Others than the fitted ones: prompts one of each stretch of the lengths that fit, outputs from a quarter to
    twice `output`."""
    rng = random.Random(seed)
    found: list[Request] = []
    while len(found) < num:
        width = (room - 2 * output) / num
        prompt = rng.randint(1 + int(width * len(found)), max(1, int(width * (len(found) + 1))))
        request = (prompt, rng.randint(max(2, output // 4), 2 * output))
        if request not in fitted:
            found.append(request)
    return found


# --- timing, in a process of its own ---


def time_job(
    model: str,
    load_options: dict[str, Any],
    requests: Sequence[Sequence[int]],
    layers: int | None,
    chunk: int,
    seed: int,
) -> dict[str, Any]:
    """{'runs': [[first, total of the clock], [first, total of the processor]] a request, in their order, 'shape': what
    a forward must at least do, 'parameters': their number}. layers: another number of them, with random weights."""
    import torch

    from ..recipes.convert import load
    from ..recipes.recipe import Recipe
    from .arms import settled_heap, shape_facts

    lm = load(model, **load_options)
    if layers is not None:
        lm = of_depth(lm, layers)
    generator = torch.Generator().manual_seed(seed)
    texts = [torch.randint(lm.view.vocab_size, (1, p + o), generator=generator) for p, o in requests]
    with settled_heap(), Recipe().apply(lm) as session:
        facts = shape_facts(session)
        time_request(session, texts[0].to(lm.model.device), requests[0][0], chunk)  # does not count
        runs = [time_request(session, t.to(lm.model.device), r[0], chunk) for t, r in zip(texts, requests, strict=True)]
    return {"runs": runs, "shape": facts, "parameters": sum(p.numel() for p in lm.model.parameters())}


def time_request(session: Any, ids: Tensor, prompt: int, chunk: int) -> list[list[float]]:
    """[first, total] seconds of the clock and of the processor; ids [1, prompt + output], the last never read."""
    from .arms import quiet

    session.reset()
    with quiet():
        start, begun = time.perf_counter(), time.process_time()
        stream = session.stream()
        for begin in range(0, prompt, chunk):
            end = min(begin + chunk, prompt)
            out = stream.read(ids[:, begin:end], last=end == prompt, logits=False)
        out.logits[:, -1].argmax().item()  # waits for the device, as choosing the token would
        first, spent = time.perf_counter() - start, time.process_time() - begun
        for i in range(prompt, ids.shape[1] - 1):
            stream.step(ids[:, i : i + 1]).logits[:, -1].argmax().item()
        return [[first, time.perf_counter() - start], [spent, time.process_time() - begun]]


def of_depth(lm: LM, layers: int) -> LM:
    """The same architecture with another number of layers and random weights."""
    import copy

    from ..bridge.lm import LM

    config = copy.deepcopy(lm.model.config)
    kinds = getattr(config, "layer_types", None)
    if kinds:
        config.layer_types = [kinds[i % len(kinds)] for i in range(layers)]
    config.num_hidden_layers = layers
    made = type(lm.model)(config).to(lm.model.dtype).to(lm.model.device).eval()
    return LM.from_model(made, lm.tokenizer, name=f"{lm.name} with {layers} layers")


def timed(requests: Sequence[Request], runs: Sequence[Sequence[float]]) -> list[Timed]:
    return [Timed(p, o, first, total) for (p, o), (first, total) in zip(requests, runs, strict=True)]


def roofline_seconds(request: Request, ceilings: Mapping[str, float]) -> float:
    """The least time for a request: its prompt and its further tokens at their ceilings (tokens/s)."""
    prompt, output = request
    return prompt / ceilings["prefill_tok_s"] + (output - 1) / ceilings["decode_tok_s"]
