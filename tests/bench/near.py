"""A cluster whose only node is this machine, without Ray: the same workers, asked the same way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paretolm.bench.cluster.hand import RayHand
from paretolm.bench.cluster.node import Post
from paretolm.evaluation.machine import machine

ELSEWHERE = {**machine().as_json(), "cpu": "another processor", "hash": "elsewhere"}


class NearHand(RayHand):
    """Its actor is a Post in this process; what is said goes through JSON, as it must be able to."""

    def call(self, name: str, *args: Any) -> Any:
        return getattr(self.actor, name)(*json.loads(json.dumps(args)))

    def close(self) -> None:
        self.actor._client.close()

    @property
    def pid(self) -> int:
        return self.actor._client.pid


@dataclass
class NearCluster:
    """As cluster.Cluster, with two places."""

    address: str
    folder: Path
    threads: int = 1
    device: str = "cpu"
    memory: int = 0
    size: int = 2
    hired: list[NearHand] = field(default_factory=list)
    closed: int = 0

    def hire(self, module: str, wanted: Callable[[], bool] = lambda: True) -> NearHand | None:
        if not wanted():
            return None
        self.hired.append(NearHand(Post(self.threads, module), self.folder, "near", ELSEWHERE, lambda: None))
        return self.hired[-1]

    def close(self) -> None:
        self.closed += 1
