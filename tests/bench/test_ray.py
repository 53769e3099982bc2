"""A comparison on a Ray cluster of two nodes: Ctrl-C and a killed node lose no cell and double none."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from paretolm.bench.compare import compare
from paretolm.bench.records.store import Store
from tests.bench.test_compare import everything, finished
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")

ROOT = Path(__file__).parents[2]
RECIPES = ["window(window=32)", "window(window=24)"]
TASKS = ["perplexity(length=96, streams=20, audit=0)", "divergence(length=96, streams=20, positions=8)"]
COMPARE = "from paretolm.cli import main; main()"
START_S = 300  # Ray on a busy machine


def end(process: subprocess.Popen[str]) -> None:
    """All of it, whatever it started."""
    with suppress(psutil.NoSuchProcess):
        started = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in started:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(started, timeout=20)
    process.wait()
    for stream in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):
            stream.close()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A busy machine may be too slow for Ray's own deadlines."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    place = tmp_path_factory.mktemp("ray")
    with (place / "err").open("w+") as err:
        command = [sys.executable, "-m", "tests.bench.ray_nodes"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": err, "text": True}
        process = subprocess.Popen(command, env=env, start_new_session=True, **pipes)
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            if not said and "timed out during startup" in (place / "err").read_text():
                pytest.skip("this machine is too busy to start a Ray cluster")
            assert said.startswith("address "), (place / "err").read_text()
            process.address = said.split()[1]  # type: ignore[attr-defined]
            yield process
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)
        finally:
            end(process)


@contextmanager
def called(nodes: Any, model: Path, words: Path, output: Path) -> Iterator[subprocess.Popen[str]]:
    lists = [*(f"-m{r}" for r in RECIPES), *(f"-t{t}" for t in TASKS)]
    more = ["--text", str(words), "-o", str(output), "--chunk", "1", "--workers", f"ray://{nodes.address}", "--json"]
    command = [sys.executable, "-c", COMPARE, "compare", str(model), *lists, *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def items_of(output: Path) -> dict[str, int]:
    """Items so far of the cells under way."""
    if not (output / "results.sqlite").exists():
        return {}
    with Store(output / "results.sqlite") as store:
        keys = [k for (k,) in store._db.execute("SELECT key FROM cells WHERE state = 'running'")]
        return {k: len(store.item_names(k)) for k in keys}


def workers(nodes: subprocess.Popen[str]) -> list[psutil.Process]:
    found = psutil.Process(nodes.pid).children(recursive=True)
    return [p for p in found if "paretolm.bench.workers.worker" in " ".join(p.cmdline())]


def test_nothing_is_lost_or_doubled(nodes: Any, model: Path, text: Path, tmp_path: Path) -> None:
    alone, output = tmp_path / "alone", tmp_path / "cluster"
    compare(str(model), RECIPES, TASKS, text=text, output=alone, threads=1, chunk=1)

    with called(nodes, model, text, output) as process:
        wait_for(lambda: any(items_of(output).values()), process, START_S)
        busy = workers(nodes)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert busy
    assert not psutil.wait_procs(busy, timeout=20)[1], "no worker is left on a node"
    kept = finished(output)
    assert len(kept) < 6

    with called(nodes, model, text, output) as process:
        wait_for(
            lambda: sum(n > 0 for n in items_of(output).values()) > 1 and len(workers(nodes)) > 1, process, START_S
        )
        nodes.stdin.write("kill\n")
        nodes.stdin.flush()
        assert nodes.stdout.readline() == "killed\n"
        out, err = process.communicate(timeout=START_S)
    assert process.returncode == 0, err
    found = json.loads(out.splitlines()[-1])
    assert found["computed"] == 6 - len(kept)
    assert kept.items() <= finished(output).items()
    assert everything(output) == everything(alone)
    with Store(output / "results.sqlite") as store:
        machines = {s.facts["machine"] for key in finished(output) for s in store.items(key)}
    assert machines == {found["machine"]["hash"]}
