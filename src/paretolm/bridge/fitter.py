"""What `fit` sees of a model and a text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..contracts import Altered, LayerInputs
from ..errors import FitError, TextError
from .altered import altered_forward
from .binding import Binding
from .layerwise import Change, See, layer_by_layer
from .lm import LM
from .rope import frequencies
from .view import decoder


class TextFitter:
    """contracts.Fitter over a model and documents of text, a piece at a time."""

    def __init__(self, lm: LM, documents: Sequence[str]) -> None:
        if lm.tokenizer is None:
            raise FitError(f"{lm.name} came without a tokenizer, so nothing can be fitted on text")
        if not any(document.strip() for document in documents):
            raise TextError("the fitting text is empty; give a file with text in it")
        self.view, self.tokenizer = lm.view, lm.tokenizer
        self._lm, self._model, self._texts = lm, lm.model, documents

    @property
    def data_hash(self) -> str:
        """Changes with any document, their order and their number."""
        return text_hash(self._texts)

    @property
    def inv_freq(self) -> Tensor | None:
        """As `contracts.Fitter` has it."""
        return None if self.view.rope is None else frequencies(self._model, self.view.rope)()

    def documents(self) -> Iterator[Tensor]:
        """Token ids [1, T] of each document; one longer than the trained length comes as several pieces."""
        for text in self._texts:
            ids: Tensor = self._encode(text)
            for piece in ids.split(self.view.trained_length, dim=1):
                if piece.shape[1]:
                    yield piece

    def _encode(self, text: str) -> Tensor:
        encoded: dict[str, Any] = self.tokenizer(text, verbose=False)
        return torch.tensor([encoded["input_ids"]], dtype=torch.long, device=self._model.device)

    @torch.no_grad()
    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """(logits [1, T, V], hidden [1, T, d] after the last norm). The head is the model's own, so scaled and
        capped logits come out as the model means them."""
        seen: list[Tensor] = []
        base = decoder(self._model)
        handle = base.register_forward_hook(lambda _module, _args, out: seen.append(out[0]))
        try:
            logits: Tensor = self._model(input_ids=ids, use_cache=False).logits
        finally:
            handle.remove()
        return logits, seen[-1]

    def layer_inputs(self, ids: Tensor, layer: int) -> LayerInputs:
        """As `contracts.Fitter` has it."""
        return Binding(self._model, self.view, None, lambda: None).layer_inputs(ids, layer)

    def altered(self, ids: Tensor, change: Altered) -> tuple[Tensor, Tensor]:
        """As `contracts.Fitter` has it."""
        return altered_forward(self._lm, ids, change)

    def layer_by_layer(self, pieces: Sequence[Tensor], see: See, change: Change) -> None:
        """As `contracts.Fitter` has it."""
        layer_by_layer(self._model, [layer.path for layer in self.view.layers], pieces, see, change)


def text_hash(documents: Iterable[str]) -> str:
    """sha256 over documents, each with its length, so that no two lists share one."""
    digest = hashlib.sha256()
    for document in documents:
        raw = document.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
