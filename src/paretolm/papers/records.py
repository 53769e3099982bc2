"""Records of checks: one JSON file a paper, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..files import write_asked

FORMAT = 1
Record = Mapping[str, Any]


def write_record(folder: Path, record: Record) -> Path:
    """FOLDER/ID.json. Raises StoreError where it cannot be written."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    return write_asked(folder / f"{record['id']}.json", text, "another -o")


def read_records(folder: Path) -> Sequence[Record]:
    """All records of a folder, by id. Raises StoreError for a file that is none."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            known = record["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is no record of a check ({error}); move it away, or give another -o") from None
        if not known:
            raise StoreError(f"{path} was written by another paretolm; run this check again, or give another -o")
        found.append(record)
    return found
