"""Stand-ins for what a session gives a decoding or logits method: a context, and a stream over a tiny model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, MaxLengthCriteria, StoppingCriteriaList

from paretolm.bridge.loop import run_decode
from paretolm.contracts import Forward, ModelView

NextToken = Callable[[list[int]], tuple[Tensor, Tensor]]  # ids so far -> (logits [V], hidden [d])


def tiny_view(vocab_size: int, hidden_size: int = 6) -> ModelView:
    return ModelView(
        architecture="table",
        layers=(),
        hidden_size=hidden_size,
        vocab_size=vocab_size,
        trained_length=128,
        dtype_bytes=4,
        weight_bytes=0,
        linears=(),
        rope=None,
        has_tokenizer=False,
        attention="eager",
    )


class FakeContext:
    """contracts.OpenContext of one method at the place 'model'."""

    def __init__(self, view: ModelView, artifact: object = None, method: str = "method") -> None:
        self.view, self.artifact, self.method, self.place = view, artifact, method, "model"
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.counters: dict[str, int] = {}
        self.notes: dict[str, object] = {}
        self._kept: list[object] = []
        self._shared: list[object] = []

    def shared(self, make):
        self._shared = self._shared or [make()]
        return self._shared[0]

    def kept(self, make):
        self._kept = self._kept or [make()]
        return self._kept[0]

    def new_request(self) -> None:
        self._shared = []

    def count(self, counter: str, amount: int = 1) -> None:
        self.counters[counter] = self.counters.get(counter, 0) + amount

    def note(self, name: str, value: object) -> None:
        self.notes[name] = value


class TableModel:
    """A model that looks at the last `order` tokens: logits and hidden state are sums of one random row for each."""

    def __init__(
        self, vocab_size: int, hidden_size: int = 6, scale: float = 1.0, seed: int = 0, order: int = 3
    ) -> None:
        random = torch.Generator().manual_seed(seed)
        self.vocab_size, self.order = vocab_size, order
        self.logits = torch.randn(order, vocab_size, vocab_size, generator=random) * scale
        self.hidden = torch.randn(order, vocab_size, hidden_size, generator=random)

        self._known: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def __call__(self, ids: list[int]) -> tuple[Tensor, Tensor]:
        key = tuple(ids[-self.order :])
        if key not in self._known:
            rows = list(enumerate(reversed(key)))
            self._known[key] = sum(self.logits[row] for row in rows), sum(self.hidden[row] for row in rows)
        return self._known[key]


class NaivePort:
    """bridge.loop.StreamPort without a cache: every answer is computed anew from the whole prefix."""

    def __init__(self, model: NextToken) -> None:
        self.model, self.settled, self.forwards = model, [], 0
        self.reads: list[tuple[int, bool]] = []
        self.drafts: list[list[int]] | None = None  # of a verify or fork under way: the tokens each node adds

    def _answer(self, prefixes: Sequence[list[int]]) -> Forward:
        self.forwards += 1
        logits, hidden = zip(*(self.model(prefix) for prefix in prefixes), strict=True)
        return Forward(torch.stack(logits)[None], torch.stack(hidden)[None])

    def read(self, ids: Tensor, last: bool = False, *, logits: bool = True) -> Forward:
        out = self.step(ids)
        self.reads.append((ids.shape[1], last))
        return out if logits else Forward(out.logits[:, -1:], out.hidden)

    def step(self, ids: Tensor) -> Forward:
        assert self.drafts is None, "drafts were neither committed nor dropped"
        start = len(self.settled)
        self.settled += ids[0].tolist()
        return self._answer([self.settled[: end + 1] for end in range(start, len(self.settled))])

    def verify(self, ids: Tensor, parents: Sequence[int]) -> Forward:
        assert self.drafts is None, "drafts were neither committed nor dropped"
        self.drafts = []
        for token, parent in zip(ids[0].tolist(), parents, strict=True):
            self.drafts.append([*(self.drafts[parent] if parent >= 0 else []), token])
        return self._answer([self.settled + draft for draft in self.drafts])

    def commit(self, path: Sequence[int]) -> None:
        assert self.drafts is not None
        chain = [self.drafts[node][-1] for node in path]
        assert not path or self.drafts[path[-1]] == chain, "the path is not one branch of the tree"
        self.settled, self.drafts = self.settled + chain, None

    def fork(self, ids: Tensor) -> Forward:
        assert self.drafts is None, "drafts were neither committed nor dropped"
        self.drafts = ids.tolist()
        out = self._answer([self.settled + draft for draft in self.drafts])
        return Forward(out.logits.transpose(0, 1), out.hidden.transpose(0, 1))

    def choose_fork(self, row: int) -> None:
        assert self.drafts is not None
        self.settled, self.drafts = self.settled + self.drafts[row], None


class PlainDecode:
    """One token a forward: what exact methods must equal."""

    keeps_prompt_logits = False

    def decode(self, loop) -> None:
        logits = loop.prompt_logits[:, -1]
        while loop.emit(token := loop.pick(loop.scores(logits))[:, None]):
            logits = loop.forward(token).logits[:, -1]


def write(part, model, prompt, new=12, do_sample=False, processors=(), stops=(), **more) -> SimpleNamespace:
    """Runs a decoding part on `model` after the token list `prompt`: its new ids and the port it used."""
    port = NaivePort(model)
    stopping = StoppingCriteriaList([MaxLengthCriteria(len(prompt) + new), *stops])
    config = GenerationConfig(do_sample=do_sample, max_length=len(prompt) + new)
    ids = run_decode(part, port, torch.tensor([prompt]), LogitsProcessorList(processors), stopping, config, **more)
    return SimpleNamespace(ids=ids[0, len(prompt) :].tolist(), port=port)
