"""The loop a decoding method drives: one text, with transformers' own processors, stops and streamer.

`generate(custom_generate=f)` hands `f` the prepared lists but neither streamer nor tokenizer, so the caller of
`run_decode` passes the streamer itself (generate has already put the prompt into it) and appends a
StopStringCriteria where stop strings are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from ..contracts import DecodePart, Forward
from ..errors import CallError


class StreamPort(Protocol):
    """One request through the cache; the methods of the same names in `contracts.Loop` say what each does."""

    def read(self, ids: Tensor, last: bool = False, *, logits: bool = True) -> Forward:
        """A piece of the prompt, ids [1, q]; last: the prompt ends here. Without `logits` those of the last
        token suffice."""
        ...

    def step(self, ids: Tensor) -> Forward: ...
    def verify(self, ids: Tensor, parents: Sequence[int]) -> Forward: ...
    def commit(self, path: Sequence[int]) -> None: ...
    def fork(self, ids: Tensor) -> Forward: ...
    def choose_fork(self, row: int) -> None: ...


class DecodeLoop:
    """contracts.Loop over a StreamPort. Scores, picks and stops as transformers' own sampling loop does, token
    by token also where several are emitted at once, so equal logits and an equal seed give equal text."""

    def __init__(
        self,
        port: StreamPort,
        ids: Tensor,
        prompt: Forward,
        processors: LogitsProcessorList,
        stops: StoppingCriteriaList,
        do_sample: bool,
        streamer: BaseStreamer | None = None,
    ) -> None:
        self.ids, self.prompt_hidden, self.prompt_logits = ids, prompt.hidden, prompt.logits
        self.do_sample, self.vocab_size = do_sample, prompt.logits.shape[-1]
        self.finished = False
        self._port, self._processors, self._stops, self._streamer = port, processors, stops, streamer

    @property
    def room(self) -> int | None:
        longest = self._stops.max_length
        return None if longest is None else max(0, longest - self.ids.shape[1])

    def forward(self, ids: Tensor) -> Forward:
        return self._port.step(ids)

    def verify(self, ids: Tensor, parents: Sequence[int]) -> Forward:
        assert ids.shape == (1, len(parents)), "one parent a draft"
        return self._port.verify(ids, parents)

    def commit(self, path: Sequence[int]) -> None:
        self._port.commit(path)

    def fork(self, ids: Tensor) -> Forward:
        return self._port.fork(ids)

    def choose_fork(self, row: int) -> None:
        self._port.choose_fork(row)

    def scores(self, logits: Tensor, ids: Tensor | None = None) -> Tensor:
        copied = logits.to(dtype=torch.float32, copy=True)  # processors may write in place
        scores: Tensor = self._processors(self.ids if ids is None else ids, copied)
        return scores

    def pick(self, scores: Tensor) -> Tensor:
        if self.do_sample:
            return torch.multinomial(scores.softmax(dim=-1), num_samples=1).squeeze(1)
        return scores.argmax(dim=-1)

    def emit(self, tokens: Tensor) -> bool:
        assert not self.finished, "the text is finished"
        for token in tokens.split(1, dim=1):
            self.ids = torch.cat([self.ids, token], dim=1)
            self.finished = bool(self._stops(self.ids, None).all())
            if self._streamer is not None:
                self._streamer.put(token[:, 0].cpu())
            if self.finished:
                return False
        return True


def run_decode(
    part: DecodePart,
    port: StreamPort,
    input_ids: Tensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    streamer: BaseStreamer | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Reads the prompt input_ids [1, P] in pieces of at most `chunk`, lets `part` write; the whole text [1, T]."""
    _check_call(input_ids, generation_config)
    prompt = _read_prompt(port, input_ids, chunk or input_ids.shape[1], part.keeps_prompt_logits)
    do_sample = bool(generation_config.do_sample)
    loop = DecodeLoop(port, input_ids, prompt, logits_processor, stopping_criteria, do_sample, streamer)
    part.decode(loop)
    assert loop.finished, "the method stopped writing before the text was finished"
    if streamer is not None:
        streamer.end()
    return loop.ids


def _check_call(input_ids: Tensor, config: GenerationConfig) -> None:
    """Raises CallError for a call that no decoding method serves, before any compute."""
    rows, beams = input_ids.shape[0], config.num_beams or 1
    if beams > 1:
        raise CallError(f"this recipe chooses tokens itself and cannot search with num_beams={beams}; leave it out")
    if rows > 1:
        raise CallError(
            f"this recipe's decoding method writes one text at a time, but the call brought {rows} rows "
            "(a batch, or num_return_sequences); call generate once a text"
        )
    if config.return_dict_in_generate:
        raise CallError(
            "this recipe's decoding method returns token ids only; call generate without return_dict_in_generate"
        )


def _read_prompt(port: StreamPort, ids: Tensor, chunk: int, all_logits: bool) -> Forward:
    """Logits [1, P or 1, V] and hidden states [1, P, d] of the prompt."""
    logits: list[Tensor] = []
    hidden: list[Tensor] = []
    for start in range(0, ids.shape[1], chunk):
        out = port.read(ids[:, start : start + chunk], last=start + chunk >= ids.shape[1], logits=all_logits)
        hidden.append(out.hidden)
        logits = [*logits, out.logits] if all_logits else [out.logits[:, -1:].clone()]
    return Forward(torch.cat(logits, dim=1), torch.cat(hidden, dim=1))
