"""What several methods must do alike: bytes within the prediction at every step, padded batches refused."""

from collections.abc import Sequence

import pytest
import torch

import paretolm
from paretolm.errors import CallError
from tests.contract.tiny import text, tiny


def bytes_at_every_step(line: str, parts: Sequence[int], length: int) -> None:
    """A prompt read in parts that end at the tokens given, then one token at a time up to `length`."""
    lm, recipe, ids = tiny(), paretolm.recipe(line), text(length)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        for start, end in zip((0, *parts), parts, strict=False):
            stream.read(ids[:, start:end], last=end == parts[-1])
        for t in range(parts[-1], length):
            stream.step(ids[:, t : t + 1])
            cost = recipe.cost(lm.view, t + 1)
            assert stream.kv_bytes in cost.kv_bytes
            assert stream.index_bytes in cost.index_bytes


def padding_is_refused(line: str, said: str) -> None:
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, :3] = 0
    with paretolm.recipe(line).apply(tiny()) as session, pytest.raises(CallError, match=said):
        session.lm.model(text(12, batch=2), attention_mask=mask)
