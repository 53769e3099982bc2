"""Models in which tokens can be read as if they came next, and taken back."""

from __future__ import annotations

from paretolm.contracts import ModelView
from paretolm.errors import ConflictError


def check_probing(method: str, view: ModelView) -> None:
    """Raises ConflictError where a layer's state goes on with every token and has no way back."""
    other = sorted({layer.kind for layer in view.layers} - {"full", "sliding"})
    if other:
        raise ConflictError(
            f"{method} reads tokens that it takes back afterwards, which {' and '.join(other)} layers cannot"
        )
