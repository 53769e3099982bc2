"""A recipe's hold on one model: hooks that give each forward its Step and cache, and hand over what came out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from ..contracts import DecodePart, LayerInputs, LogitsPart, ModelView, Moment, Step, entering
from ..errors import CallError
from . import attention, modules
from .cache import HeldCache
from .feedback import settle_waiting
from .layer import HeldLayer
from .parts import LayerParts
from .reading import InForce
from .rope import frequencies
from .view import OWN_ATTENTION, decoder


class Binding:
    """Hooks on one model. `new_request` gives what makes each layer's parts for one request; `check_padding` raises
    CallError where the recipe cannot serve a left-padded batch."""

    def __init__(
        self,
        model: PreTrainedModel,
        view: ModelView,
        new_request: Callable[[], Callable[[int], LayerParts]] | None,
        check_padding: Callable[[], None],
    ) -> None:
        self.model, self.base, self.view = model, decoder(model), view
        self.new_request, self.check_padding = new_request, check_padding
        self.logits_parts: list[LogitsPart] = []
        self.decode_part: DecodePart | None = None  # of the last call of generate
        self.forwards = 0
        self.tokens_read = 0  # that went through a forward, of all rows
        self.hidden: Tensor | None = None
        self.all_logits = False  # a part wants the logits of every token, whatever the call asks for
        self.cache: HeldCache | None = None  # of the forward under way
        self.moment: Moment | None = None  # set by a stream; otherwise read off the cache
        self.tree: Tensor | None = None
        self.spans: dict[str, tuple[int, int]] = {}
        self.last_step: Step | None = None
        self.positions = modules.num_positions(self.base, model.config.get_text_config())
        self._own = False
        self._leave = ExitStack()
        self._names = list(inspect.signature(self.base.forward).parameters)
        self._force = InForce(
            inner=view.attention,
            all_held=all(layer.kind == "full" for layer in view.layers),
            inv_freq=None if view.rope is None else frequencies(model, view.rope),
            halves=view.rope.halves if view.rope is not None else True,
        )

    # --- install ---

    def install(self, stack: ExitStack) -> None:
        """Hooks and, where the recipe acts inside attention, our attention name. Undone by `stack`."""
        handles = [
            self.base.register_forward_pre_hook(self._before, with_kwargs=True),
            self.base.register_forward_hook(self._after, with_kwargs=True, always_call=True),
            self.model.register_forward_pre_hook(self._before_head, with_kwargs=True),
            self.model.register_forward_hook(self._after_head, with_kwargs=True),
        ]
        for handle in handles:
            stack.callback(handle.remove)
        stack.callback(self._leave.close)
        if self.new_request is not None:
            self.take_attention(stack)

    def take_attention(self, stack: ExitStack) -> None:
        """Our cache and attention from now on; needed too where a dense prompt is to be observed."""
        if self._own:
            return
        attention.register()
        stack.callback(modules.set_attention(self.model, OWN_ATTENTION))
        self._own = True

    @property
    def owns_cache(self) -> bool:
        return self._own

    def new_cache(self, make: Callable[[int], LayerParts] | None = None) -> HeldCache:
        """A fresh cache for one request; `make` gives other parts than the recipe's."""
        if make is None:
            make = self.new_request() if self.new_request is not None else lambda _: LayerParts()
        inv_freq = self._force.inv_freq
        layers = {index: HeldLayer(index, make(index), inv_freq) for index in sorted(self.view.full_layers)}
        return HeldCache(self.model.config.get_text_config(), layers)

    def state_tensors(self) -> list[Tensor]:
        """What parts outside the cache hold: datastores, tables, context states."""
        parts: list[Any] = [*self.logits_parts, self.decode_part]
        return [t for part in parts if hasattr(part, "tensors") for t in part.tensors()]

    # --- hooks ---

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = dict(zip(self._names, args, strict=False)) | kwargs
        if self._force.stop_at is not None:
            return None
        cache = call.get("past_key_values")
        if self._own:
            call["past_key_values"] = self.cache = cache = self._own_cache(call, cache)
        step = self._step(call, cache)
        self._leave.enter_context(entering(step))
        token = attention.enter_attention(self._force)
        self._leave.callback(attention.leave_attention, token)
        self.last_step = step
        return (), call

    def _own_cache(self, call: dict[str, Any], cache: Any) -> HeldCache:
        if call.get("use_cache") is False:
            raise CallError("this recipe acts in the cache, so a forward with use_cache=False would bypass it")
        if cache is None:
            cache = self.new_cache()
        if not isinstance(cache, HeldCache):
            raise CallError(
                f"this recipe keeps its own cache, but the call brought a {type(cache).__name__}; leave past_key_values out"
            )
        mask = call.get("attention_mask")
        if mask is not None and (not isinstance(mask, Tensor) or mask.dim() != 2):
            raise CallError("this recipe builds its own attention masks; give a 2D attention_mask or none")
        return cache

    def _step(self, call: dict[str, Any], cache: Cache | None) -> Step:
        ids, embeds = call.get("input_ids"), call.get("inputs_embeds")
        tokens = ids if ids is not None else embeds
        assert tokens is not None
        seen = cache.get_seq_length() if cache is not None else 0
        num, device = tokens.shape[1], tokens.device
        self.check_room(seen + num)
        positions = call.get("position_ids")
        if positions is None:
            positions = torch.arange(seen, seen + num, device=device)[None]
        padding = None
        mask = call.get("attention_mask")
        if self._own and mask is not None:
            if bool(mask.all()):
                call["attention_mask"] = None
            else:
                positions, padding = self._padded(mask, num)
        if self._own:
            call["position_ids"] = positions.clamp(min=0)
        return Step(ids, positions, self._moment(cache, seen, num), seen, padding, self.spans, self.tree)

    def check_room(self, tokens: int) -> None:
        """Raises CallError for a text longer than the table of a model that learnt its positions."""
        if self.positions is not None and tokens > self.positions:
            raise CallError(
                f"the text takes {tokens} tokens, and the model has positions for {self.positions}; "
                "shorten it, or ask for fewer new tokens"
            )

    def _padded(self, mask: Tensor, num: int) -> tuple[Tensor, Tensor]:
        self.check_padding()
        if bool((mask[:, 1:] < mask[:, :-1]).any()):
            raise CallError(
                "the batch is padded on the right or inside; pad on the left (tokenizer.padding_side='left')"
            )
        positions = mask.long().cumsum(-1) - 1
        return positions[:, -num:], (mask == 0).sum(-1)

    def _moment(self, cache: Cache | None, seen: int, num: int) -> Moment:
        if self.moment is not None:
            return self.moment
        length = getattr(cache, "prompt_length", None)
        if length is None:
            if isinstance(cache, HeldCache):
                cache.prompt_length = seen + num
            return Moment.PREFILL_END if seen == 0 else Moment.DECODE
        if seen + num < length:
            return Moment.PREFILL
        return Moment.PREFILL_END if seen < length else Moment.DECODE

    def _after(self, _: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._leave.pop_all().close()
        if output is not None and self._force.stop_at is None:
            self.forwards += 1
            self.hidden = hidden = output.last_hidden_state if hasattr(output, "last_hidden_state") else output[0]
            self.tokens_read += hidden.shape[0] * hidden.shape[1]

    def _before_head(self, _: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        if not self.all_logits:
            return None
        return args, {name: value for name, value in kwargs.items() if name != "logits_to_keep"}

    def _after_head(self, _: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        if self._force.stop_at is not None:
            return None
        if self.logits_parts:
            self._change_logits(kwargs, output)
        cache, self.cache = self.cache, None
        if cache is not None and self.last_step is not None:
            settle_waiting(self, cache, self.last_step, output)
        return output

    def _change_logits(self, kwargs: dict[str, Any], output: Any) -> None:
        assert self.hidden is not None
        assert self.last_step is not None
        if self.last_step.ids is None:
            raise CallError(
                "this recipe changes logits and needs the token ids; call with input_ids, not inputs_embeds"
            )
        kept = output.logits.shape[1]
        if isinstance(kwargs.get("logits_to_keep"), Tensor):
            raise CallError("this recipe changes logits and takes logits_to_keep as a number, not as a list of places")
        logits = output.logits
        for part in self.logits_parts:
            logits = part(self.last_step.ids[:, -kept:], self.hidden[:, -kept:], logits)
        output.logits = logits

    # --- runs of our own ---

    @contextmanager
    def at(self, moment: Moment, tree: Tensor | None = None) -> Iterator[None]:
        """Forwards inside are part of `moment`, whatever the cache would say."""
        before = self.moment, self.tree
        self.moment, self.tree = moment, tree
        try:
            yield
        finally:
            self.moment, self.tree = before

    @torch.inference_mode()
    def layer_inputs(self, ids: Tensor, layer: int) -> LayerInputs:
        """Runs layers 0..layer of the model on ids [1, T] and stops in the attention of `layer`."""
        self._force.stop_at, self._force.stopped = layer, []
        with ExitStack() as stack:
            attention.register()
            stack.callback(modules.set_attention(self.model, OWN_ATTENTION))
            stack.callback(setattr, self._force, "stop_at", None)
            token = attention.enter_attention(self._force)
            stack.callback(attention.leave_attention, token)
            with suppress(attention.Stop):
                self.base(input_ids=ids, use_cache=False)
        if not self._force.stopped:
            raise CallError(f"layer {layer} has no attention that can be looked into")
        return self._force.stopped.pop()


def tree_mask(parents: Sequence[int]) -> tuple[Tensor, list[int]]:
    """([Q, Q] bool ancestors or itself, depth of each node); parents[i] < i, -1 hangs on the text."""
    size = len(parents)
    mask = torch.eye(size, dtype=torch.bool)
    depth: list[int] = []
    for node, parent in enumerate(parents):
        if not -1 <= parent < node:
            raise ValueError(f"parent {parent} of draft {node} does not stand before it")
        if parent >= 0:
            mask[node] |= mask[parent]
        depth.append(0 if parent < 0 else depth[parent] + 1)
    return mask, depth
