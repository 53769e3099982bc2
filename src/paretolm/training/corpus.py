"""The documents a model is trained on: text files and JSON lines, packed with zstandard or not, of any size."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import TextError
from ..evaluation.packed import kind, unpacked

PLAIN = (".txt", ".md", ".rst")
LINES = (".jsonl", ".ndjson")
HELD_OUT = ("valid", "validation", "val", "dev", "test", "eval", "heldout")
"""Files, folders and splits of these names are never trained on; test-00000-of-00002 and wiki.test.txt have one too."""
_FOR_VALIDATION = HELD_OUT[:4]
_SHARD = re.compile(r"[-_]?\d.*")
_DAMAGED = 0.1  # share of signs that are no UTF-8, beyond which a file is no text


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
        left alone; what is for validation is never trained on. Raises TextError where nothing is left to train on."""
        files, given = _files(path), _files(valid) if valid else []
        if path.is_file():
            held, own = [], []
        else:
            held = [f for f in files if any(map(_held_out, f.relative_to(path).parts))]
            own = [f for f in held if _held_out(f.relative_to(path).parts[0]) in _FOR_VALIDATION]
        chosen = given or own
        apart = {f.resolve() for f in (*held, *chosen)}
        train = tuple(f for f in files if f.resolve() not in apart)
        if not train:
            raise TextError(f"{path} holds no text to train on beside what is held out")
        return cls(train, tuple(chosen), tuple(f for f in held if f not in chosen))

    def fingerprint(self) -> str:
        """sha256 over the bytes of all files."""
        digest = hashlib.sha256()
        for path in (*self.train, *self.valid):
            with unpacked(path) as (_, file):
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.exists():
        raise TextError(f"there is no text at {path}")
    runs = {p.parent for p in path.rglob("run.toml")}  # what training wrote is no text
    found = sorted(p for p in path.rglob("*") if kind(p) in PLAIN + LINES and p.is_file() and not _hidden(p, path))
    found = [p for p in found if runs.isdisjoint(p.parents)]
    if not found:
        raise TextError(f"{path} holds no text: a directory needs {', '.join(PLAIN + LINES)} files")
    return found


def _hidden(file: Path, root: Path) -> bool:
    return any(s.startswith(".") for s in file.relative_to(root).parts) or file.stem.upper().startswith(
        ("README", "LICENSE", "NOTICE")
    )


def _stem(path: Path) -> str:
    return path.name.split(".")[0].lower()


def _held_out(name: str) -> str:
    """The held-out name in that of a file or folder, else ''."""
    for word in name.lower().split("."):
        if _SHARD.sub("", word) in HELD_OUT:
            return _SHARD.sub("", word)
    return ""


class Documents:
    """The documents of files, one after the other; a JSON line without text is skipped.

    held_out: JSON lines of a held-out split alone, or all but them, or (None) all. read: bytes of the files (packed,
    where they are) that are behind us; size: of all."""

    def __init__(self, files: Sequence[Path], *, held_out: bool | None = False) -> None:
        self._files, self._held_out = files, held_out
        self.size, self.read = sum(f.stat().st_size for f in files), 0

    def __iter__(self) -> Iterator[Text]:
        before = 0
        for path in self._files:
            for document, place in _documents(path):
                self.read = before + place
                if self._held_out in (None, document.held_out):
                    yield document
            before += path.stat().st_size


def _documents(path: Path) -> Iterator[tuple[Text, int]]:
    """Documents of a file, each with the place in the file where reading stands."""
    domain = _stem(path)
    with unpacked(path) as (file, raw):
        if kind(path) not in LINES:
            if (text := _plain(file.read(), path)).strip():
                yield Text(domain, text), raw.tell()
            return
        for number, line in enumerate(file, 1):
            if document := _line(line, domain, f"{path} line {number}"):
                yield document, raw.tell()


def _plain(data: bytes, path: Path) -> str:
    """The text of a file. Raises TextError where it is none."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")
    if text.count("\ufffd") + text.count("\0") > _DAMAGED * len(text):
        raise TextError(f"{path} is not text: give UTF-8 text ({', '.join(PLAIN)}) or JSON lines ({', '.join(LINES)})")
    return text.replace("\0", "")


def _line(line: bytes, domain: str, where: str) -> Text | None:
    if not line.strip():
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TextError(f"{where} is not JSON: {error}") from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise TextError(f"{where} has no field text that is a string")
    text = record["text"].replace("\0", "").encode("utf-8", errors="replace").decode()  # JSON may hold half surrogates
    if not text.strip():
        return None
    held_out = bool(_held_out(str(record.get("split") or "")))
    return Text(str(record.get("domain") or domain), text, held_out)
