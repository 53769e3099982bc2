"""Bits per byte on held-out text, by domain."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from .contracts import Source
from .tokens import TokenFile

TOGETHER = 8  # sequences read at once


class Validator:
    """Draws its sequences once, so that all validations of a run read the same."""

    def __init__(self, text: TokenFile, source: Source, token_bytes: list[int], sequences: int) -> None:
        self._bytes = torch.tensor(token_bytes)
        self._pad = source.eos
        self._batches = {name: self._draw(text, domain, source, sequences) for domain, name in enumerate(text.names)}

    def _draw(self, text: TokenFile, domain: int, source: Source, count: int) -> list[np.ndarray]:
        """Windows of documents, each begun with <bos>."""
        size = source.length - 1
        windows = [d[i : i + size] for d in text.documents(domain) for i in range(0, len(d), size)]
        chosen = np.random.default_rng([source.seed, 3, domain]).permutation(len(windows))[:count]
        return [np.concatenate([[source.bos], windows[i]]).astype(np.int64) for i in sorted(chosen.tolist())]

    @torch.inference_mode()
    def measure(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Bits per byte of 'all' together and of each domain, one that is called 'all' left out."""
        nats: dict[str, float] = {}
        sizes: dict[str, int] = {}
        for name, sequences in self._batches.items():
            nats[name], sizes[name] = 0.0, 0
            for i in range(0, len(sequences), TOGETHER):
                ids, real = self._padded(sequences[i : i + TOGETHER])
                nats[name] += _nats(model, ids.to(device), real.to(device))
                sizes[name] += int(self._bytes[ids[:, 1:]][real].sum())
        found = {name: nats[name] / math.log(2) / sizes[name] for name in nats if sizes[name] and name != "all"}
        return {"all": sum(nats.values()) / math.log(2) / max(1, sum(sizes.values())), **found}

    def _padded(self, sequences: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """ids [B, L] and which of the targets [B, L - 1] are real."""
        longest = max(map(len, sequences))
        ids = torch.full((len(sequences), longest), self._pad)
        real = torch.zeros(len(sequences), longest - 1, dtype=torch.bool)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.from_numpy(sequence)
            real[row, : len(sequence) - 1] = True
        return ids, real


def _nats(model: nn.Module, ids: Tensor, real: Tensor) -> float:
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return float(losses[real.flatten()].double().sum())
