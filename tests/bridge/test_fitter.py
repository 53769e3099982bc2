"""TextFitter: the documents as ids, and the model's own logits and last hidden states."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from paretolm.bridge.fitter import TextFitter, text_hash
from paretolm.bridge.lm import LM
from paretolm.errors import FitError, TextError
from tests.contract.tiny import LENGTH, tiny


def with_words(name="llama"):
    """A tiny model with a tokenizer of the words w0, w1, ..."""
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(90)}, "w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return LM.from_model(tiny(name).model, PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def words(*ids):
    return " ".join(f"w{i}" for i in ids)


def test_documents_come_as_ids_in_pieces_of_the_trained_length():
    long = [i % 90 for i in range(LENGTH + 7)]
    fitter = TextFitter(with_words(), [words(3, 4, 5), " ", words(*long)])
    pieces = [piece[0].tolist() for piece in fitter.documents()]
    assert pieces == [[3, 4, 5], long[:LENGTH], long[LENGTH:]]


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "gemma3", "gpt2"])
def test_forward_gives_the_models_own_logits_and_states_and_leaves_no_hook(name):
    lm = with_words(name)
    ids = torch.tensor([[1, 2, 3, 4]])
    logits, hidden = TextFitter(lm, [words(1, 2)]).forward(ids)
    with torch.no_grad():
        expected = lm.model(input_ids=ids, use_cache=False, output_hidden_states=True)
    torch.testing.assert_close(logits, expected.logits)
    torch.testing.assert_close(hidden, expected.hidden_states[-1])
    assert not logits.requires_grad


def test_no_hook_stays():
    lm = with_words()
    before = len(lm.model.model._forward_hooks)
    TextFitter(lm, [words(1, 2)]).forward(torch.tensor([[1, 2]]))
    with pytest.raises(IndexError):
        TextFitter(lm, [words(1, 2)]).forward(torch.tensor([[10**6]]))
    assert len(lm.model.model._forward_hooks) == before


def test_text_or_models_that_cannot_serve_are_refused():
    with pytest.raises(FitError, match="without a tokenizer"):
        TextFitter(tiny(), ["text"])
    for documents in ([], ["", " \n"]):
        with pytest.raises(TextError, match="empty"):
            TextFitter(with_words(), documents)


def test_the_hash_tells_texts_apart():
    texts = [[], [""], ["ab"], ["a", "b"], ["b", "a"], ["a", "b", ""]]
    assert len({text_hash(documents) for documents in texts}) == len(texts)
    assert TextFitter(with_words(), ["a", "b"]).data_hash == text_hash(["a", "b"])


@pytest.mark.parametrize(("name", "turned"), [("llama", 16), ("gpt_neox", 8), ("gemma3", 16), ("gpt2", 0)])
def test_radians_a_position_are_the_models_own(name, turned):
    found = TextFitter(with_words(name), [words(1, 2)]).inv_freq
    if not turned:
        assert found is None
        return
    base = tiny(name).view.rope.base
    torch.testing.assert_close(found, base ** (-torch.arange(0, turned, 2) / turned))
