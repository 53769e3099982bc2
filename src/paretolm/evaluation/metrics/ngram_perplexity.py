"""A text as a vector: how surprising each token's neighbourhood is, beside the text as a whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ngram_perplexities(nll: Array, n: int) -> Array:
    """Nats of a text's tokens [T] -> perplexity of each run of n of them [T - n + 1], n at most T."""
    runs = np.lib.stride_tricks.sliding_window_view(nll, min(n, len(nll)))
    return np.exp(runs.mean(axis=1))


def relative_perplexities(ngrams: Array, tokens: int) -> Array:
    """Perplexities of all runs of n tokens [T - n + 1] -> for each of the T tokens the mean over the runs it stands
    in, divided by the mean over tokens: 1 is as surprising as the text is on average."""
    n = tokens - len(ngrams) + 1
    sums, counts = np.zeros(tokens), np.zeros(tokens)
    for offset in range(n):
        sums[offset : offset + len(ngrams)] += ngrams
        counts[offset : offset + len(ngrams)] += 1
    values = sums / counts
    return np.asarray(values / values.mean())
