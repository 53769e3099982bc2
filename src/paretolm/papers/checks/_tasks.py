"""Tasks and lines that several checks share, so that the untouched model is measured once for all of them."""

from __future__ import annotations

RECALL = "recall(repeats=8)"  # one fact in half a trained length and in a whole one, 80 items
TEXT = "perplexity(length=1024, streams=20, audit=0)"
CONTINUED = "generation-quality(prompts=24, max_new_tokens=96)"
SAMPLED = "generation-quality(prompts=24, max_new_tokens=96, temperature=1.0)"
