"""The tokenizer of a family: byte-level BPE with single digits, and the files that every loader knows.

Source: Sennrich et al. 2016, arXiv 1508.07909, on bytes as in GPT-2; trained by the tokenizers library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from ..errors import ModelError

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
SAMPLE = 64 << 20  # characters that merges are learned from; more changes little
FILE = "tokenizer.json"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Merges learned from the texts; <bos> stands before everything that is encoded.

    A digit is a token of its own, so that a number is copied digit by digit."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.encode_special_tokens = True  # <eos> in a text is five characters, not the end of a text
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(texts), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def _sample(texts: Iterable[str]) -> Iterator[str]:
    left = SAMPLE
    for text in texts:
        if left <= 0:
            return
        yield text[:left]
        left -= len(text)


def write_tokenizer(tokenizer: Tokenizer, directory: Path, length: int) -> None:
    """tokenizer.json and the config beside it; length: what the model was trained on."""
    (directory / FILE).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "model_max_length": length,
        "clean_up_tokenization_spaces": False,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_tokenizer(directory: Path) -> Tokenizer:
    """Of a directory, or of the file itself; words like <eos> in a text are text to it.

    Raises ModelError where it has no beginning and end of text, or other tokens than bytes."""
    file = directory / FILE if directory.is_dir() else directory
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise ModelError(f"{file} is not a tokenizer: {error}") from None
    lacking = [t for t in (BOS, EOS, PAD) if tokenizer.token_to_id(t) is None]
    if lacking:
        raise ModelError(f"the tokenizer {file} has no {', '.join(lacking)}; leave it out to train one")
    if set("".join(tokenizer.get_vocab())) - set(pre_tokenizers.ByteLevel.alphabet()):
        raise ModelError(f"the tokenizer {file} is not a byte-level one; leave it out to train one")
    tokenizer.encode_special_tokens = True
    return tokenizer


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    ids = tokenizer.get_vocab()
    return {"bos": ids[BOS], "eos": ids[EOS], "pad": ids[PAD]}


def token_bytes(tokenizer: Tokenizer) -> list[int]:
    """Bytes of text that each id stands for; special tokens stand for none."""
    vocabulary = {i: token for token, i in tokenizer.get_vocab().items()}
    return [0 if vocabulary[i] in (BOS, EOS, PAD) else len(vocabulary[i]) for i in range(len(vocabulary))]
