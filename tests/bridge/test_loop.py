"""The decoding loop: text, stops, streamer and seeds as transformers' own generate has them."""

from functools import partial

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedTokenizerFast, StoppingCriteriaList
from transformers.generation.stopping_criteria import EosTokenCriteria, MaxLengthCriteria, StopStringCriteria
from transformers.generation.streamers import BaseStreamer

from paretolm.bridge.loop import DecodeLoop, run_decode
from paretolm.contracts import Forward
from paretolm.errors import CallError
from paretolm.methods.decode.contrastive_search import ContrastiveSearch, Searcher
from paretolm.methods.decode.drafts.token_recycling import Recycler, TokenRecycling
from tests.contract.tiny import VOCAB, text, tiny
from tests.fakes import FakeContext, NaivePort, PlainDecode, TableModel, tiny_view, write


class Streamed(BaseStreamer):
    """What a streamer was given, in order."""

    def __init__(self):
        self.seen = []

    def put(self, value):
        self.seen.append(value.tolist())

    def end(self):
        self.seen.append("end")


class Spans:
    """Emits a fixed text, several tokens at once."""

    keeps_prompt_logits = False

    def __init__(self, *spans):
        self.spans, self.answers = spans, []

    def decode(self, loop):
        for span in self.spans:
            self.answers.append(loop.emit(torch.tensor([span])))
            if not self.answers[-1]:
                return


def recycler(vocab_size=12, **knobs):
    return Recycler(TokenRecycling(**{"k": 4, "num_nodes": 12, **knobs}), FakeContext(tiny_view(vocab_size)))


# --- stops ---


