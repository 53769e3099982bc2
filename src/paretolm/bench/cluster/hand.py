"""A worker on a node, as the machine of the call sees it: asked and heard like one of its own processes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...bridge.content import first_line
from ...errors import UserError
from ...evaluation.isolated import rebuilt
from ..records.relay import Event, Serving
from ..workers.client import WorkerDied

LEASE_S = 120.0  # a node that says nothing for so long has lost what it took


def node_class() -> type:
    """Of the actor that holds a worker on a node. Made in a function, so that Ray sends it whole: where paretolm is
    not installed, the node can still say so."""

    class Node:
        def about(self, device: str) -> dict[str, Any]:
            import ray

            where = {"where": ray.util.get_node_ip_address()}
            try:
                from paretolm.bench.cluster.node import about
            except ImportError as error:
                return where | {"error": str(error)}
            return where | about(device)

        def start(self, threads: int, module: str) -> None:
            from paretolm.bench.cluster.node import Post

            self._post = Post(threads, module)

        def ask(self, request: Mapping[str, Any]) -> None:
            self._post.ask(request)

        def hear(self, replies: Sequence[Any]) -> Sequence[Event]:
            return self._post.hear(replies)

    return Node


@dataclass
class RayHand:
    """One worker on a node. folder: of the results; where: the node's address; alive: is told when it answers."""

    actor: Any
    folder: Path
    where: str
    machine: Mapping[str, Any]
    alive: Callable[[], None]

    def ask(self, hear: Callable[[Event], None] = lambda _: None, **request: Any) -> Any:
        """As WorkerClient.ask. WorkerDied also where the node is lost or silent; what the worker had taken is free
        again in any case."""
        serving, busy = Serving(self.folder, uuid.uuid4().hex[:12], self.machine), list[str]()
        try:
            self.call("ask", request)
            replies: list[Any] = []
            while True:
                events, replies = self.call("hear", replies), []
                for event in events:
                    match event["event"]:
                        case "end":
                            return event["result"]
                        case "error":
                            raise self._told(event["error"])
                        case "died":
                            raise WorkerDied(f"{event['why']} (on {self.where})", event["cells"])
                        case "store" | "file":
                            answer = serving(event)
                            replies += [answer] if event["wants"] else []
                        case kind:
                            busy = event["cells"] if kind == "at" else busy
                            hear(event)
        except WorkerDied as death:
            death.cells = death.cells or busy
            raise
        finally:
            serving.close()

    def call(self, name: str, *args: Any) -> Any:
        """Raises WorkerDied where no answer comes."""
        import ray

        try:
            answer = ray.get(getattr(self.actor, name).remote(*args), timeout=LEASE_S)
        except ray.exceptions.GetTimeoutError:
            raise WorkerDied(f"the node {self.where} said nothing for {LEASE_S:g} s", []) from None
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise WorkerDied(f"the worker on {self.where} was lost ({first_line(error)})", []) from None
        self.alive()
        return answer

    def _told(self, error: Mapping[str, str]) -> Exception:
        """The worker's own error; a mistake that only this node sees says where."""
        found = rebuilt(error)
        return type(found)(f"on {self.where}: {found}") if isinstance(found, UserError) else found

    def close(self) -> None:
        """Ends the worker at once: it ends with its standard input."""
        import ray

        with suppress(Exception):  # whatever became of the cluster, there is nothing left to do
            ray.kill(self.actor)
