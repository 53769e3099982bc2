"""What a run needs before its first step: a tokenizer and the text as tokens, made once and then found again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from ..errors import TextError
from .contracts import Source
from .corpus import Corpus, Documents
from .progress import Progress
from .settings import RunSettings
from .tokenizer import FILE, read_tokenizer, special_ids, train_tokenizer, write_tokenizer
from .tokens import TokenFile, write_tokens

FEWEST = 20  # windows of text; fewer are learned by heart within a few steps


def prepare(
    settings: RunSettings,
    to: Path,
    corpus: Corpus,
    given: Path | None,
    check: Callable[[str], None],
    progress: Progress,
) -> None:
    """Leaves `tokenizer` and `tokens` in the directory of the run.

    check: hears what identifies the text and its tokens, and raises where an earlier run here had others."""
    if corpus.set_aside:
        progress.say(f"held out and not read: {', '.join(f.name for f in corpus.set_aside)}")
    tokenizer = _tokenizer(settings, to / "tokenizer", corpus, given, progress)
    identity = hashlib.sha256((corpus.fingerprint() + tokenizer.to_str()).encode()).hexdigest()
    check(identity)
    write_tokenizer(tokenizer, to / "tokenizer", settings.sequence_length)
    valid = Documents(corpus.valid) if corpus.valid else Documents(corpus.train, held_out=True)
    for name, documents in (("train", Documents(corpus.train)), ("valid", valid)):
        if name == "train" or any(True for _ in documents):
            progress.begin(f"encoding {name}", documents.size)
            write_tokens(to / "tokens" / name, documents, tokenizer, identity, progress.advance)


def _tokenizer(settings: RunSettings, home: Path, corpus: Corpus, given: Path | None, progress: Progress) -> Tokenizer:
    if given is not None:
        return read_tokenizer(given)
    if (home / FILE).exists():
        return read_tokenizer(home)
    progress.say(f"training a tokenizer of {settings.tokenizer.vocab_size} entries")
    return train_tokenizer((d.text for d in Documents(corpus.train)), settings.tokenizer.vocab_size)


def open_source(settings: RunSettings, to: Path, tokenizer: Tokenizer, progress: Progress) -> Source:
    """What data orders draw from. Raises TextError where the text is too short to learn from."""
    text = TokenFile.open(to / "tokens" / "train")
    windows = len(text.ids) // (settings.sequence_length - 1)
    if windows < FEWEST:
        raise TextError(
            f"the text has {len(text.ids):,} tokens, which is {windows} windows of {settings.sequence_length}; "
            f"at least {FEWEST} are needed: give more text or a smaller sequence_length"
        )
    epochs = settings.steps * settings.batch_size / windows
    if epochs > 4:
        progress.say(f"the run reads its {len(text.ids):,} tokens {epochs:.0f} times over")

    def encode(words: str) -> list[int]:
        return list(tokenizer.encode(words, add_special_tokens=False).ids)

    special = special_ids(tokenizer)
    return Source(text, encode, special["bos"], special["eos"], settings.sequence_length, settings.seed)