def letters():
    """A tokenizer whose token i is the i-th letter, and two tokens of two letters."""
    vocab = {letter: i for i, letter in enumerate("abcdefgh")} | {"bc": 8, "de": 9}
    tokenizer = Tokenizer(models.BPE(vocab, [("b", "c"), ("d", "e")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize(
    ("stop", "spans", "expected"),
    [
        ("bc", [[1, 1, 2, 3], [4]], [1, 1, 2]),
        ("bc", [[1], [2, 3]], [1, 2]),  # the stop string lies across two spans
        ("cd", [[0, 8, 9, 5]], [0, 8, 9]),  # it lies inside longer tokens
        ("a", [[0, 0, 0]], [0]),
    ],
)
def test_text_is_cut_at_the_first_stop_string(stop, spans, expected):
    part, streamer = Spans(*spans), Streamed()
    text = write(part, TableModel(10), [5, 6], stops=[StopStringCriteria(letters(), stop)], streamer=streamer)
    assert text.ids == expected
    assert streamer.seen == [*([token] for token in expected), "end"]
    assert part.answers[-1] is False


def test_text_is_cut_at_the_end_of_text_and_at_the_longest_length():
    assert write(Spans([1, 7, 2], [3]), TableModel(12), [5], stops=[EosTokenCriteria(7)]).ids == [1, 7]
    part = Spans([1, 2], [3, 4], [5])
    assert write(part, TableModel(12), [5], new=3).ids == [1, 2, 3]
    assert part.answers == [True, False]


def test_a_prompt_that_holds_the_stop_does_not_stop():
    assert write(Spans([1, 7]), TableModel(12), [7, 7], stops=[EosTokenCriteria(7)]).ids == [1, 7]


def test_room_counts_what_may_still_be_emitted():
    rooms = []

    class Counting(Spans):
        def decode(self, loop):
            rooms.append(loop.room)
            loop.emit(torch.tensor([[1, 2]]))
            rooms.append(loop.room)
            loop.emit(torch.tensor([[1, 2, 3]]))

    write(Counting(), TableModel(12), [5], new=5)
    assert rooms == [5, 3]
    nothing = Forward(torch.zeros(1, 1, 4), torch.zeros(1, 1, 2))
    loop = DecodeLoop(
        NaivePort(TableModel(4)), torch.tensor([[1]]), nothing, LogitsProcessorList(), StoppingCriteriaList(), False
    )
    assert loop.room is None


def test_a_method_that_writes_past_the_end_or_stops_early_is_our_mistake():
    class Deaf(Spans):
        def decode(self, loop):
            while True:
                loop.emit(torch.tensor([[1]]))

    with pytest.raises(AssertionError, match="finished"):
        write(Deaf(), TableModel(12), [5], new=2)
    with pytest.raises(AssertionError, match="before"):
        write(Spans([1]), TableModel(12), [5], new=2)


# --- the prompt ---


@pytest.mark.parametrize(("chunk", "reads"), [(None, [(5, True)]), (2, [(2, False), (2, False), (1, True)])])
@pytest.mark.parametrize("keeps", [True, False])
def test_the_prompt_is_read_in_pieces(chunk, reads, keeps):
    model, prompt, seen = TableModel(12), [1, 2, 3, 4, 5], []

    class Looking(PlainDecode):
        keeps_prompt_logits = keeps

        def decode(self, loop):
            seen.append((loop.prompt_logits, loop.prompt_hidden, loop.vocab_size))
            super().decode(loop)

    text = write(Looking(), model, prompt, chunk=chunk)
    ((logits, hidden, vocab_size),) = seen
    answers = [model(prompt[: end + 1]) for end in range(5)]
    assert torch.equal(logits[0], torch.stack([row for row, _ in answers])[0 if keeps else 4 :])
    assert torch.equal(hidden[0], torch.stack([row for _, row in answers]))
    assert vocab_size == 12
    assert text.port.reads == reads
    assert text.ids == write(PlainDecode(), model, prompt).ids


def test_scores_leave_the_logits_alone():
    def shift(ids, scores):
        return scores.add_(ids[:, -1:])

    nothing = Forward(torch.zeros(1, 1, 4), torch.zeros(1, 1, 2))
    stops = StoppingCriteriaList()
    loop = DecodeLoop(
        NaivePort(TableModel(4)), torch.tensor([[3]]), nothing, LogitsProcessorList([shift]), stops, False
    )
    logits = torch.zeros(1, 4, dtype=torch.bfloat16)
    assert loop.scores(logits).tolist() == [[3.0] * 4]
    assert loop.scores(logits, torch.tensor([[1, 2]])).dtype is torch.float32
    assert loop.scores(logits, torch.tensor([[1, 2]])).tolist() == [[2.0] * 4]
    assert not logits.any()


# --- calls that cannot be served ---


@pytest.mark.parametrize(
    ("rows", "arguments", "reason"),
    [
        (2, {}, "one text at a time"),
        (1, {"num_beams": 3}, "num_beams=3"),
        (1, {"return_dict_in_generate": True}, "without return_dict_in_generate"),
    ],
)
def test_calls_are_refused_before_any_compute(rows, arguments, reason):
    port, config = NaivePort(TableModel(12)), GenerationConfig(max_length=9, **arguments)
    lists = LogitsProcessorList(), StoppingCriteriaList([MaxLengthCriteria(9)])
    with pytest.raises(CallError, match=reason):
        run_decode(recycler(), port, torch.ones(rows, 3, dtype=torch.long), *lists, config)
    assert port.forwards == 0


# --- beside transformers' own generate ---


CALLS = {
    "greedy": {},
    "greedy, penalised": {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2, "min_new_tokens": 5},
    "sampled": {"do_sample": True},
    "sampled, warped": {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.2},
    "stops at end of text": {"eos_token_id": list(range(40))},
}
PARTS = {
    "plain": PlainDecode,
    "token recycling": lambda: recycler(VOCAB, k=8, recycle_prompt=True),
    "contrastive search at 0": lambda: Searcher(ContrastiveSearch(alpha=0.0), FakeContext(tiny_view(VOCAB))),
}


@pytest.fixture(scope="module")
def lm():
    return tiny("llama").model


def next_token(model, ids):
    hidden = model.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1]
    return model.lm_head(hidden), hidden


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("part", PARTS)
def test_text_equals_transformers_generate(lm, part, call):
    arguments = {"max_new_tokens": 16, "do_sample": False, "eos_token_id": None, **CALLS[call]}
    if arguments["do_sample"] and part.startswith("contrastive"):
        arguments = {**arguments, "do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    ids = text(6)
    torch.manual_seed(7)
    streamed, expected = Streamed(), Streamed()
    plain = lm.generate(ids, streamer=expected, **arguments)

    def decode(model, input_ids, logits_processor, stopping_criteria, generation_config, **_):
        port = NaivePort(partial(next_token, model))
        made = PARTS[part]()
        return run_decode(made, port, input_ids, logits_processor, stopping_criteria, generation_config, streamed)

    torch.manual_seed(7)
    written = lm.generate(ids, custom_generate=decode, streamer=streamed, **arguments)
    assert written.tolist() == plain.tolist()
    assert streamed.seen == expected.seen
