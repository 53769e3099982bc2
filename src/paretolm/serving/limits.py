"""What one request, and all of them together, may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """tokens: of a prompt and its answer. texts: answers of one request, prompts times n. seconds: of a request, its
    waiting included. drain: seconds that running requests have when the server is told to end. Lengths of a stop
    string in characters. connections: at a time. patience: seconds that a client may take to send a head or a body, or
    to go on reading."""

    tokens: int
    body_bytes: int = 1 << 20
    header_bytes: int = 16 << 10
    texts: int = 8
    stops: int = 4
    stop_length: int = 64
    waiting: int = 32
    seconds: float = 300.0
    drain: float = 30.0
    connections: int = 512
    patience: float = 30.0
