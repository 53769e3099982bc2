"""The documents a model is trained on: text files and JSON lines, packed with zstandard or not, of any size."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import TextError

PLAIN = (".txt", ".md", ".rst")
LINES = (".jsonl", ".ndjson")
HELD_OUT = ("valid", "validation", "dev", "test", "eval", "heldout")
"""Files and folders of these names are never trained on."""


@dataclass(frozen=True)
class Text:
    domain: str
    text: str
    held_out: bool = False


@dataclass(frozen=True)
class Corpus:
    """train and valid: the files of each. set_aside: held-out files that are not read at all."""

    train: tuple[Path, ...]
    valid: tuple[Path, ...]
    set_aside: tuple[Path, ...]

    @classmethod
    def find(cls, path: Path, valid: Path | None = None) -> Corpus:
        """The files of a path. Of a directory, those called valid are for validation and other held-out names are
        left alone. Raises TextError where nothing is left to train on."""
        files = _files(path)
        if path.is_file():
            return cls(tuple(files), tuple(_files(valid)) if valid else (), ())
        held = [f for f in files if _held_out(f.relative_to(path))]
        train = tuple(f for f in files if f not in held)
        if not train:
            raise TextError(f"{path} holds no text to train on: a directory needs {', '.join(PLAIN + LINES)} files")
        own = [f for f in held if f.parent == path and _stem(f) in ("valid", "validation", "dev")]
        chosen = _files(valid) if valid else own
        return cls(train, tuple(chosen), tuple(f for f in held if f not in chosen))

    def fingerprint(self) -> str:
        """sha256 over the bytes of all files."""
        digest = hashlib.sha256()
        for path in (*self.train, *self.valid):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.exists():
        raise TextError(f"there is no text at {path}")
    return sorted(p for p in path.rglob("*") if p.is_file() and _kind(p) in PLAIN + LINES and not _hidden(p, path))


def _hidden(file: Path, root: Path) -> bool:
    return any(s.startswith(".") for s in file.relative_to(root).parts) or file.stem.upper().startswith(
        ("README", "LICENSE", "NOTICE")
    )


def _kind(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix == ".zst" else path.suffix.lower()


def _stem(path: Path) -> str:
    return path.name.split(".")[0].lower()


def _held_out(inside: Path) -> bool:
    return _stem(inside) in HELD_OUT or any(part.lower() in HELD_OUT for part in inside.parts[:-1])


class Documents:
    """The documents of files, one after the other; a JSON line without text is skipped.

    held_out: JSON lines of a held-out split alone, else all but them. read: bytes of the files (packed, where they
    are) that are behind us; size: of all."""

    def __init__(self, files: Sequence[Path], *, held_out: bool = False) -> None:
        self._files, self._held_out = files, held_out
        self.size, self.read = sum(f.stat().st_size for f in files), 0

    def __iter__(self) -> Iterator[Text]:
        before = 0
        for path in self._files:
            for document, place in _documents(path):
                self.read = before + place
                if document.held_out == self._held_out:
                    yield document
            before += path.stat().st_size


def _documents(path: Path) -> Iterator[tuple[Text, int]]:
    """Documents of a file, each with the place in the file where reading stands."""
    domain = _stem(path)
    with _opened(path) as (file, raw):
        if _kind(path) not in LINES:
            yield Text(domain, file.read().decode("utf-8", errors="replace").replace("\0", "")), raw.tell()
            return
        for number, line in enumerate(file, 1):
            if document := _line(line, domain, f"{path} line {number}"):
                yield document, raw.tell()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The text of a file, unpacked, and the file itself."""
    try:
        with path.open("rb") as file:
            if path.suffix != ".zst":
                yield file, file
                return
            try:
                import zstandard
            except ImportError:
                raise TextError(f"{path} is packed with zstandard: pip install 'paretolm[train]' first") from None
            try:
                with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as stream:
                    yield io.BufferedReader(stream), file
            except zstandard.ZstdError as error:
                raise TextError(f"{path} is not packed with zstandard, or is cut short: {error}") from None
    except OSError as error:
        raise TextError(f"{path} cannot be read: {error.strerror or error}") from None


def _line(line: bytes, domain: str, where: str) -> Text | None:
    if not line.strip():
        return None
    try:
        record = json.loads(line)
    except ValueError as error:
        raise TextError(f"{where} is not JSON: {error}") from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise TextError(f"{where} has no field text that is a string")
    if not record["text"].strip():
        return None
    held_out = record.get("split") in HELD_OUT
    return Text(str(record.get("domain") or domain), record["text"].replace("\0", ""), held_out)
