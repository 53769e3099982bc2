"""What a run needs before its first step: a tokenizer and the text as tokens, made once and then found again."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tokenizers import Tokenizer

from ..errors import TextError
from .checkpoint import Checkpoints
from .contracts import Source
from .corpus import Corpus, Documents
from .files import whole
from .progress import Progress
from .settings import RunSettings
from .tokenizer import read_tokenizer, special_ids, train_tokenizer, write_tokenizer
from .tokens import TokenFile, write_tokens

FEWEST = 20  # windows of text; fewer are learned by heart within a few steps


def prepare(
    settings: RunSettings,
    to: Path,
    corpus: Corpus,
    given: Path | None,
    checkpoints: Checkpoints,
    progress: Progress,
) -> None:
    """Leaves `tokenizer` and `tokens` in the directory of the run.

    Raises UserError where the checkpoints there are of other settings, of another text or tokenizer."""
    if corpus.set_aside:
        progress.say(f"held out and not read: {', '.join(f.name for f in corpus.set_aside)}")
    begun = checkpoints.last() is not None
    tokenizer = _tokenizer(settings, corpus, to / "tokenizer" if begun and given is None else given, progress)
    identity = hashlib.sha256((corpus.fingerprint() + tokenizer.to_str()).encode()).hexdigest()
    checkpoints.check(identity)
    if not begun:
        with whole(to / "tokenizer") as partial:
            write_tokenizer(tokenizer, partial, settings.sequence_length)
    valid = Documents(corpus.valid, held_out=None) if corpus.valid else Documents(corpus.train, held_out=True)
    for name, documents in (("train", Documents(corpus.train)), ("valid", valid)):
        if name == "train" or any(True for _ in documents):
            progress.begin(f"encoding {name}", documents.size)
            write_tokens(to / "tokens" / name, documents, tokenizer, identity, progress.advance)
        else:
            shutil.rmtree(to / "tokens" / name, ignore_errors=True)


def _tokenizer(settings: RunSettings, corpus: Corpus, given: Path | None, progress: Progress) -> Tokenizer:
    if given is not None:
        return read_tokenizer(given)
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
