"""ModelView of a transformers model, read from config and module names; works on the meta device."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import (
    DummyLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionCacheLayerMixin,
)

from ..contracts import LayerView, Linear, ModelView, Need, Slot
from ..contracts.view import LayerKind
from .rope import find_rope

OWN_ATTENTION = "paretolm"
ATTENTION_IN_FORCE = ("eager", "sdpa")  # the implementations whose masks we can build


def decoder(model: PreTrainedModel) -> PreTrainedModel:
    """The module below the head: embeddings, layers, last norm."""
    return model.get_decoder() if hasattr(model, "get_decoder") else model.base_model


def model_view(model: PreTrainedModel, has_tokenizer: bool = True) -> ModelView:
    """What methods may know of the model. Shapes come from the text config."""
    config = model.config.get_text_config()
    base = decoder(model)
    kinds = _kinds(config)
    rope = find_rope(base)
    prefix = _path_of(model, base)
    layers = tuple(_layers(base, config, kinds, prefix))
    if rope is not None and prefix:
        rope = type(rope)(rope.rotated, rope.halves, rope.base, f"{prefix}.{rope.path}")
    attention = config._attn_implementation or "eager"
    refusals = _refusals(model, config, kinds, rope is not None, attention)
    return ModelView(
        architecture=type(model).__name__,
        layers=layers,
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        trained_length=int(getattr(config, "max_position_embeddings", 0) or 2048),
        dtype_bytes=model.dtype.itemsize,
        weight_bytes=_weight_bytes(model),
        linears=tuple(_linears(model)),
        rope=rope,
        has_tokenizer=has_tokenizer,
        attention=attention,
        head_path=_path_of(model, model.get_output_embeddings()),
        refusals=refusals,
        breaks=_softmax(model, config) | _breaks(kinds, refusals.get(Slot.KEEP.value)),
    )


def _kinds(config: Any) -> list[LayerKind]:
    """One a layer, as transformers itself would cache it."""
    cached = DynamicCache(config=config).layers
    kinds: list[LayerKind] = []
    for layer in cached:
        if isinstance(layer, DummyLayer):
            kinds.append("shared")
        elif isinstance(layer, LinearAttentionCacheLayerMixin):
            kinds.append("linear")
        elif isinstance(layer, DynamicSlidingWindowLayer):
            kinds.append("sliding")
        elif type(layer) is DynamicLayer:
            kinds.append("full")
        else:
            kinds.append("other")
    missing = config.num_hidden_layers - len(kinds)  # older sharing: the last layers have no cache of their own
    return kinds + ["shared"] * missing


def _layers(base: nn.Module, config: Any, kinds: list[LayerKind], prefix: str) -> list[LayerView]:
    stack_path, stack = _stack(base, config.num_hidden_layers)
    num_heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // num_heads
    views = []
    for i, kind in enumerate(kinds):
        path = ".".join(p for p in (prefix, stack_path, str(i)) if p)
        children = dict(stack[i].named_children())
        attention = next((n for n, m in children.items() if "Attention" in type(m).__name__), None)
        groups = getattr(children[attention], "num_key_value_groups", 1) if attention else 1
        mlp = next((n for n, m in children.items() if n in ("mlp", "feed_forward", "block_sparse_moe")), None)
        views.append(
            LayerView(
                index=i,
                path=path,
                kind=kind,
                attention_path=attention and f"{path}.{attention}",
                mlp_path=mlp and f"{path}.{mlp}",
                num_heads=num_heads,
                num_kv_heads=num_heads // groups,
                key_dim=width,
                value_dim=width,
                window=getattr(config, "sliding_window", None) if kind == "sliding" else None,
            )
        )
    return views


def _stack(base: nn.Module, depth: int) -> tuple[str, nn.ModuleList]:
    for path, module in base.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return path, module
    raise LookupError(f"no list of {depth} layers in {type(base).__name__}")


def _path_of(model: nn.Module, target: nn.Module | None) -> str:
    return next((path for path, module in model.named_modules() if module is target), "")


def _linears(model: nn.Module) -> list[Linear]:
    owners: dict[int, set[str]] = defaultdict(set)
    for path, module in model.named_modules():
        weight = module._parameters.get("weight")
        if weight is not None:
            owners[id(weight)].add(path)
    found = []
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear):
            size = sum(p.numel() * p.element_size() for p in module.parameters(recurse=False))
            tied = frozenset(owners[id(module.weight)] - {path})
            found.append(Linear(path, module.out_features, module.in_features, module.bias is not None, size, tied))
    return found


def _weight_bytes(model: nn.Module) -> int:
    unique = {id(t): t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()]}
    return sum(unique.values())


def _refusals(
    model: PreTrainedModel, config: Any, kinds: list[LayerKind], has_rope: bool, attention: str
) -> dict[str, str]:
    refusals = {}
    reason = _cache_refusal(model, config, kinds, attention)
    if reason:
        refusals = {slot.value: reason for slot in Slot if slot.in_cache}
    if not has_rope:
        why = "its positions are not rotary embeddings of a known layout"
        refusals.setdefault(Slot.INDEX.value, why)
        refusals.setdefault(Slot.FREQUENCY.value, why)
    elif _recomputes(config):
        refusals[Slot.FREQUENCY.value] = (
            "its rotary frequencies are computed anew as the text grows (dynamic or longrope)"
        )
    return refusals


def _recomputes(config: Any) -> bool:
    """Rotary types whose module replaces its frequencies during a forward, so that ours would not last."""
    parameters = getattr(config, "rope_parameters", None) or {}
    nested = [p for p in parameters.values() if isinstance(p, dict)]
    return any(p.get("rope_type") in ("dynamic", "longrope") for p in (parameters, *nested))


def _cache_refusal(model: PreTrainedModel, config: Any, kinds: list[LayerKind], attention: str) -> str | None:
    if getattr(config, "kv_lora_rank", None):
        return "it caches one latent per token (multi-head latent attention), not keys and values per head"
    if "shared" in kinds:
        return "some of its layers read the cache of other layers"
    if "full" not in kinds:
        return f"none of its layers has full attention (they are {', '.join(sorted(set(kinds)))})"
    if not getattr(model, "_supports_attention_backend", False):
        return "its attention does not go through the attention interface of transformers"
    if attention not in (*ATTENTION_IN_FORCE, OWN_ATTENTION):
        return (
            f"its attention runs as {attention!r}, which takes no mask of ours; load it with attn_implementation='sdpa'"
        )
    return None


def _softmax(model: PreTrainedModel, config: Any) -> dict[Need, str]:
    """What a model gives up whose attention is more than a softmax."""
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    if not capped and not any(name.endswith(".sinks") for name, _ in model.named_parameters()):
        return {}
    what = "caps its attention scores" if capped else "has learnt sinks in its attention"
    return {Need.PLAIN_ATTENTION: f"the model {what}"}


def _breaks(kinds: list[LayerKind], no_cache: str | None) -> dict[Need, str]:
    """no_cache: why our cache cannot stand in this model, so that nothing which drives it can either."""
    if no_cache:
        driven = (Need.ROLLBACK, Need.TREE, Need.FORK, Need.QUERIES, Need.FULL_SCORES)
        return dict.fromkeys(driven, f"our cache has no place in this model, as {no_cache}")
    special = sorted({k for k in kinds if k != "full"})
    if not special:
        return {}
    why = f"the model has {' and '.join(special)} layers, whose cache cannot be rolled back"
    return {Need.ROLLBACK: why, Need.TREE: why}
