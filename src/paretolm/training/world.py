"""The processes of one run: alone, or started by torchrun, one a device."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import UserError

_PATIENCE = timedelta(hours=2)  # others wait while the first process reads and encodes the text


@dataclass(frozen=True)
class World:
    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Each tensor becomes its mean over the processes, in place."""
        if self.size == 1:
            return
        found = list(tensors)
        flat = torch.cat([t.reshape(-1).float() for t in found])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, part in zip(found, flat.split([t.numel() for t in found]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def share_weights(self, model: nn.Module) -> None:
        """Everyone gets the first process's weights."""
        if self.size > 1:
            for parameter in model.parameters():
                dist.broadcast(parameter.data, 0)

    def any(self, flag: bool) -> bool:
        """Whether one process says yes."""
        if self.size == 1:
            return flag
        told = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(told)
        return bool(told.item())


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The world of this process: torchrun's where it started us. Raises UserError for a device that is not there."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    name = f"cuda:{os.environ['LOCAL_RANK']}" if size > 1 and device == "cuda" else device
    try:
        place = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UserError(f"there is no device {name!r} here, or this torch is built without it") from error
    if size == 1:
        yield World(place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield World(place, dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
