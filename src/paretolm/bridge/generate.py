"""`model.generate` under a recipe: transformers' own generate, with our cache, prompt edits and decoding loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteriaList, StopStringCriteria

from ..contracts import DecodePart
from ..errors import CallError
from .binding import Binding
from .cache import HeldCache
from .loop import StreamPort, run_decode

_FOREIGN = {
    "past_key_values": "the recipe keeps its own cache, one a call; leave past_key_values out",
    "cache_implementation": "the recipe keeps its own cache; leave cache_implementation out",
    "inputs_embeds": "the recipe works on token ids; give input_ids",
    "custom_generate": "the recipe is in force; leave custom_generate out",
}


class Generate:
    """What stands at `model.generate` while a recipe is in force.

    rewrite: PROMPT edits on ids [1, P]. open_request: (cache or None, decoding part or None, port of the cache)
    for one call. tokenizer: for stop strings.
    """

    def __init__(
        self,
        binding: Binding,
        rewrite: Callable[[Tensor], Tensor] | None,
        open_request: Callable[[], tuple[HeldCache | None, DecodePart | None, StreamPort | None]],
        tokenizer: Any,
    ) -> None:
        self.binding, self.rewrite, self.open_request, self.tokenizer = binding, rewrite, open_request, tokenizer

    def __call__(self, inputs: Tensor | None = None, **kwargs: Any) -> Any:
        model = self.binding.model
        ids = inputs if inputs is not None else kwargs.pop("input_ids", None)
        self._check(ids, kwargs)
        given = ids
        if self.rewrite is not None:
            ids = self.rewrite(ids)
            kwargs.pop("attention_mask", None)
            if "max_length" in kwargs:
                kwargs["max_length"] -= given.shape[1] - ids.shape[1]
        self.binding.check_room(ids.shape[1] + max(0, int(kwargs.get("max_new_tokens") or 1) - 1))
        cache, part, port = self.open_request()
        if cache is not None:
            cache.prompt, cache.prompt_length = ids, ids.shape[1]
            kwargs["past_key_values"] = cache
        if kwargs.get("stop_strings") and "tokenizer" not in kwargs:
            kwargs["tokenizer"] = self.tokenizer
        if part is not None and port is not None:
            self._decode_with(part, port, kwargs)
        output = type(model).generate(model, ids, **kwargs)
        return output if given is ids else _with_prompt(output, given, ids.shape[1])

    def _check(self, ids: Tensor | None, kwargs: dict[str, Any]) -> None:
        if ids is None:
            raise CallError("generate needs the prompt's token ids as its first argument or as input_ids")
        for name, why in _FOREIGN.items():
            if kwargs.get(name) is not None:
                raise CallError(f"generate was called with {name}, but {why}")
        if kwargs.get("use_cache") is False and self.binding.owns_cache:
            raise CallError("generate was called with use_cache=False, but the recipe acts in the cache")
        if self.rewrite is not None and (ids.shape[0] > 1 or not _all_ones(kwargs.get("attention_mask"))):
            raise CallError("the recipe rewrites the prompt and takes one prompt a call, without padding")

    def _decode_with(self, part: DecodePart, port: StreamPort, kwargs: dict[str, Any]) -> None:
        """Hands transformers' prepared call to the decoding part; a callable gets no streamer and no tokenizer."""
        if kwargs.get("num_beams", 1) > 1 or kwargs.get("num_return_sequences", 1) > 1:
            raise CallError(
                "the recipe has its own decoding loop, which serves one text at a time: no beams, no several sequences"
            )
        if kwargs.get("assistant_model") is not None or kwargs.get("prompt_lookup_num_tokens") is not None:
            raise CallError("the recipe has its own decoding loop; leave assisted decoding out")
        streamer = kwargs.get("streamer")
        stops = kwargs.pop("stop_strings", None)
        tokenizer = kwargs.pop("tokenizer", None)
        if stops:
            criteria = StoppingCriteriaList(kwargs.get("stopping_criteria") or [])
            kwargs["stopping_criteria"] = StoppingCriteriaList([*criteria, StopStringCriteria(tokenizer, stops)])

        def loop(
            model: Any,
            input_ids: Tensor,
            logits_processor: Any = None,
            stopping_criteria: Any = None,
            generation_config: Any = None,
            **model_kwargs: Any,
        ) -> Tensor:
            return run_decode(part, port, input_ids, logits_processor, stopping_criteria, generation_config, streamer)

        kwargs["custom_generate"] = loop


def _all_ones(mask: Tensor | None) -> bool:
    return mask is None or bool(mask.all())


def _with_prompt(output: Any, given: Tensor, read: int) -> Any:
    """The prompt as given in front of the new tokens, so that callers can cut it off by its length."""
    if isinstance(output, Tensor):
        return torch.cat([given.to(output.device), output[:, read:]], dim=1)
    output.sequences = torch.cat([given.to(output.sequences.device), output.sequences[:, read:]], dim=1)
    return output
