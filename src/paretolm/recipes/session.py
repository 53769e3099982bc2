"""Session: a recipe in force on a model, from apply to undo."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..bridge import modules
from ..bridge.binding import Binding
from ..bridge.cache import HeldCache
from ..bridge.chat_template import whole
from ..bridge.generate import Generate
from ..bridge.lm import LM
from ..bridge.parts import LayerParts
from ..bridge.runner import PromptRunner
from ..bridge.stream import Snapshot, Stream, resume_stream, take_snapshot
from ..contracts import Artifact, DecodePart, Edit, Method, ModelRef, Need, Observe, Place, Prompt, Slot
from ..errors import CallError
from .making import PartMaker
from .plan import check_call, make_plan
from .recipe import Recipe

_IN_FORCE: weakref.WeakSet[nn.Module] = weakref.WeakSet()


@dataclass(frozen=True)
class Generation:
    """ids: the new tokens [T]. text is None without a tokenizer. prompt_length in tokens as given."""

    ids: Tensor
    text: str | None
    prompt_length: int
    forwards: int
    seconds: float


def is_in_force(model: nn.Module) -> bool:
    """Whether a recipe stands on this model right now."""
    return model in _IN_FORCE


class Session:
    """A recipe in force on one model; use it in a `with` block. Leaving it puts every object back.

    counters and notes say what each method did. Raises ConflictError before anything changes where the recipe
    cannot stand on this model, CallError where a recipe is already in force on it.
    """

    def __init__(self, lm: LM, recipe: Recipe, artifacts: Mapping[str, Artifact] | None = None) -> None:
        self.lm, self.recipe = lm, recipe
        self.tokenizer = lm.tokenizer
        self.seconds: list[Session] = []
        self._refs: dict[ModelRef, Session] = {}
        self.parked: list[nn.Module] = []  # modules displaced and kept for undo
        self._artifacts = dict(artifacts or {})
        self._stack = ExitStack()
        self._stream: Stream | None = None

    @classmethod
    def open(cls, lm: LM, recipe: Recipe, artifacts: Mapping[str, Artifact] | None = None) -> Self:
        return cls(lm, recipe, artifacts)

    # --- apply and undo ---

    def __enter__(self) -> Self:
        model = self.lm.model
        if is_in_force(model):
            raise CallError("a recipe is already in force on this model; leave its `with` block first")
        self.plan = make_plan(self.recipe, self.lm.view)
        self.plan.raise_conflicts()
        self.parts = PartMaker(self.lm, self.plan, self._artifacts, self._open_second)
        with ExitStack() as stack:
            self._stack = stack  # a part that opens a second model while it is made has it closed with the rest
            _IN_FORCE.add(model)
            stack.callback(_IN_FORCE.discard, model)
            self._apply(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
        self._stream = None

    def _apply(self, stack: ExitStack) -> None:
        model = self.lm.model
        for slot in (Slot.TOKENS, Slot.WEIGHTS, Slot.BLOCK, Slot.FREQUENCY):
            for method, edit in self.plan.edits(slot):
                for place in sorted(edit.where, key=str):
                    self._put(stack, slot, method, edit, place)
        self.binding = Binding(
            model, self.plan.view, self.parts.new_request if self.plan.takes_cache else None, self._check_padding
        )
        self.binding.install(stack)
        self.binding.logits_parts = self.parts.logits_parts()
        self.binding.all_logits = Need.LOGITS_FEEDBACK in self.plan.needs
        if "generate" in model.__dict__:
            stack.callback(model.__dict__.__setitem__, "generate", model.__dict__["generate"])
        else:
            stack.callback(model.__dict__.pop, "generate", None)
        rewrite = self._rewrite if self.plan.edits(Slot.PROMPT) else None
        model.__dict__["generate"] = Generate(self.binding, rewrite, self._open_call, self.tokenizer)

    def _put(self, stack: ExitStack, slot: Slot, method: Method, edit: Edit, place: Place) -> None:
        model, part = self.lm.model, self.parts.make(method, edit, place)
        if slot is Slot.TOKENS:
            self.tokenizer = part.tokenizer(self.tokenizer)
            stack.callback(modules.set_embeddings(model, part))
        elif slot is Slot.WEIGHTS:
            old = model.get_submodule(str(place))
            self.parked.append(old)
            stack.callback(modules.swap_module(model, str(place), part.replace(str(place), old)))
        elif slot is Slot.BLOCK:
            stack.callback(modules.wrap_forward(model, str(place), part))
        else:
            stack.callback(modules.set_frequency(model, str(place), part))

    def _check_padding(self) -> None:
        check_call(self.plan, {Need.PADDING})

    def _open_second(self, ref: ModelRef) -> Session:
        """Opened once, however many requests make the part that asks for it."""
        from .convert import load

        if ref in self._refs:
            self._refs[ref].reset()
            return self._refs[ref]
        lm = load(ref.name)
        ours, theirs = self.tokenizer, lm.tokenizer
        if ours is not None and theirs is not None and ours.get_vocab() != theirs.get_vocab():
            raise CallError(f"the second model {ref.name!r} has another tokenizer than the model it serves")
        session = Session(lm, Recipe.parse(ref.recipe))
        self._stack.enter_context(session)
        self.seconds.append(session)
        self._refs[ref] = session
        return session

    # --- use ---

    def stream(self, prompt: Tensor | None = None) -> Stream:
        """One text through the cache under this recipe; prompt [1, P]: the whole of what will be read first, for
        methods that look ahead to its end."""
        self._stream = Stream(self.binding)
        if isinstance(self._stream.cache, HeldCache):
            self._stream.cache.prompt = prompt
        return self._stream

    def take_cache(self) -> None:
        """Our cache and attention from now on, also where the recipe alone would leave the model's own."""
        self.binding.take_attention(self._stack)

    def observes(self) -> Observe:
        """What this recipe's KEEP parts must be shown of a prompt that another recipe reads."""
        parts = [self.parts.new_request()(layer) for layer in sorted(self.plan.view.full_layers)]
        queries = max((p.observe.queries for p in parts), default=0)
        return Observe(queries, any(p.observe.received for p in parts))

    def prefill(self, ids: Tensor, *, chunk: int = 512, observe: Observe | None = None) -> Snapshot:
        """Reads a prompt [1, P] for every recipe of equal prefill hash; only its last token has logits.

        Raises CallError where this recipe acts in the cache while the prompt is read."""
        if not self.plan.shares_prefill:
            raise CallError(
                f"{self.recipe} acts in the cache while the prompt is read, so its prefill serves only itself"
            )
        self.take_cache()
        cache = self.binding.new_cache(lambda _: LayerParts(observe=observe or Observe()))
        cache.prompt, stream, size = ids, Stream(self.binding, cache), ids.shape[1]
        for start in range(0, size, chunk):
            last = start + chunk >= size
            out = stream.read(ids[:, start : start + chunk], last=last, logits=False)
        return take_snapshot(stream, out)

    def resume(self, snapshot: Snapshot) -> Stream:
        """Continues after a prompt that `prefill` of a session of equal prefill hash has read."""
        self.take_cache()
        self._stream = resume_stream(self.binding, snapshot)
        return self._stream

    def generate(
        self,
        prompt: str | Tensor | Sequence[int],
        *,
        max_new_tokens: int = 64,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> Generation:
        """Continues one prompt; further arguments as in transformers' generate. Greedy unless do_sample=True."""
        ids = self.encode(prompt)
        kwargs.setdefault("do_sample", False)
        if stop:
            kwargs["stop_strings"] = list(stop)
        before, start = self.binding.forwards, time.perf_counter()
        with torch.random.fork_rng(enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            output = self.lm.model.generate(ids, max_new_tokens=max_new_tokens, **kwargs)
        seconds = time.perf_counter() - start
        sequence = output if isinstance(output, Tensor) else output.sequences
        new = sequence[0, ids.shape[1] :].cpu()
        text = None if self.tokenizer is None else self.tokenizer.decode(new, skip_special_tokens=True)
        return Generation(new, text, ids.shape[1], self.binding.forwards - before, seconds)

    def encode(self, prompt: str | Tensor | Sequence[int]) -> Tensor:
        """Token ids [1, T] on the model's device. Raises CallError for text without a tokenizer, text that is not
        whole, and ids that the model does not embed."""
        if isinstance(prompt, str):
            if self.tokenizer is None:
                raise CallError("this model came without a tokenizer; give token ids instead of text")
            prompt = self.tokenizer(whole(prompt, "the prompt"), return_tensors="pt").input_ids
        ids = prompt if isinstance(prompt, Tensor) else torch.tensor(prompt, dtype=torch.long)
        ids = ids.reshape(1, -1) if ids.dim() == 1 else ids
        if ids.shape[-1] == 0:
            raise CallError("the prompt is empty; give at least one token")
        rows = self.lm.model.get_input_embeddings().weight.shape[0]
        if not 0 <= int(ids.min()) <= int(ids.max()) < rows:
            odd = next(i for i in ids.flatten().tolist() if not 0 <= i < rows)
            raise CallError(f"the prompt holds the token id {odd}, and the model embeds ids from 0 to {rows - 1}")
        return ids.to(self.lm.model.device)

    def reset(self) -> None:
        """Forgets what methods carried from request to request; counters and notes stay."""
        self.parts.forget()
        self.binding.logits_parts = self.parts.logits_parts()

    def rewrite(self, ids: Tensor) -> Prompt:
        """The prompt [1, T] as PROMPT methods hand it on."""
        prompt = Prompt(ids, torch.arange(ids.shape[1], device=ids.device))
        for method, edit in self.plan.edits(Slot.PROMPT):
            part = self.parts.make(method, edit, "model", {})
            prompt = part.rewrite(prompt, PromptRunner(self.binding))
        return prompt

    def _rewrite(self, ids: Tensor) -> Tensor:
        return self.rewrite(ids).ids

    def _open_call(self) -> tuple[HeldCache | None, DecodePart | None, Stream | None]:
        """Cache, decoding part and its port for one call of generate."""
        edits = self.plan.edits(Slot.DECODE)
        if not self.binding.owns_cache and not edits:
            return None, None, None
        self._stream = Stream(self.binding)
        cache = self._stream.cache if isinstance(self._stream.cache, HeldCache) else None
        if not edits:
            return cache, None, None
        method, edit = edits[0]
        part = self.parts.make(method, edit, "model", {})
        self.binding.decode_part = part
        return cache, part, self._stream

    # --- what happened ---

    @property
    def last_stream(self) -> Stream | None:
        """The stream of the last request, for what it holds."""
        return self._stream

    @property
    def forwards(self) -> int:
        return self.binding.forwards

    @property
    def tokens_read(self) -> int:
        """Tokens that went through a forward, those of second models included."""
        return self.binding.tokens_read + sum(second.tokens_read for second in self.seconds)

    @property
    def counters(self) -> dict[str, dict[str, int]]:
        """What each method did, every method named; all zero means it did not act."""
        return self.parts.ledger.counts(self.parts.names)

    @property
    def notes(self) -> dict[str, dict[str, Any]]:
        return {name: dict(facts) for name, facts in self.parts.ledger.notes.items()}

    @property
    def idle(self) -> list[str]:
        """Methods that did not act so far."""
        return [name for name, counts in self.counters.items() if not any(counts.values())]

    @property
    def parked_bytes(self) -> int:
        """Bytes of displaced weights kept so that they can be put back; an irreversible load keeps none."""
        from ..bridge.bytes import held_bytes

        return held_bytes([p for module in self.parked for p in module.parameters()])
