"""What a request asks for, read from its JSON; everything that can be refused is refused here."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import CallError
from . import conversation
from .fields import Fields, Table, wrong
from .limits import Limits
from .refusal import Refusal
from .requests import ROLES, STREAM_OPTIONS, chat_fields, completion_fields

if TYPE_CHECKING:
    from torch import Tensor

CHAT, COMPLETION = "chat.completion", "text_completion"
_COLD = 1e-4  # below it there is one choice, and numbers overflow


@dataclass(frozen=True)
class Asked:
    """A request to `model`. kind: CHAT or COMPLETION; prompts: token ids [1, T]; heads: text in front of each answer
    (echo); top: how many alternatives a token is shown with, None for no logprobs; sampling: for generate, empty is
    greedy."""

    model: str
    kind: str
    prompts: tuple[Tensor, ...]
    n: int
    max_new_tokens: int
    sampling: Mapping[str, Any]
    seed: int
    stops: tuple[str, ...]
    top: int | None
    stream: bool
    usage: bool  # a stream ends with the counts
    live: bool  # and every piece has them
    heads: tuple[str, ...] = field(default=())

    @property
    def texts(self) -> int:
        return len(self.prompts) * self.n


@dataclass(frozen=True)
class Reader:
    """Reads requests to the model `name`. tokenizer: nobody else's, it is used beside a running generation.
    positions: tokens that the model has places for, None where it can go on."""

    name: str
    tokenizer: Any
    limits: Limits
    positions: int | None = None

    @cached_property
    def completion_fields(self) -> Table:
        return completion_fields([self.name], self.limits)

    @cached_property
    def chat_fields(self) -> Table:
        return chat_fields([self.name], self.limits)

    def completion(self, body: Mapping[str, Any]) -> Asked:
        """Raises Refusal."""
        fields = self._begin(body, self.completion_fields)
        prompts = self._prompts(fields.take("prompt"))
        top = fields.take("logprobs")
        echo = fields.take("echo")
        if echo and top is not None:
            raise Refusal("echo goes without logprobs here; ask for one of them", param="logprobs")
        heads = tuple(self.tokenizer.decode(p[0], skip_special_tokens=True) for p in prompts) if echo else ()
        return self._asked(fields, COMPLETION, prompts, fields.take("max_tokens"), top, (), heads)

    def chat(self, body: Mapping[str, Any]) -> Asked:
        """Raises Refusal."""
        fields = self._begin(body, self.chat_fields)
        messages = _messages(fields.take("messages"))
        tools = self._tools(fields)
        shown = fields.take("top_logprobs")
        top = (shown or 0) if fields.take("logprobs") else None
        if shown is not None and top is None:
            raise Refusal("top_logprobs needs logprobs: true", param="top_logprobs")
        older, newer = fields.take("max_tokens"), fields.take("max_completion_tokens")
        most = older if newer is None else newer
        try:
            prompt = conversation.prompt_ids(self.tokenizer, messages, tools)
        except CallError as error:
            raise Refusal(str(error), param="messages") from None
        return self._asked(fields, CHAT, (prompt,), most, top, tuple(conversation.stops(self.tokenizer)))

    def _begin(self, body: Mapping[str, Any], table: Table) -> Fields:
        fields = Fields(body, table)
        model = fields.take("model")
        if model != self.name:
            what = "model is missing" if model is None else f"there is no model {str(model)[:80]!r} here"
            code = None if model is None else "model_not_found"
            raise Refusal(
                f"{what}; this server has {self.name!r}", 400 if model is None else 404, param="model", code=code
            )
        fields.check()
        return fields

    def _asked(
        self,
        fields: Fields,
        kind: str,
        prompts: tuple[Tensor, ...],
        most: int | None,
        top: int | None,
        ends: tuple[str, ...],
        heads: tuple[str, ...] = (),
    ) -> Asked:
        """most: new tokens as asked; None takes what is left."""
        n, stream = fields.take("n"), fields.take("stream")
        asked = Asked(
            self.name,
            kind,
            prompts,
            n,
            self._room(prompts, most),
            _sampling(fields),
            _seed(fields),
            self._stops(fields.take("stop")) + ends,
            top,
            stream,
            *_usage(fields.take("stream_options"), stream),
            heads,
        )
        if asked.texts > self.limits.texts:
            raise Refusal(f"{asked.texts} texts were asked for; a request may have {self.limits.texts}", param="n")
        return asked

    def _room(self, prompts: tuple[Tensor, ...], most: int | None) -> int:
        longest = max(p.shape[1] for p in prompts)
        size = min(self.limits.tokens, self.positions or self.limits.tokens)
        if longest + (most or 1) > size:
            raise Refusal(
                f"the prompt has {longest} tokens and the answer {most or 'at least 1'}, but together they may have "
                f"{size}; shorten the prompt, or ask for less",
                param="max_tokens",
                code="context_length_exceeded",
            )
        return size - longest if most is None else most

    def _stops(self, value: Any) -> tuple[str, ...]:
        stops = [] if value is None else [value] if isinstance(value, str) else value
        most, longest = self.limits.stops, self.limits.stop_length
        if not isinstance(stops, list) or not all(isinstance(s, str) and 0 < len(s) <= longest for s in stops):
            raise wrong("stop", value, f"a string of 1 to {longest} characters, or a list of them")
        if len(stops) > most:
            raise Refusal(f"{len(stops)} stop strings were given; a request may have {most}", param="stop")
        return tuple(stops)

    def _prompts(self, value: Any) -> tuple[Tensor, ...]:
        import torch

        listed = value if isinstance(value, list) and value and not isinstance(value[0], int) else [value]
        if len(listed) > self.limits.texts:
            raise Refusal(f"{len(listed)} prompts were given; a request may have {self.limits.texts}", param="prompt")
        return tuple(torch.tensor([self._ids(one)], dtype=torch.long) for one in listed)

    def _ids(self, prompt: Any) -> list[int]:
        if isinstance(prompt, str):
            ids = list(self.tokenizer(prompt).input_ids)
        elif isinstance(prompt, list) and all(type(i) is int and 0 <= i < len(self.tokenizer) for i in prompt):
            ids = prompt
        else:
            raise wrong("prompt", prompt, f"text, token ids below {len(self.tokenizer)}, or a list of one of them")
        if not ids:
            raise Refusal("the prompt is empty; give at least one token", param="prompt")
        return ids

    def _tools(self, fields: Fields) -> list[Any] | None:
        tools, choice = fields.take("tools"), fields.take("tool_choice")
        if choice not in (None, "auto", "none"):
            raise Refusal("tool_choice is 'auto' or 'none' here: the model is shown the tools, not made to use one")
        if tools is not None and (not isinstance(tools, list) or not all(isinstance(t, dict) for t in tools)):
            raise wrong("tools", tools, "a list of objects")
        if not tools or choice == "none":
            return None
        if not conversation.takes_tools(self.tokenizer):
            raise Refusal(f"the chat template of {self.name} has no place for tools; leave tools out", param="tools")
        return tools


def _sampling(fields: Fields) -> dict[str, Any]:
    """For transformers' generate; OpenAI's defaults, not those saved with the model."""
    temperature, top_p = fields.take("temperature"), fields.take("top_p")
    return {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0} if temperature >= _COLD else {}


def _seed(fields: Fields) -> int:
    seed = fields.take("seed")
    return secrets.randbits(62) if seed is None else seed


def _usage(options: Any, stream: bool) -> tuple[bool, bool]:
    """Whether a stream ends with the counts, and whether every piece has them (as vLLM calls it)."""
    if options is None:
        return False, False
    if not isinstance(options, dict) or not stream:
        raise Refusal("stream_options is an object, and goes with stream: true", param="stream_options")
    told = Fields(options, STREAM_OPTIONS)
    told.check()
    last = told.take("include_usage")
    return last, last and told.take("continuous_usage_stats")


def _messages(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise wrong("messages", value, "a list of at least one message")
    return [_message(one, i) for i, one in enumerate(value)]


def _message(value: Any, number: int) -> dict[str, Any]:
    """With plain text as its content. Raises Refusal."""
    place = f"messages[{number}]"
    if not isinstance(value, dict) or value.get("role") not in ROLES:
        raise wrong(place, value, "an object with a role: system, user, assistant or tool")
    content = value.get("content")
    if isinstance(content, list):
        if not all(isinstance(p, dict) and p.get("type") == "text" and isinstance(p.get("text"), str) for p in content):
            raise wrong(f"{place}.content", content, "text; images and sounds are not read here")
        content = "".join(p["text"] for p in content)
    calls = value.get("tool_calls")
    if content is None and calls and isinstance(calls, list):
        content = ""
    if not isinstance(content, str):
        raise wrong(f"{place}.content", content, "text")
    role = "system" if value["role"] == "developer" else value["role"]
    return {**value, "role": role, "content": content}
