"""The machine a number was measured on, without anything that names its owner."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16", "i8mm")


@dataclass(frozen=True)
class Machine:
    """cores are physical, threads those this process may use; memory and cache in bytes (last level)."""

    cpu: str
    instructions: tuple[str, ...]
    cores: int
    threads: int
    cache_bytes: int
    memory_bytes: int
    gpus: tuple[str, ...]
    system: str
    python: str
    packages: dict[str, str]

    @property
    def hash(self) -> str:
        """Twelve hex digits. Memory counts in whole GiB: kernels keep back a few MiB more or less."""
        facts = asdict(self) | {"memory_bytes": round(self.memory_bytes / 2**30)}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "hash": self.hash}

    def __str__(self) -> str:
        gpus = "".join(f", {gpu}" for gpu in self.gpus)
        return f"{self.cpu}, {self.threads} threads, {self.memory_bytes / 2**30:.0f} GiB{gpus}, {self.system}"


@cache
def machine() -> Machine:
    """The machine under us; read once a process."""
    info = _cpuinfo()
    return Machine(
        cpu=_cpu_name(info),
        instructions=tuple(i for i in INSTRUCTIONS if i in info.get("flags", info.get("Features", "")).split()),
        cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        threads=usable_threads(),
        cache_bytes=_last_level_cache(),
        memory_bytes=_memory(),
        gpus=_gpus(),
        system=f"{platform.system()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: found for name in PACKAGES if (found := _version(name))},
    )


def usable_threads() -> int:
    """Logical processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_dir() -> Path:
    """Where measured facts of this machine are kept: $XDG_CACHE_HOME/paretolm, or ~/.cache/paretolm."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "paretolm"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty elsewhere."""
    lines = _read("/proc/cpuinfo").split("\n\n", 1)[0].splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cpu_name(info: dict[str, str]) -> str:
    if "model name" in info:  # clouds sell many chips under one name
        detail = [info[k] for k in ("cpu family", "model", "stepping") if k in info]
        return f"{info['model name']} ({'/'.join(detail)})" if detail else info["model name"]
    if platform.system() == "Darwin":
        out = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
        return out.stdout.strip() or platform.processor()
    return platform.processor() or platform.machine()


def _last_level_cache() -> int:
    """0 where the system does not say."""
    sizes = [_read(path) for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    return max((int(s[:-1]) * units[s[-1]] for s in sizes if s[:-1].isdigit() and s[-1] in units), default=0)


def _memory() -> int:
    """Physical memory, or the control group's limit where that is less."""
    limits = [_read("/sys/fs/cgroup/memory.max"), _read("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    return min([int(psutil.virtual_memory().total), *(int(limit) for limit in limits if limit.isdigit())])


def _gpus() -> tuple[str, ...]:
    """Names of the NVIDIA devices the driver lists (torch is not loaded for this)."""
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = [line for card in cards for line in _read(card).splitlines()]
    return tuple(line.partition(":")[2].strip() for line in lines if line.startswith("Model:"))
