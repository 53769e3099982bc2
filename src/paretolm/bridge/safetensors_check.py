"""Safetensors headers, read and checked from the file itself, before anything is loaded.

The format: a little-endian u64 with the header's length, the header (JSON: name -> dtype, shape, data_offsets
relative to the end of the header), then the tensors' bytes without holes.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError

MAX_HEADER = 100_000_000  # the limit of the format's own reader
BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}


@dataclass(frozen=True)
class Entry:
    """One tensor of a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors of a safetensors file, or a ModelError that says what is wrong with it."""
    try:
        return _read_header(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}") from None


def _read_header(path: Path) -> dict[str, Entry]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        if len(head) < 8:
            raise _broken(path, f"it has {size} bytes, fewer than the 8 a safetensors file begins with")
        (length,) = struct.unpack("<Q", head)
        if length > MAX_HEADER:
            raise _broken(path, f"its header claims {length} bytes, above the {MAX_HEADER} the format allows")
        if length > size - 8:
            raise _broken(path, f"its header claims {length} bytes, but only {size - 8} follow")
        raw = stream.read(length)
    entries = _entries(path, _parse(path, raw))
    _check_layout(path, entries, size - 8 - length)
    return {entry.name: entry for entry in entries}


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise _broken(path, "its header is not a JSON object")
    header.pop("__metadata__", None)
    return header


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a name stands in it twice")
    return result


def _entries(path: Path, header: dict[str, Any]) -> list[Entry]:
    entries = []
    for name, info in header.items():
        fields = info if isinstance(info, dict) else {}
        dtype = fields.get("dtype")
        shape, offsets = _naturals(fields.get("shape")), _naturals(fields.get("data_offsets"))
        if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
            raise _broken(path, f"the header's entry for {name!r} lacks a dtype, a shape or two offsets")
        if dtype not in BITS:
            raise _broken(path, f"tensor {name!r} has the unknown dtype {dtype!r}")
        entries.append(Entry(name, dtype, shape, offsets[0], offsets[1]))
    return sorted(entries, key=lambda entry: (entry.start, entry.end))


def _naturals(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(type(v) is int and v >= 0 for v in value):
        return tuple(value)
    return None


def _check_layout(path: Path, entries: list[Entry], data: int) -> None:
    reached = 0
    for entry in entries:
        if entry.end > data:
            raise _broken(
                path, f"tensor {entry.name!r} ends at byte {entry.end} of its data, but only {data} are there"
            )
        if entry.start != reached:
            what = "overlaps the one before it" if entry.start < reached else "leaves a hole before it"
            raise _broken(path, f"tensor {entry.name!r} {what} (byte {entry.start}, expected {reached})")
        bits = math.prod(entry.shape) * BITS[entry.dtype]
        if bits != 8 * (entry.end - entry.start):
            need = f"{bits // 8} bytes for shape {list(entry.shape)} in {entry.dtype}"
            raise _broken(path, f"tensor {entry.name!r} spans {entry.end - entry.start} bytes, not {need}")
        reached = entry.end
    if reached != data:
        raise _broken(path, f"{data - reached} bytes after its last tensor belong to none")


def _broken(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is not a whole safetensors file: {why}; copy or download it again")
