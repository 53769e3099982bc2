"""For every test: no network, one thread, nothing in the user's own folders, fresh memory is NaN."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # also in processes that tests start; tests run side by side
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import ipaddress
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell ignores it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.browser"]

hypothesis.settings.register_profile("paretolm", deadline=None)
hypothesis.settings.load_profile("paretolm")


class NetworkError(Exception):
    """A test reached for the network."""


def _refuse_strangers(host: object) -> None:
    """Raises unless `host` is this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        local = ipaddress.ip_address(str(name)).is_loopback
    except ValueError:
        local = False
    if not local:
        raise NetworkError(f"a test reached for {name}; tests never need the network")


def _guarded(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any, *rest: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse_strangers(address[0])
        return connect(self, address, *rest)

    return guarded


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Sockets reach this machine only, and no other name is looked up."""
    look_up = socket.getaddrinfo

    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_strangers(host)
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", guarded)
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Artifacts go to a folder of this run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETOLM_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session", autouse=True)
def fresh_memory_is_nan() -> Iterator[None]:
    """`torch.empty` gives NaN, so that what is read before it is written shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model as a directory; not to be changed."""
    from .evaluation import judging

    return judging.save(tmp_path_factory.mktemp("saved"))
