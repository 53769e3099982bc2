"""Many requests from many clients at `paretolm serve`, some wrong, some left in the middle, and the server killed.

    python benchmarks/serve_soak.py                       # the embedded draft model, 2,000 requests, 32 clients
    python benchmarks/serve_soak.py --requests 200 --clients 8 --ends KILL --json

It passes when every request ended in an answer, a refusal with a status, or a connection that broke because the
server was killed; when every answer is the model's own for that prompt and seed (replayed here, one at a time); and
when, at the end, nothing runs or waits, and the server has no more threads and file descriptors than at the beginning
of its last life and at most --most-mib more anonymous memory (after malloc_trim). The server's last end is a SIGTERM,
which must exit with 0. Ends in between come after equal shares of the requests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, it finds its neighbours
from benchmarks._soak_client import KINDS, Ask, Clients, Server, questions
from paretolm.evaluation.gauges import field_bytes
from paretolm.evaluation.machine import machine

OUTPUT = Path(__file__).parent / "results" / "serve_soak.json"
MIB = 1 << 20
RECIPE = "window(window=32)"


def main() -> int:
    if sys.argv[1:2] == ["--as-server"]:
        return as_server(sys.argv[2:])
    options = parse()
    found = soak(options)
    print(table(found), file=sys.stderr)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    if options.json:
        print(json.dumps(found))
    return 0 if found["passed"] else 1


def parse(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="draft")
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--ends", nargs="*", default=["KILL", "TERM", "KILL"], choices=["KILL", "TERM"])
    parser.add_argument("--warm-up", type=int, default=100, help="requests of the last life before memory is compared")
    parser.add_argument("--most-mib", type=float, default=8.0)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds a client waits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUTPUT)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(given)


def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was found, as JSON."""
    began = time.monotonic()
    asks, texts = questions(options.requests, options.seed), replayed(options)
    with tempfile.TemporaryDirectory() as place, Process(options, Path(place) / "log") as process:
        process.start()
        clients = Clients(Server(process.port), asks, texts, options.timeout)
        with ThreadPoolExecutor(options.clients) as pool:
            working = [pool.submit(clients.work) for _ in range(options.clients)]
            try:
                codes = lives(options, process, clients)
                last = last_life(options, process, clients)
            finally:
                clients.end()
            for client in working:
                client.result()
        rest, counts = process.rest(), process.metrics()
        codes.append(process.end("TERM"))
        log = process.log.read_text()
    return judged(options, clients, codes, {**last, "rest": rest, "metrics": counts, "log": log}) | {
        "seconds": round(time.monotonic() - began, 1)
    }


def replayed(options: argparse.Namespace) -> dict[int, str]:
    """The model's own answer to each kind of question, one at a time, in this process."""
    import torch

    import paretolm
    from paretolm.recipes.recipe import Recipe
    from paretolm.serving.conversation import prompt_ids, stops

    torch.set_num_threads(1)
    texts = {}
    with Recipe.parse(options.recipe).apply(paretolm.load(options.model)) as session:
        for kind in range(KINDS):
            asked, chat = Ask(0, kind, "whole").body, "messages" in Ask(0, kind, "whole").body
            prompt = prompt_ids(session.tokenizer, asked["messages"]) if chat else asked["prompt"]
            chance = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0} if asked["temperature"] else {}
            session.reset()
            text = session.generate(prompt, max_new_tokens=asked["max_tokens"], seed=kind, **chance).text
            ends = [at for stop in stops(session.tokenizer) if chat and (at := text.find(stop)) >= 0]
            texts[kind] = text[: min(ends, default=None)]
    return texts


def lives(options: argparse.Namespace, process: Process, clients: Clients) -> list[int]:
    """Exit codes of all lives but the last, which begins with nobody let in."""
    share, codes = options.requests // (len(options.ends) + 1), []
    for number, end in enumerate(options.ends, 1):
        clients.server.let_in()
        wait(lambda due=number * share: len(clients.found) >= due, 3600)
        clients.server.up.clear()
        codes.append(process.end(end))
        process.start()
    return codes


def last_life(options: argparse.Namespace, process: Process, clients: Clients) -> dict[str, Any]:
    """Warms up alone, lets the clients in, and weighs the process now and then: [requests ended, MiB anonymous]."""
    alone = Server(process.port)
    alone.let_in()
    warm_up = Clients(alone, questions(options.warm_up, options.seed + 1), clients.texts, options.timeout)
    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(warm_up.work) for _ in range(4)]:
            one.result()
    before, first = process.rest(), len(clients.found)
    samples = [(0, before["anonymous_mib"])]
    clients.server.let_in()
    for due in np.linspace(first, options.requests, 9)[1:]:
        wait(lambda due=due: len(clients.found) >= due, 3600)
        samples.append((len(clients.found) - first, process.weigh()))
    return {"before": before, "samples": samples, "warm_up_wrong": warm_up.wrong}


