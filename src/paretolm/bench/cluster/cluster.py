"""A Ray cluster at work for one call: connecting, hiring workers on its nodes, refusing nodes that are not alike."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...bridge.content import first_line
from ...errors import CellError, UserError
from .hand import RayHand, node_class
from .node import about

ANSWER_S = 10.0  # for a first answer of the cluster's address
JOIN_S = 60.0  # to join it
START_S = 120.0  # for a node to take a worker, while no other worker of ours is at work
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_OBJECTS = 100 << 20  # bytes of shared memory of a cluster that we start: only small messages pass through it


@dataclass
class Cluster:
    """address: ray://HOST:PORT, of a cluster that this machine is a node of; or empty for the one that Ray finds
    (RAY_ADDRESS, one on this machine), else one on this machine that ends with us. threads: of a worker, a processor
    each; memory: bytes it reserves; folder: of the results."""

    address: str
    folder: Path
    threads: int = 1
    device: str = "cpu"
    memory: int = 0
    _alive: float = field(default=0.0, init=False)  # when a worker of ours last answered
    _ours: bool = field(default=False, init=False)

    @cached_property
    def _ray(self) -> Any:
        """Raises UserError where nothing answers."""
        os.environ.update(_QUIET)
        if self.address:
            _knock(self.address)
        import ray

        if not ray.is_initialized():
            self._join(ray)
            self._ours = True
        return ray

    def _join(self, ray: Any) -> None:
        """Ray retries for minutes where what answers is no cluster, so it is left alone with that."""
        failed: list[BaseException] = [TimeoutError(f"it did not answer within {JOIN_S:g} s")]

        def join() -> None:
            try:
                self._init(ray)
            except BaseException as error:  # Ray's errors share no base; all of them are about this address
                failed.append(error)
            else:
                failed.clear()

        joining = threading.Thread(target=join, daemon=True)
        joining.start()
        joining.join(JOIN_S)
        if failed:
            raise UserError(
                f"the Ray cluster {self.name} cannot be used: {first_line(failed[-1])}; this machine must be one of its "
                "nodes (`ray start --address HOST:PORT`), with the same versions of Ray and Python"
            )

    def _init(self, ray: Any) -> None:
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address:
            ray.init(self.address.removeprefix("ray://"), **quiet)
            return
        try:
            ray.init("auto", **quiet)
        except ConnectionError:
            ray.init("local", include_dashboard=False, object_store_memory=_OBJECTS, **quiet)

    @property
    def name(self) -> str:
        return self.address or "found by Ray"

    @cached_property
    def size(self) -> int:
        """Workers that the nodes have room for. Raises UserError where there is none."""
        resources = [n["Resources"] for n in self._ray.nodes() if n["Alive"]]
        found = sum(self._room(r) for r in resources)
        if not found:
            raise UserError(
                f"no node of the Ray cluster {self.name} has {self._each}; give fewer --threads, or add nodes"
            )
        return found

    def _room(self, resources: Mapping[str, float]) -> int:
        rooms = [resources.get("CPU", 0) // self.threads]
        rooms += [resources.get("GPU", 0)] if self._gpus else []
        rooms += [resources.get("memory", 0) // self.memory] if self.memory else []
        return int(min(rooms))

    @property
    def _gpus(self) -> int:
        return int(self.device != "cpu")

    @property
    def _each(self) -> str:
        parts = ["one free processor" if self.threads == 1 else f"{self.threads} free processors"]
        parts += ["a GPU"] if self._gpus else []
        parts += [f"{self.memory / 2**30:.1f} GiB of memory"] if self.memory else []
        return " and ".join(parts)

    def hire(self, module: str, wanted: Callable[[], bool] = lambda: True) -> RayHand | None:
        """A worker on some node that has room, as soon as there is one; None once it is not wanted any more.

        Raises UserError for a node that is not like this machine, CellError where none takes a worker in time."""
        ray, since = self._ray, time.monotonic()
        while wanted():
            hand = self._offered(ray)
            try:
                facts = self._answer(ray, hand, wanted)
                if facts is not None:
                    hand.where, hand.machine = facts["where"], _alike(facts, about(self.device)["same"])
                    hand.call("start", self.threads, module)
                    return hand
                why = f"none has {self._each}"
            except (ray.exceptions.RayError, ConnectionError, CellError) as error:
                why = first_line(error)
                time.sleep(1)
            except BaseException:
                hand.close()
                raise
            hand.close()
            if time.monotonic() - max(since, self._alive) > START_S:
                raise CellError(f"no node of the Ray cluster {self.name} took a worker in {START_S:g} s: {why}")
        return None

    def _offered(self, ray: Any) -> RayHand:
        demand = {"num_cpus": self.threads, "num_gpus": self._gpus, "memory": self.memory or None}
        kind = ray.remote(node_class()).options(**demand, max_restarts=0, scheduling_strategy="SPREAD")
        return RayHand(kind.remote(), self.folder, "a node", {}, self._hear)

    def _hear(self) -> None:
        self._alive = time.monotonic()

    def _answer(self, ray: Any, hand: RayHand, wanted: Callable[[], bool]) -> Mapping[str, Any] | None:
        """What the node says of itself; None where no node took the worker, or it is not wanted any more."""
        asked, since = hand.actor.about.remote(self.device), time.monotonic()
        while wanted() and time.monotonic() - max(since, self._alive) < START_S:
            if ray.wait([asked], timeout=1.0)[0]:
                found: Mapping[str, Any] = ray.get(asked)
                self._hear()
                return found
        return None

    def close(self) -> None:
        """Leaves the cluster, and ends it where we started it."""
        if self._ours:
            self._ours = False
            self._ray.shutdown()
        for name in ("_ray", "size"):
            self.__dict__.pop(name, None)


def _knock(address: str) -> None:
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S).close()
    except OSError as error:
        raise UserError(
            f"nothing answers at {address} ({error.strerror or error}); it must be the address that "
            "`ray start --head` prints, with port 6379 by default"
        ) from None


def _alike(facts: Mapping[str, Any], here: Mapping[str, str]) -> Mapping[str, Any]:
    """The node's machine. Raises UserError where its numbers would not be ours."""
    if "error" in facts:
        raise UserError(f"paretolm does not start on {facts['where']} ({facts['error']}); install it on every node")
    for name, value in here.items():
        if facts["same"][name] != value:
            raise UserError(
                f"{name} differs on {facts['where']}: {facts['same'][name][:40]} there, {value[:40]} here; "
                "install the same on every node, or run on one machine"
            )
    machine: Mapping[str, Any] = facts["machine"]
    return machine
