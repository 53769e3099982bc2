"""The fingerprint of a machine."""

import dataclasses
import getpass
import json
import platform
import subprocess
import sys

from paretolm.evaluation import machine as module
from paretolm.evaluation.machine import Machine, cache_dir, machine


def test_it_is_filled_and_fits_json():
    found = machine()
    assert found.cpu
    assert found.cores >= 1
    assert found.threads >= 1
    assert found.memory_bytes > 2**28
    assert set(found.packages) >= {"torch", "transformers"}
    assert json.loads(json.dumps(found.as_json()))["hash"] == found.hash


def test_it_names_nobody():
    told = json.dumps(machine().as_json())
    for secret in {platform.node(), getpass.getuser()} - {"root", ""}:
        assert secret not in told


def test_the_hash_tells_machines_apart_and_ignores_a_kernel_s_share():
    here = machine()
    assert len(here.hash) == 12
    assert (
        dataclasses.replace(here, memory_bytes=8 * 2**30).hash
        == dataclasses.replace(here, memory_bytes=8 * 2**30 - 50 * 2**20).hash
    )
    assert dataclasses.replace(here, packages={**here.packages, "torch": "0"}).hash != here.hash
    assert dataclasses.replace(here, threads=here.threads + 1).hash != here.hash


def test_a_line_for_people():
    here = Machine("Chip (6/1/1)", (), 4, 8, 2**25, 16 * 2**30, ("GPU X",), "Linux x86_64", "CPython 3", {})
    assert str(here) == "Chip (6/1/1), 8 threads, 16 GiB, GPU X, Linux x86_64"


def test_the_chip_is_named_by_family_model_and_stepping():
    info = {"model name": "Vendor Processor", "cpu family": "6", "model": "167", "stepping": "1"}
    assert module._cpu_name(info) == "Vendor Processor (6/167/1)"
    assert module._cpu_name({"model name": "Vendor Processor"}) == "Vendor Processor"


def test_the_cache_directory_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "paretolm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "paretolm"


def test_torch_is_not_loaded():
    code = "import sys; from paretolm.evaluation.machine import machine; machine(); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