def judged(options: argparse.Namespace, clients: Clients, codes: list[int], seen: dict[str, Any]) -> dict[str, Any]:
    before, rest, counts = seen["before"], seen["rest"], seen["metrics"]
    slope = float(np.polyfit(*zip(*seen["samples"], strict=True), 1)[0]) * 1000
    wanted = [-signal.SIGKILL if end == "KILL" else 0 for end in options.ends] + [0]
    checks = {
        "every request ended": len(clients.found) == options.requests,
        "nothing wrong or lost": not clients.wrong and not seen["warm_up_wrong"],
        "exit codes": codes == wanted,
        "nothing runs or waits": counts["running"] == counts["waiting"] == 0,
        "no more threads": rest["threads"] <= before["threads"],
        "no more file descriptors": rest["fds"] <= before["fds"],
        "memory": rest["anonymous_mib"] - before["anonymous_mib"] <= options.most_mib,
        "no traceback": "Traceback" not in seen["log"],
    }
    return {
        "passed": all(checks.values()),
        "checks": checks,
        "requests": options.requests,
        "clients": options.clients,
        "model": options.model,
        "recipe": options.recipe,
        "ends": [*options.ends, "TERM"],
        "outcomes": dict(sorted(clients.counts.items())),
        "wrong": [*clients.wrong, *seen["warm_up_wrong"]][:20],
        "last_life": {"before": before, "after": rest, "samples": seen["samples"], "metrics": counts},
        "mib_per_1000_requests": round(slope, 3),
        "log": seen["log"][-2000:] if "Traceback" in seen["log"] else "",
        "machine": machine().as_json(),
    }


def table(found: dict[str, Any]) -> str:
    last = found["last_life"]
    lines = [f"{count:6d}  {what}" for what, count in found["outcomes"].items()]
    lines += [f"{'yes' if passed else 'NO':>6}  {what}" for what, passed in found["checks"].items()]
    lines += [f"{last['before'][k]:6.6g} -> {last['after'][k]:.6g}  {k}" for k in last["before"]]
    lines += [f"{found['mib_per_1000_requests']:6.2f}  MiB anonymous a 1,000 requests, in the last life"]
    return "\n".join([*lines, *found["wrong"], f"{found['seconds']:6.0f}  seconds"])


def wait(what: Callable[[], Any], seconds: float) -> Any:
    """What it gives when it is true."""
    end = time.monotonic() + seconds
    while not (given := what()):
        if time.monotonic() > end:
            raise TimeoutError("it did not come to that")
        time.sleep(0.02)
    return given


# --- the server ---


def as_server(arguments: list[str]) -> int:
    """paretolm's own command; SIGUSR1 gives freed memory back, so that what is held can be seen from outside."""
    from paretolm.cli import main as command
    from paretolm.evaluation.gauges import trim

    signal.signal(signal.SIGUSR1, lambda *_: trim())
    sys.argv = ["paretolm", *arguments]
    return command() or 0


class Process:
    """`paretolm serve` on one port, as often as it is started."""

    def __init__(self, options: argparse.Namespace, log: Path) -> None:
        recipe = ["-m", options.recipe, "--unmeasured"] if options.recipe else []
        limits = ["--max-waiting", str(max(1, options.clients - 4)), "--drain-seconds", "60", "--max-model-len", "1024"]
        me = [sys.executable, __file__, "--as-server", "serve", options.model]
        self._command = [*me, *recipe, *limits, "--served-model-name", "soak", "--port"]
        self.port, self.log = 0, log
        self._ran: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ran is not None and self._ran.poll() is None:
            self.end("KILL")

    def start(self) -> None:
        """Returns when requests are taken."""
        said = self.log.stat().st_size if self.log.exists() else 0
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with self.log.open("ab") as log:
            self._ran = subprocess.Popen([*self._command, str(self.port)], stderr=log, env={**os.environ, **threads})

        def ready() -> re.Match[str] | None:
            text = self.log.read_text()[said:]
            if self._ran is None or self._ran.poll() is not None:
                raise RuntimeError(f"the server ended before it was ready: {text}")
            return re.search(r":(\d+)/v1", text)

        self.port = int(wait(ready, 900)[1])

    def end(self, how: str) -> int:
        """The exit code after SIGKILL or SIGTERM."""
        assert self._ran is not None
        self._ran.send_signal(signal.SIGKILL if how == "KILL" else signal.SIGTERM)
        return self._ran.wait(300)

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as got:
            text = got.read().decode()
        names = {"running": "requests_running", "waiting": "requests_waiting", "cancelled": "cancelled_total"}
        return {k: float(re.search(rf"^paretolm_{n} (\S+)", text, re.MULTILINE)[1]) for k, n in names.items()}

    def weigh(self) -> float:
        """MiB of anonymous memory, freed memory given back."""
        assert self._ran is not None
        self._ran.send_signal(signal.SIGUSR1)
        time.sleep(0.5)
        return field_bytes(f"/proc/{self._ran.pid}/smaps_rollup", "Anonymous") / MIB

    def rest(self) -> dict[str, float]:
        """When nothing runs and nobody is connected."""
        assert self._ran is not None
        wait(lambda: not (now := self.metrics())["running"] + now["waiting"], 60)
        seen = psutil.Process(self._ran.pid)
        fds = min(seen.num_fds() for _ in range(20) if not time.sleep(0.05))
        return {
            "threads": seen.num_threads(),
            "fds": fds,
            "rss_mib": round(seen.memory_info().rss / MIB, 2),
            "anonymous_mib": round(self.weigh(), 2),
        }


if __name__ == "__main__":
    sys.exit(main())
