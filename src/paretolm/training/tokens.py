"""Token files: a corpus as token ids on disk, mapped into memory, with the borders of its documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ..errors import TextError
from .corpus import Documents
from .files import whole
from .tokenizer import special_ids

_BATCH = 256  # documents encoded at once


@dataclass(frozen=True)
class TokenFile:
    """ids [N], each document followed by the id that ends texts. ends [D]: where each document's last id stands,
    plus one. domains [D]: index into names. identity: of the files and the tokenizer behind it."""

    ids: np.ndarray
    ends: np.ndarray
    domains: np.ndarray
    names: tuple[str, ...]
    identity: str = ""

    @classmethod
    def open(cls, directory: Path) -> TokenFile:
        about = json.loads((directory / "about.json").read_text(encoding="utf-8"))
        with np.load(directory / "documents.npz") as table:
            ends, domains = table["ends"], table["domains"]
        ids = np.memmap(directory / "tokens.bin", dtype=about["dtype"], mode="r")
        return cls(ids, ends, domains, tuple(about["names"]), about["identity"])

    def documents(self, domain: int) -> Iterator[np.ndarray]:
        """The ids of each document of a domain, without the end."""
        starts = np.concatenate([[0], self.ends[:-1]])
        for d in np.flatnonzero(self.domains == domain):
            yield self.ids[starts[d] : self.ends[d] - 1]


def write_tokens(
    directory: Path, texts: Documents, tokenizer: Tokenizer, identity: str, tell: Callable[[int], None]
) -> TokenFile:
    """The token file of `texts`; one that is there and says the same identity is taken as it is.

    tell hears how many bytes of the files are read. Raises TextError where there is no text."""
    about = directory / "about.json"
    if not about.exists() or json.loads(about.read_text(encoding="utf-8"))["identity"] != identity:
        with whole(directory) as partial:
            _write(partial, texts, tokenizer, identity, tell)
    return TokenFile.open(directory)


def _write(directory: Path, texts: Documents, tokenizer: Tokenizer, identity: str, tell: Callable[[int], None]) -> None:
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    names: dict[str, int] = {}
    ends, domains, total = [], [], 0
    eos = special_ids(tokenizer)["eos"]
    with (directory / "tokens.bin").open("wb") as file:
        waiting = iter(texts)
        while batch := list(islice(waiting, _BATCH)):
            encoded = tokenizer.encode_batch_fast([t.text for t in batch], add_special_tokens=False)
            for text, found in zip(batch, encoded, strict=True):
                file.write(np.array([*found.ids, eos], dtype=dtype).tobytes())  # tofile passes over a full disk
                total += len(found.ids) + 1
                ends.append(total)
                domains.append(names.setdefault(text.domain, len(names)))
            tell(texts.read)
    if not ends:
        raise TextError("the text is empty: there is nothing to train on")
    np.savez(directory / "documents.npz", ends=np.array(ends, np.int64), domains=np.array(domains, np.int32))
    facts = {"identity": identity, "dtype": np.dtype(dtype).name, "names": list(names), "tokens": total}
    (directory / "about.json").write_text(json.dumps(facts), encoding="utf-8")
