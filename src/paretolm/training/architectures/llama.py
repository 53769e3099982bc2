"""Llama: pre-norm decoder with rotary positions, grouped-query attention and a gated feed-forward layer.

Source: Touvron et al. 2023, arXiv 2302.13971; grouped queries as in arXiv 2305.13245."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...contracts.knobs import knob
from ...errors import UserError
from ..contracts import Architecture


@dataclass(frozen=True, kw_only=True)
class Llama(Architecture):
    name: ClassVar[str] = "llama"

    hidden_size: int = knob(256, low=8)
    num_hidden_layers: int = knob(8, low=1)
    num_attention_heads: int = knob(8, low=1)
    num_key_value_heads: int = knob(2, low=1)
    head_dim: int = knob(32, low=2)
    intermediate_size: int = knob(768, low=8)
    rope_theta: float = knob(10000.0, low=1)
    tie_word_embeddings: bool = True
    initializer_range: float = knob(0.02, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_dim % 2:
            raise UserError(f"llama: head_dim must be even, as rotary positions turn pairs, not {self.head_dim}")
        if self.num_attention_heads % self.num_key_value_heads:
            raise UserError(
                f"llama: {self.num_attention_heads} query heads cannot share {self.num_key_value_heads} KV heads evenly"
            )

    def model_type(self) -> str:
        return "llama"

    def config(self, vocab_size: int, length: int, special: Mapping[str, int]) -> dict[str, Any]:
        return {
            "vocab_size": vocab_size,
            "max_position_embeddings": length,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.intermediate_size,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "tie_word_embeddings": self.tie_word_embeddings,
            "initializer_range": self.initializer_range,
            "bos_token_id": special["bos"],
            "eos_token_id": special["eos"],
            "pad_token_id": special["pad"],
        }
