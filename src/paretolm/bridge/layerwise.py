"""The model's layers, one after the other, over a few texts: what calibration by layers needs.

The texts go through the layers together, so that the work of a whole pass is one forward for what the layers are
called with and two of each layer, and only one layer's input is held at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel

See = Callable[[str, Tensor], None]
Change = Callable[[str, Tensor], Tensor | None]
Call = tuple[tuple[Any, ...], dict[str, Any]]  # what a layer is called with beside the hidden states


@torch.no_grad()
def layer_by_layer(
    model: PreTrainedModel, paths: Sequence[str], pieces: Sequence[Tensor], see: See, change: Change
) -> None:
    """`see(path, x [T, in])` hears what each matrix of a layer reads of every piece of ids [1, T]; then
    `change(path, weight [out, in])` says what stands there instead (None: nothing), and the layer's outputs under
    that are what the next one reads. The model's own weights stay as they are."""
    layers = [model.get_submodule(path) for path in paths]
    read = [_calls(model, layers, ids) for ids in pieces]
    hidden = [first for first, _ in read]
    for number, (path, layer) in enumerate(zip(paths, layers, strict=True)):
        calls = [each[number] for _, each in read]
        matrices = {name: m for name, m in layer.named_modules() if isinstance(m, nn.Linear)}
        with _heard(path, matrices, see):
            for x, call in zip(hidden, calls, strict=True):
                _output(layer, {}, x, call)
        found = {f"{name}.weight": change(f"{path}.{name}", m.weight.detach()) for name, m in matrices.items()}
        new = {name: weight for name, weight in found.items() if weight is not None}
        if number + 1 < len(layers):
            hidden = [_output(layer, new, x, call) for x, call in zip(hidden, calls, strict=True)]


def _calls(model: PreTrainedModel, layers: Sequence[nn.Module], ids: Tensor) -> tuple[Tensor, list[Call]]:
    """What the first layer reads, and what each layer is called with beside that."""
    first: list[Tensor] = []
    calls: list[Call] = []

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rest = dict(kwargs)
        hidden = args[0] if args else rest.pop("hidden_states")
        if not first:
            first.append(hidden)
        calls.append((args[1:], rest))

    handles = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    try:
        model(input_ids=ids, use_cache=False, logits_to_keep=1)
    finally:
        for handle in handles:
            handle.remove()
    return first[0], calls


@contextmanager
def _heard(path: str, matrices: Mapping[str, nn.Module], see: See) -> Iterator[None]:
    def tell(name: str, _: nn.Module, args: tuple[Any, ...]) -> None:
        see(f"{path}.{name}", args[0].reshape(-1, args[0].shape[-1]))

    handles = [m.register_forward_pre_hook(partial(tell, name)) for name, m in matrices.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _output(layer: nn.Module, weights: dict[str, Tensor], hidden: Tensor, call: Call) -> Tensor:
    found = functional_call(layer, weights, (hidden, *call[0]), call[1])
    output: Tensor = found[0] if isinstance(found, tuple) else found
    return output
