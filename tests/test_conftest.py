"""What every test relies on."""

import os
import signal
import socket
from pathlib import Path

import pytest
import torch


def test_fresh_memory_is_nan():
    assert torch.empty(8).isnan().all()
    assert torch.zeros(2).new_empty(8).isnan().all()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_no_socket_leaves_this_machine(family):
    address = {socket.AF_INET: "203.0.113.1", socket.AF_INET6: "2001:db8::1"}[family]
    with socket.socket(family) as s, pytest.raises(Exception, match="never need the network"):
        s.connect((address, 80))


def test_no_name_is_looked_up():
    with pytest.raises(Exception, match="never need the network"):
        socket.create_connection(("example.invalid", 80))


def test_this_machine_is_reachable():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def test_nothing_goes_to_the_users_own_folder(tmp_path_factory):
    assert tmp_path_factory.getbasetemp() in Path(os.environ["PARETOLM_HOME"]).parents


def test_ctrl_c_is_heard():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
