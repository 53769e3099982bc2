"""Files that may be packed with zstandard, read as what is in them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import TextError

PACKED = ".zst"
_CHUNK = 1 << 14  # packed bytes unpacked at once


def kind(path: Path) -> str:
    """The suffix that says what is in a file: .jsonl of a.jsonl and of a.jsonl.zst."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() == PACKED else path.suffix.lower()


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[BinaryIO, io.BufferedReader]]:
    """The bytes in a file, and the file itself (whose place says how far reading is).

    Raises TextError for a file that cannot be read, is no zstandard or ends too early."""
    try:
        with path.open("rb") as file:
            packed = path.suffix.lower() == PACKED
            yield (io.BufferedReader(_Frames(file, path), 1 << 20) if packed else file), file
    except OSError as error:
        raise TextError(f"{path} cannot be read: {error.strerror or error}") from None


class _Frames(io.RawIOBase):
    """The bytes of all frames of a file. The library's own reader takes a file that ends too early for a whole one."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._zstandard = file, path, _library(path)
        self._frame: Any = None  # the one that is being read
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and (chunk := self._file.read(_CHUNK)):
            self._ready = self._unpack(chunk)
        if not self._ready and self._frame is not None:
            raise TextError(f"{self._path} ends too early: fetch or pack it again")
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _unpack(self, chunk: bytes) -> bytes:
        found = []
        while chunk:
            self._frame = self._frame or self._zstandard.ZstdDecompressor().decompressobj()
            try:
                found.append(self._frame.decompress(chunk))
            except self._zstandard.ZstdError as error:
                raise TextError(f"{self._path} is not packed with zstandard, or is damaged: {error}") from None
            chunk = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        return b"".join(found)


def _library(path: Path) -> Any:
    try:
        import zstandard
    except ImportError:
        raise TextError(f"{path} is packed with zstandard: pip install 'paretolm[train]' first") from None
    return zstandard
