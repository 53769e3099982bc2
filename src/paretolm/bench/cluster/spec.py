"""--workers: how many processes here, or which Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

from ...errors import UserError

RAY = "ray"
_KNOWN = "a number of processes on this machine (1 or more), 'ray', or ray://HOST:PORT"


@dataclass(frozen=True)
class Workers:
    """count: processes on this machine. address: of a Ray cluster; empty for the one that Ray finds by itself."""

    count: int | None = None
    address: str | None = None

    @property
    def clustered(self) -> bool:
        return self.address is not None


def parse_workers(text: str | None) -> Workers:
    """What was typed. Raises UserError for what cannot be meant, and where Ray is asked for and not installed."""
    if text is None:
        return Workers()
    word = text.strip()
    if word.isascii() and word.isdigit() and int(word):
        return Workers(count=int(word))
    if word != RAY and not word.startswith(f"{RAY}://"):
        raise UserError(f"--workers is {text!r}; it must be {_KNOWN}")
    address = "" if word == RAY else word
    if address and not _reachable_form(address):
        raise UserError(f"--workers is {text!r}; give host and port, as in ray://head.example:6379")
    if find_spec(RAY) is None:
        raise UserError(f"--workers {word} needs Ray: pip install 'paretolm[cluster]' first, here and on every node")
    return Workers(address=address)


def _reachable_form(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname and parts.port) and parts.netloc == address.removeprefix("ray://")
    except ValueError:
        return False
