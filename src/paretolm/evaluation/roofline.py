"""What the machine could do at best: measured bandwidth and arithmetic, and the token rates they allow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ..files import write_whole
from .isolated import run_isolated
from .machine import cache_dir, machine

if TYPE_CHECKING:
    import torch

MIB = 2**20
_STEP = 4  # working sets grow by this factor
_PASSES = 3  # over all points, so that a busy second spoils one pass and not one point
_SECONDS_A_KERNEL = 0.02  # a pass
_TIMEOUT_S = 900.0  # a machine with much else to do
_FORM = 2  # of what is measured; what an older form left is measured again


@dataclass(frozen=True)
class Roofline:
    """bandwidth: (working set in bytes, bytes/s) from small to well beyond the cache, the best of reading,
    matrix times vector and STREAM's triad. flops: dtype -> FLOP/s of a square matrix product. spread: by which
    share of the best the passes over one point differ, at the median point. measured: ISO time."""

    machine: str
    device: str
    threads: int
    bandwidth: tuple[tuple[int, float], ...]
    flops: dict[str, float]
    spread: float = 0.0
    measured: str = ""

    def bandwidth_at(self, working_set: float) -> float:
        """Bytes/s for data of this size: the best measured at the next smaller size or any larger one,
        so never less than what is possible. A model that fits in the cache is not bound by memory."""
        smaller = [size for size, _ in self.bandwidth if size <= working_set]
        floor = max(smaller, default=0)
        return max(rate for size, rate in self.bandwidth if size >= floor)

    @property
    def memory_bandwidth(self) -> float:
        """Bytes/s well beyond the cache."""
        return max(self.bandwidth)[1]

    def flops_at(self, dtype: str) -> float:
        """The best measured of this dtype and fp32: a kernel may compute in either."""
        return max(self.flops.get(dtype, 0.0), self.flops["float32"])

    def raised(self, other: Roofline) -> Roofline:
        """The better of two measurements at every point: a busy machine only ever lowers them, and spreads them."""
        bandwidth = dict(self.bandwidth)
        for size, rate in other.bandwidth:
            bandwidth[size] = max(rate, bandwidth.get(size, 0.0))
        flops = {name: max(self.flops.get(name, 0.0), other.flops.get(name, 0.0)) for name in self.flops | other.flops}
        spread = min(self.spread, other.spread)
        return replace(self, bandwidth=tuple(sorted(bandwidth.items())), flops=flops, spread=spread)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Roofline:
        return cls(**{**data, "bandwidth": tuple((int(size), float(rate)) for size, rate in data["bandwidth"])})


@dataclass(frozen=True)
class Shape:
    """The least one forward of one sequence must do, of what is known: underestimates keep a ceiling a ceiling.

    weight_bytes and kv_bytes are read once a decoding forward; flops_per_token counts a multiply and an
    add as two. tokens_per_forward: what a decoding forward emits (above 1 with accepted drafts).
    """

    weight_bytes: float
    kv_bytes: float
    flops_per_token: float
    dtype: str = "float32"
    tokens_per_forward: float = 1.0


def decode_ceiling(roofline: Roofline, shape: Shape) -> float:
    """Tokens/s: bandwidth over bytes moved a token, or arithmetic where that binds first."""
    moved = shape.weight_bytes + shape.kv_bytes
    by_memory = roofline.bandwidth_at(moved) / moved * shape.tokens_per_forward if moved else float("inf")
    return min(by_memory, prefill_ceiling(roofline, shape))


def prefill_ceiling(roofline: Roofline, shape: Shape) -> float:
    """Tokens/s: arithmetic over what a token costs."""
    if not shape.flops_per_token:
        return float("inf")
    return roofline.flops_at(shape.dtype) / shape.flops_per_token


def load_roofline(threads: int, device: str = "cpu", again: bool = False) -> Roofline:
    """The roofline of this machine at this thread count: measured once, in a process of its own, then kept.

    again: measure once more and keep the better points, where the first time may have met a busy machine."""
    path = roofline_path()
    known = _stored(path)
    key = _key(threads, device)
    if key not in known or again:
        job = f"{__name__}:measure_job"
        told = run_isolated(job, {"device": device, "threads": threads}, threads=threads, timeout_s=_TIMEOUT_S)
        found = Roofline.from_json(told)
        known[key] = (found.raised(Roofline.from_json(known[key])) if key in known else found).as_json()
        _keep(path, known)
    return Roofline.from_json(known[key])


def is_stored(threads: int, device: str = "cpu") -> bool:
    return _key(threads, device) in _stored(roofline_path())


def _key(threads: int, device: str) -> str:
    return f"{device}-{threads}-{_FORM}"


def roofline_path() -> Path:
    """Where rooflines of this machine lie. Processor, threads, memory, GPUs, Python, torch and its companions are in
    the name, so that none outlives a change of these."""
    return cache_dir() / f"roofline-{machine().hash}.json"


def _stored(path: Path) -> dict[str, Any]:
    """Empty where nothing usable lies: it is only a cache."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _keep(path: Path, data: dict[str, Any]) -> None:
    write_whole(path, json.dumps(data, indent=1))


