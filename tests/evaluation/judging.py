"""A tiny model with a tokenizer, a text, and a runner of one recipe on one task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from paretolm.bridge.lm import LM
from paretolm.contracts import Forward
from paretolm.evaluation._files import Raw
from paretolm.evaluation.rows import Row
from paretolm.evaluation.source import TextSource
from paretolm.evaluation.task import DEFAULT_CHUNK, Base, Item, Run, Task
from paretolm.recipes.recipe import Recipe

TRAINED = 128
WORDS = [
    "river",
    "stone",
    "lamp",
    "window",
    "garden",
    "paper",
    "silver",
    "morning",
    "letter",
    "bridge",
    "cloud",
    "engine",
    "café",
    "winter",
    "music",
    "road",
]


def document(number: int, sentences: int = 40) -> str:
    rng = np.random.default_rng(number)
    made = [" ".join(rng.choice(WORDS, rng.integers(4, 9))).capitalize() + "." for _ in range(sentences)]
    return f"Document {number}. " + " ".join(made)


def source(documents: int = 30, sentences: int = 40) -> TextSource:
    return TextSource.of([Raw(f"d{i}", document(i, sentences), "", split="eval") for i in range(documents)], "text")


@cache
def tokenizer(vocab: int = 400) -> PreTrainedTokenizerFast:
    """Byte-level BPE: 256 bytes, <eos> and merges learnt from a few documents."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([document(i) for i in range(4)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>")


@cache
def lm() -> LM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=TRAINED,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)
    return LM.from_model(model, tokenizer(), "tiny")


def save(place: Path) -> Path:
    """The model and its tokenizer, as a directory."""
    lm().model.save_pretrained(place)
    tokenizer().save_pretrained(place)
    return place


def read(session: Any, ids: Tensor, chunk: int) -> tuple[Any, Forward]:
    stream, size = session.stream(), ids.shape[1]
    for a in range(0, size, chunk):
        out = stream.read(ids[:, a : a + chunk], last=a + chunk >= size)
    return stream, out


def judge(
    task: Task, line: str, items: list[Item], bases: Mapping[str, Base] | None = None, chunk: int | None = None
) -> tuple[list[Row], dict[str, Base]]:
    """Rows of one recipe, and what it keeps for others. chunk overrides what the recipe says."""
    recipe, rows, kept = Recipe.parse(line), [], {}
    with recipe.apply(lm()) as session:
        for item in items:
            own = recipe.chunk(task.tokens(item))
            size = chunk or min(own or DEFAULT_CHUNK, DEFAULT_CHUNK)
            stream, end = read(session, item.prompt_ids, size)
            run = Run(session, stream, end, size, own is None, lambda c, i=item: read(session, i.prompt_ids, c))
            scored = task.score(run, item, bases[item.id] if bases else None)
            rows += scored.rows
            if scored.keep is not None:
                kept[item.id] = scored.keep
    return rows, kept


class FakeStream:
    """Logits from a function of the text so far: `logits(ids [T]) -> [V]` for the token after ids."""

    def __init__(self, prompt: Tensor, logits: Callable[[list[int]], Tensor]) -> None:
        self.ids, self.logits = prompt[0].tolist(), logits
        self.seen, self.kv_bytes = len(self.ids), 0

    def end(self) -> Forward:
        return Forward(self.logits(self.ids)[None, None], torch.zeros(1, 1, 1))

    def step(self, ids: Tensor, *, logits: bool = True) -> Forward:
        found = []
        for token in ids[0].tolist():
            self.ids.append(token)
            found.append(self.logits(self.ids))
        self.seen = len(self.ids)
        return Forward(torch.stack(found)[None], torch.zeros(1, len(found), 1))


def fake_run(item: Item, logits: Callable[[list[int]], Tensor], chunk: int = 16, invariant: bool = True) -> Run:
    def start(_: int) -> tuple[Any, Forward]:
        stream = FakeStream(item.prompt_ids, logits)
        return stream, stream.end()

    stream, end = start(chunk)
    return Run(SimpleNamespace(), stream, end, chunk, invariant, start)
