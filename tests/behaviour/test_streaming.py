"""On the embedded model and text: reading far beyond the trained length, beside the naive twin."""

from __future__ import annotations

import pytest
import torch

import paretolm
from benchmarks.streaming_quality import losses, recomputed, text_stream

LENGTHS, SAMPLES = 4, 40


@pytest.fixture(scope="module")
def stream():
    lm = paretolm.load("reference")
    return lm, text_stream(lm, lm.view.trained_length * LENGTHS, None)


@pytest.fixture(scope="module")
def far(stream):
    """Mean loss beyond the trained length, and at the sampled positions."""
    lm, ids = stream
    trained = lm.view.trained_length
    places = torch.linspace(2 * trained, ids.shape[1] - 2, SAMPLES).long()
    lines = {
        "dense": "dense",
        "streaming-llm": f"streaming-llm(sinks=4, window={trained - 4})",
        "lm-infinite": "lm-infinite",
    }
    nll = {name: losses(lm, line, ids) for name, line in lines.items()}
    return nll, places, recomputed(lm, ids, places, trained), trained


@pytest.mark.parametrize("name", ["streaming-llm", "lm-infinite"])
def test_streaming_stays_within_a_tenth_of_recomputing_the_window(far, name: str) -> None:
    nll, places, twin, _ = far
    assert float(nll[name][places].mean().exp()) <= 1.10 * twin


def test_dense_breaks_beyond_the_trained_length_where_streaming_does_not(far) -> None:
    nll, _, _, trained = far
    beyond = {name: float(values[2 * trained :].mean().exp()) for name, values in nll.items()}
    assert beyond["dense"] > 1.5 * beyond["streaming-llm"]


def test_within_the_trained_length_nothing_changes(far) -> None:
    nll, _, _, trained = far
    for name in ("streaming-llm", "lm-infinite"):
        torch.testing.assert_close(nll[name][: trained - 5], nll["dense"][: trained - 5], atol=1e-3, rtol=1e-3)
