"""Reads text files of any origin within bounds: what is mended is counted, what is left out is said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import TextError
from .packed import kind, unpacked

MAX_BYTES = 64 << 20  # of text in all; more would only fill memory, the judge needs a few megabytes
MAX_LINE = 16 << 20  # of one JSON line
JSON_LINES = (".jsonl", ".ndjson")
PLAIN = (".txt", ".md", ".rst")
_BINARY_SHARE = 0.1  # NUL bytes beyond this share: not text


@dataclass(frozen=True)
class Raw:
    """One document as a file gives it; where names file and line for a message, work what it is a part of."""

    id: str
    text: str
    where: str
    work: str = ""
    domain: str = ""
    split: str = ""
    messages: tuple[dict[str, str], ...] = ()


@dataclass
class Reading:
    """What reading has done so far: bytes left of the bound, and how often something was mended."""

    left: int = MAX_BYTES
    mended: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        return [what.format(n=f"{n:,}") for what, n in self.mended.items() if n]


INVALID = "{n} invalid UTF-8 sequences became U+FFFD"
NULS = "{n} NUL characters were dropped"
EMPTY = "{n} documents without text were left out"
REPEATED = "{n} documents repeated the text of another and were left out"
RENAMED = "{n} documents had an id already taken and were renamed"
LONG = f"{{n}} lines over {MAX_LINE >> 20} MiB were left out"
BOUND = f"{{n}} files were not read to their end: {MAX_BYTES >> 20} MiB of text are enough"


def find(path: Path) -> list[Path]:
    """The files of a path; a directory is searched in sorted order, hidden files aside."""
    if path.is_dir():
        found = sorted(
            p
            for p in path.rglob("*")
            if kind(p) in JSON_LINES + PLAIN and not any(s.startswith(".") for s in p.relative_to(path).parts)
        )
        files = [p for p in found if p.is_file()]
        if not files:
            raise TextError(f"{path} holds no text: a directory needs {', '.join(PLAIN + JSON_LINES)} files")
        return files
    if not path.exists():
        raise TextError(f"there is no text at {path}")
    if not path.is_file():
        raise TextError(f"{path} is neither a file nor a directory")
    return [path]


def read(path: Path, name: str, reading: Reading) -> Iterator[Raw]:
    """The documents of one file; `name` starts their ids."""
    if reading.left <= 0:
        reading.mended[BOUND] += 1
        return
    with unpacked(path) as (file, _):
        if kind(path) in JSON_LINES:
            yield from _json_lines(file, name, path, reading)
        else:
            yield _plain(file, name, path, reading)


def _plain(file: BinaryIO, name: str, path: Path, reading: Reading) -> Raw:
    data = file.read(reading.left)
    reading.left -= len(data)
    if file.read(1):
        reading.mended[BOUND] += 1
    return Raw(name, clean(data, path, reading), str(path))


def clean(data: bytes, path: Path, reading: Reading) -> str:
    """Text of bytes: byte-order marks, line ends, invalid bytes and NULs are mended, binary files refused."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    else:
        if data.count(0) > len(data) * _BINARY_SHARE:
            raise TextError(f"{path} is not text: give UTF-8 text ({', '.join(PLAIN)}) or JSON lines (.jsonl)")
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")
        reading.mended[INVALID] += text.count("\ufffd") - data.count("\ufffd".encode())
    reading.mended[NULS] += text.count("\0")
    return tidy(text)


def tidy(text: str) -> str:
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def _lines(file: BinaryIO, reading: Reading) -> Iterator[tuple[int, bytes]]:
    """Numbered lines, never more than MAX_LINE of one in memory."""
    number = 0
    while reading.left > 0 and (line := file.readline(MAX_LINE + 1)):
        number += 1
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            reading.mended[LONG] += 1
            while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
                pass
            continue
        reading.left -= len(line)
        yield number, line
    if reading.left <= 0 and file.read(1):
        reading.mended[BOUND] += 1


def _json_lines(file: BinaryIO, name: str, path: Path, reading: Reading) -> Iterator[Raw]:
    for number, line in _lines(file, reading):
        text = clean(line, path, reading)
        if not text.strip():
            continue
        where = f"{path} line {number}"
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TextError(f"{where} is not JSON: {error}") from None
        if not isinstance(record, dict):
            raise TextError(f"{where} is not a JSON object with a field text or messages")
        yield _document(record, f"{name}:{number}", where, reading)


def _document(record: dict[str, Any], fallback: str, where: str, reading: Reading) -> Raw:
    messages: tuple[dict[str, str], ...] = ()
    if "text" in record:
        text = record["text"]
    elif "messages" in record:
        messages = _messages(record["messages"], where)
        text = "\n\n".join(m["content"] for m in messages)
    else:
        raise TextError(f"{where} has neither text nor messages, only {', '.join(sorted(record)[:5]) or 'nothing'}")
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise TextError(f"{where}: text is {json.dumps(text)[:40]}, not a string")
    reading.mended[NULS] += text.count("\0")
    text = tidy(text).encode("utf-8", errors="replace").decode()  # JSON may hold half surrogates
    split = record.get("split")
    if split not in (None, "", "eval", "fit"):
        raise TextError(f"{where}: split is eval or fit, not {json.dumps(split)[:40]}")
    return Raw(
        _word(record.get("id")) or fallback,
        text,
        where,
        _word(record.get("doc")),
        _word(record.get("domain")),
        split or "",
        messages,
    )


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _messages(given: Any, where: str) -> tuple[dict[str, str], ...]:
    """Messages as the OpenAI API has them; of content parts the text ones."""
    if not isinstance(given, list):
        raise TextError(f"{where}: messages is not a list of objects with role and content")
    messages = []
    for message in given:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            content = "".join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))
        if not isinstance(message, dict) or not isinstance(content, str | None):
            raise TextError(f"{where}: a message needs a role and content")
        if content:
            messages.append({"role": str(message.get("role", "user")), "content": tidy(content)})
    return tuple(messages)
