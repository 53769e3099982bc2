"""One process is its own world; two of them train the weights of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from paretolm.errors import UserError
from paretolm.training.log import read_log
from paretolm.training.run import toml, train
from paretolm.training.world import World, joined
from tests.training import tiny


def test_one_process_is_its_own_average() -> None:
    with joined("cpu") as world:
        tensors = [torch.tensor([1.0, 2.0]), torch.tensor(3.0)]
        world.average(tensors)
        world.wait()
        world.share_weights(torch.nn.Linear(2, 2))
        assert (world.first, world.size, world.any(True), world.any(False)) == (True, 1, True, False)
    assert [t.tolist() for t in tensors] == [[1.0, 2.0], 3.0]


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_one_sentence(device: str) -> None:
    with pytest.raises(UserError, match=f"there is no device '{device}' here"), joined(device):
        pass


def test_sequences_are_shared_out() -> None:
    """What the processes read together is what one reads alone."""
    from types import SimpleNamespace

    from paretolm.training.contracts import Sampled
    from paretolm.training.loop import Loop

    def read(rank: int, size: int, step: int) -> list[int]:
        world = World(torch.device("cpu"), rank, size)
        loop = SimpleNamespace(
            settings=tiny.settings(batch_size=8), world=world, sequence=lambda n: Sampled(torch.tensor([n]).numpy())
        )
        batches = Loop._batches(loop, step)  # type: ignore[arg-type]
        assert all(len(b.ids) <= 2 for b in batches)
        return [int(i) for b in batches for i in b.ids.flatten()]

    for step in (0, 5):
        assert read(0, 1, step) == list(range(step * 8, step * 8 + 8))
        for size in (2, 4, 8):
            assert sorted(n for rank in range(size) for n in read(rank, size, step)) == read(0, 1, step)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_two_processes_end_like_one(text: Path, tmp_path: Path) -> None:
    settings, run, to = tiny.settings(steps=3, optimizer={"lr": 0.02}), tmp_path / "tiny.toml", tmp_path / "two"
    run.write_text(toml(settings))
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port"]
    call = ["-m", "paretolm", "train", str(run), "--text", str(text), "--to", str(to), "-q", "--json"]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "USE_LIBUV": "0"}
    ended = subprocess.run(
        [sys.executable, *launch, str(free_port()), *call], check=False, capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["step"] == 3, "one of them speaks"
    alone = train(settings, text, tmp_path / "one")
    one, two = (tiny.weights(tmp_path / name / "checkpoints" / "0000003") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-5)
    logged = read_log(to / "log.jsonl")
    assert logged[0]["loss"] == pytest.approx(alone.loss, rel=1e-5)
    assert logged[-1]["valid"]["all"] == pytest.approx(alone.valid["all"], rel=1e-4)
    assert alone.tokens == logged[0]["tokens"] == 3 * 4 * 32