def measure_job(device: str, threads: int) -> dict[str, Any]:
    """The isolated side of `load_roofline`."""
    return measure(device, threads).as_json()


def working_sets(cache_bytes: int, memory_bytes: int) -> list[int]:
    """1 MiB, 4 MiB, ... up to four times the last-level cache, within a sixteenth of the memory."""
    largest = min(max(_STEP * cache_bytes, 256 * MIB), max(memory_bytes // 16, 16 * MIB))
    sizes = [MIB]
    while sizes[-1] * _STEP * 2 <= largest:
        sizes.append(sizes[-1] * _STEP)
    return [*sizes, largest // MIB * MIB]


def measure(device: str, threads: int, sizes: Sequence[int] | None = None, side: int = 1024) -> Roofline:
    """Bandwidth by working set and matrix products, the best of several passes (a ceiling, not a mean).

    On a CPU a last pass runs on one thread: small sets are faster without waiting for a second one, and what one
    thread reaches all can."""
    import torch

    facts = machine()
    cuda, gpu = device.startswith("cuda"), _sync(device) is not None
    memory = torch.cuda.get_device_properties(device).total_memory if cuda else facts.memory_bytes
    sizes = sizes or working_sets(facts.cache_bytes, memory)
    side = 8 * side if gpu else side
    before = torch.get_num_threads()
    with torch.inference_mode():
        passes = [_pass(device, sizes, side) for _ in range(_PASSES)]
        spread = _spread(passes)
        if not gpu and before > 1:
            torch.set_num_threads(1)
            try:
                passes.append(_pass(device, sizes, side))
            finally:
                torch.set_num_threads(before)
    best = {name: max(p[name] for p in passes if name in p) for p in passes for name in p}
    return Roofline(
        facts.hash,
        device,
        threads,
        tuple((size, best[size]) for size in sizes),
        {name: rate for name, rate in best.items() if isinstance(name, str)},
        spread,
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _pass(device: str, sizes: Sequence[int], side: int) -> dict[int | str, float]:
    """Working set -> bytes/s, dtype -> FLOP/s, each measured once."""
    import torch

    sync = _sync(device)
    whole = torch.ones(max(sizes) // 4, device=device)
    found: dict[int | str, float] = {size: _bandwidth(whole[: size // 4], sync) for size in sizes}
    del whole
    found["float32"] = _flops(torch.float32, side, device, sync)
    for dtype in (torch.bfloat16, torch.float16):
        # where the chip has no such arithmetic it is emulated, and slow
        if sync or _flops(dtype, side // 4, device, sync) > found["float32"] / 2:
            found[str(dtype).removeprefix("torch.")] = _flops(dtype, side, device, sync)
    return found


def _sync(device: str) -> Callable[[], None] | None:
    """What waits for the device; None where calls return when the work is done."""
    import torch

    if device.startswith("cuda"):
        return partial(torch.cuda.synchronize, device)
    return torch.mps.synchronize if device.startswith("mps") else None


def _spread(passes: Sequence[dict[int | str, float]]) -> float:
    """Of points that every pass met: the median of (best - worst) / best."""
    points = [[p[name] for p in passes] for name in passes[0] if all(name in p for p in passes)]
    return median((max(rates) - min(rates)) / max(rates) for rates in points)


def _bandwidth(x: torch.Tensor, sync: Callable[[], None] | None) -> float:
    import torch

    columns = 1024
    matrix = x.view(-1, columns)
    vector = torch.ones(columns, device=x.device)
    third = x.numel() // 3
    a, b, c = (x[i * third : (i + 1) * third] for i in range(3))
    read = x.numel() * x.element_size()
    return max(
        read / _best(x.sum, sync),
        read / _best(lambda: matrix.mv(vector), sync),
        3 * third * x.element_size() / _best(lambda: torch.add(b, c, alpha=0.5, out=a), sync),
    )


def _flops(dtype: torch.dtype, side: int, device: str, sync: Callable[[], None] | None) -> float:
    import torch

    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _best(lambda: a @ b, sync)


def _best(
    run: Callable[[], object],
    sync: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of the fastest run within some time, after one that does not count."""
    run()
    times: list[float] = []
    while sum(times) < _SECONDS_A_KERNEL:
        if sync:
            sync()
        start = clock()
        run()
        if sync:
            sync()
        times.append(max(clock() - start, 1e-9))
    return min(times)
