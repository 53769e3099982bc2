"""Bytes really held: storages, not shapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel


def held_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind `tensors`, each byte once.

    A view counts with everything it keeps alive (a slice of a large buffer frees nothing), and tensors that
    share memory (tied weights, one mapped file) count once, also where two storages overlap.
    """
    spans, unplaced = _spans(tensors)
    return unplaced + sum(_union(s) for s in spans.values())


def page_rounding(tensors: Iterable[Tensor], page: int) -> int:
    """Bytes of the pages that the storages lie on, less those of the storages themselves, each byte once."""
    spans, _ = _spans(tensors)
    whole = {
        device: {(start // page * page, -(-end // page) * page) for start, end in s} for device, s in spans.items()
    }
    return sum(_union(whole[device]) - _union(spans[device]) for device in spans)


def module_bytes(module: nn.Module) -> int:
    """Bytes held by parameters and buffers, buffers that are not saved included."""
    return held_bytes([*module.parameters(), *module.buffers()])


def _spans(tensors: Iterable[Tensor]) -> tuple[dict[torch.device, set[tuple[int, int]]], int]:
    """(device -> [start, end) of each storage, bytes of those without addresses)."""
    storages = [s for t in tensors for s in _storages(t)]  # held until counted: a freed address could come back
    spans: dict[torch.device, set[tuple[int, int]]] = defaultdict(set)
    unplaced: dict[int, int] = {}  # the meta device has no addresses
    for storage in storages:
        size = storage.nbytes()
        if not size:
            continue
        if storage.device.type == "meta":
            unplaced[storage._cdata] = size
        else:
            spans[storage.device].add((storage.data_ptr(), storage.data_ptr() + size))
    return spans, sum(unplaced.values())


def _storages(tensor: Tensor) -> list[torch.UntypedStorage]:
    tensor = tensor.detach()
    if tensor.layout is torch.strided:
        parts = [tensor]
    elif tensor.layout is torch.sparse_coo:
        parts = [tensor._indices(), tensor._values()]
    elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        parts = [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    else:
        parts = [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return [part.untyped_storage() for part in parts]


def _union(spans: set[tuple[int, int]]) -> int:
    """Length of the union of half-open intervals."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def forward_bytes(model: PreTrainedModel) -> float:
    """Weight bytes that a forward of one token must read at least: all but the rows of the input embedding it
    does not look up, and the experts it is not sent to."""
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head is not None and getattr(head, "weight", None) is getattr(table, "weight", head)
    skipped = set() if tied or table is None else {id(p) for p in table.parameters()}
    share = _expert_share(model.config.get_text_config())
    read = [(name.split("."), p) for name, p in model.named_parameters() if id(p) not in skipped]
    experts = held_bytes([p for path, p in read if "experts" in path])
    return held_bytes([*(p for path, p in read if "experts" not in path), *model.buffers()]) + share * experts


def _expert_share(config: PretrainedConfig) -> float:
    """Experts a token is sent to, of all."""
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    total = next((getattr(config, n) for n in names if getattr(config, n, None)), 1)
    return min(1.0, (getattr(config, "num_experts_per_tok", None) or total) / total)
