"""What a process holds, as the system counts it: steady bytes after trimming, and the peak since a reset."""

from __future__ import annotations

import ctypes
import gc
import mmap
import platform
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

# Large blocks go to the system and come back at once, one arena, no scratch kept by the maths libraries. These
# slow decoding down, so they are set in a process that measures memory and never in one that measures speed.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_MMAP_MAX_": "1000000",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MKL_DISABLE_FAST_MM": "1",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0",
    "LRU_CACHE_CAPACITY": "1",
}


class Gauge(Protocol):
    """kinds: what steady and peak mean here, for the report. page: bytes that memory is given out in."""

    kinds: dict[str, str]
    page: int

    def steady(self) -> int:
        """Bytes held once everything freed has gone back to the system."""
        ...

    def resident(self) -> int:
        """Bytes resident now, in the measure of `peak`."""
        ...

    def reset_peak(self) -> None: ...
    def peak(self) -> int:
        """The most bytes resident since the reset, or since the start where there is no reset."""
        ...


class LinuxGauge:
    """Anonymous pages of smaps_rollup (files mapped from disk do not count), and VmHWM."""

    def __init__(self) -> None:
        self.kinds = {"steady": "anonymous", "peak": "VmHWM"}
        self.page = mmap.PAGESIZE

    def steady(self) -> int:
        trim()
        return field_bytes("/proc/self/smaps_rollup", "Anonymous")

    def resident(self) -> int:
        return field_bytes("/proc/self/smaps_rollup", "Rss")

    def reset_peak(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:  # some sandboxes forbid it: the peak since the start is then an upper bound
            self.kinds["peak"] = "VmHWM since start"

    def peak(self) -> int:
        return max(field_bytes("/proc/self/status", "VmHWM"), self.resident())


class PortableGauge:
    """Unique set size, and the largest resident size since the start."""

    def __init__(self) -> None:
        self.kinds = {"steady": "unique set", "peak": "largest resident since start"}
        self.page = mmap.PAGESIZE
        self._process = psutil.Process()

    def steady(self) -> int:
        trim()
        return int(self._process.memory_full_info().uss)

    def resident(self) -> int:
        return int(self._process.memory_info().rss)

    def reset_peak(self) -> None:
        """There is no such thing here."""

    def peak(self) -> int:
        windows = getattr(self._process.memory_info(), "peak_wset", None)
        return int(windows) if windows is not None else largest_resident()


class CudaGauge:
    """Torch's allocator on one device: bytes in live tensors."""

    def __init__(self, device: str) -> None:
        import torch

        self.kinds = {"steady": "allocated on the device", "peak": "allocated on the device"}
        self.page = 512  # torch rounds every block up to these
        self._cuda, self._device = torch.cuda, device

    def steady(self) -> int:
        trim()
        self._cuda.synchronize(self._device)
        self._cuda.empty_cache()
        return self.resident()

    def resident(self) -> int:
        return self._cuda.memory_allocated(self._device)

    def reset_peak(self) -> None:
        self._cuda.reset_peak_memory_stats(self._device)

    def peak(self) -> int:
        return self._cuda.max_memory_allocated(self._device)


def gauge_for(device: str) -> Gauge:
    """The best gauge this system has for a model on `device`."""
    if device.startswith("cuda"):
        return CudaGauge(device)
    return LinuxGauge() if Path("/proc/self/smaps_rollup").exists() else PortableGauge()


def trim() -> None:
    """Collects garbage and gives freed heap back to the system, where the C library can."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    elif sys.platform == "darwin":
        ctypes.CDLL(None).malloc_zone_pressure_relief(None, ctypes.c_size_t(0))


def field_bytes(path: str, name: str) -> int:
    """`Name:   12 kB` of a file in /proc, in bytes."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"{path} has no line {name}")


def largest_resident() -> int:
    """The largest resident size since the start; Linux counts in KiB, macOS in bytes."""
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return int(psutil.Process().memory_info().rss)
