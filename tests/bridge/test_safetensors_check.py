"""Safetensors headers: what the format's own writer writes is read alike, and every damage has its sentence."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from paretolm.bridge.safetensors_check import BITS, MAX_HEADER, read_header
from paretolm.errors import ModelError


def write(path: Path, header: Any, data: bytes, length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return path


def entry(start: int, end: int, shape: Any = None, dtype: Any = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


@given(st.lists(st.sampled_from([torch.float32, torch.bfloat16, torch.int8, torch.bool]), min_size=1, max_size=4))
def test_what_the_library_writes_is_accepted(tmp_path_factory: pytest.TempPathFactory, dtypes: list[Any]) -> None:
    path = tmp_path_factory.mktemp("whole") / "x.safetensors"
    tensors = {f"t{i}": torch.zeros(i + 1, 3, dtype=dtype) for i, dtype in enumerate(dtypes)}
    save_file(tensors, path, {"format": "pt"})
    header = read_header(path)
    assert {name: e.shape for name, e in header.items()} == {name: tuple(t.shape) for name, t in tensors.items()}
    assert {name: BITS[e.dtype] // 8 for name, e in header.items()} == {n: t.itemsize for n, t in tensors.items()}


def test_scalars_and_empty_tensors_are_whole(tmp_path: Path) -> None:
    save_file({"scalar": torch.tensor(1.0), "none": torch.zeros(0, 4)}, tmp_path / "x")
    assert {e.shape for e in read_header(tmp_path / "x").values()} == {(), (0, 4)}


TWO = {"a": entry(0, 4), "b": entry(4, 8)}
DAMAGED = {
    "fewer than the 8": lambda p: p.write_bytes(b"abc"),
    "only 0 follow": lambda p: p.write_bytes(struct.pack("<Q", 50)),
    "above the 100000000": lambda p: write(p, {}, b"", MAX_HEADER + 1),
    "header claims 999": lambda p: write(p, TWO, bytes(8), 999),
    "header is not JSON": lambda p: write(p, b"{nonsense", b""),
    "not a JSON object": lambda p: write(p, b"[1]", b""),
    "stands in it twice": lambda p: write(p, b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":1}', b""),
    "lacks a dtype": lambda p: write(p, {"a": {"shape": [1], "data_offsets": [0, 1]}}, b"x"),
    "a shape or two offsets": lambda p: write(p, {"a": {**entry(0, 1), "data_offsets": [0]}}, b"x"),
    "or two offsets": lambda p: write(p, {"a": {**entry(0, 1), "data_offsets": [-1, 1]}}, b"x"),
    "the header's entry for 'a'": lambda p: write(p, {"a": 3}, b""),
    "unknown dtype 'Q4'": lambda p: write(p, {"a": entry(0, 1, dtype="Q4")}, b"x"),
    "only 6 are there": lambda p: write(p, TWO, bytes(6)),
    "overlaps the one before": lambda p: write(p, {"a": entry(0, 4), "b": entry(2, 6)}, bytes(6)),
    "leaves a hole before it": lambda p: write(p, {"a": entry(0, 4), "b": entry(6, 8)}, bytes(8)),
    "spans 4 bytes, not 8 bytes": lambda p: write(p, {"a": entry(0, 4, [2], "F32")}, bytes(4)),
    "belong to none": lambda p: write(p, TWO, bytes(9)),
}


@pytest.mark.parametrize("sentence", DAMAGED)
def test_damage_is_named(tmp_path: Path, sentence: str) -> None:
    path = tmp_path / "x.safetensors"
    DAMAGED[sentence](path)
    with pytest.raises(ModelError, match=sentence) as caught:
        read_header(path)
    assert str(path) in str(caught.value)
    assert "download it again" in str(caught.value)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(data)
    with pytest.raises(ModelError):
        read_header(path)


@given(st.integers(0, 400), st.integers(0, 255))
def test_one_changed_byte_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int) -> None:
    path = tmp_path_factory.mktemp("flip") / "x"
    save_file({"a": torch.zeros(3), "b": torch.zeros(5)}, path)
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] = byte
    path.write_bytes(raw)
    try:
        header = read_header(path)
    except ModelError:
        return
    assert sum(e.end - e.start for e in header.values()) == 32
