"""What the bridge leans on in transformers; an upgrade fails here first."""

from __future__ import annotations

import inspect

import pytest
import torch
import transformers
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, GenerationMixin
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer, QuantizedLayer
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tests.contract.tiny import text, tiny


def kv(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(1, 2, length, 8), torch.randn(1, 2, length, 8)


def test_a_trimmed_dynamic_layer_reports_what_it_holds_not_what_it_saw() -> None:
    layer = DynamicLayer()
    layer.update(*kv(10))
    layer.keys, layer.values = layer.keys[:, :, -4:], layer.values[:, :, -4:]
    assert layer.get_seq_length() == 4  # so positions would restart at 4: our layer reports 10


def test_a_layer_says_seen_and_mask_sizes_apart() -> None:
    assert {"get_seq_length", "get_mask_sizes", "get_max_length", "update"} <= CacheLayerMixin.__abstractmethods__


def test_quantized_layer_claims_to_be_croppable_and_is_not() -> None:
    assert QuantizedLayer.is_croppable  # inherited; it is why our layers answer for themselves
    assert not CacheLayerMixin.is_croppable


def test_crop_takes_a_negative_count_only() -> None:
    layer = DynamicLayer()
    layer.update(*kv(5))
    with pytest.raises(ValueError, match="positive"):
        layer.crop(2)
    layer.crop(-2)
    assert layer.get_seq_length() == 3


def test_an_attention_name_without_a_mask_gets_none() -> None:
    lm = tiny("llama")
    seen = []

    def attention(module, query, key, value, mask, **kwargs):
        seen.append(mask)
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, mask, **kwargs)

    AttentionInterface.register("pin_no_mask", attention)
    try:
        lm.model.config._attn_implementation_internal = "pin_no_mask"
        lm.model(text(6), attention_mask=torch.tensor([[0, 0, 1, 1, 1, 1]]))
    finally:
        del AttentionInterface._global_mapping["pin_no_mask"]
    assert seen == [None, None]  # padding is lost without a word: we register a mask beside the function


def test_item_assignment_on_a_registry_is_local_and_register_is_global() -> None:
    assert "paretolm_pin" not in ALL_MASK_ATTENTION_FUNCTIONS
    other = AttentionMaskInterface()
    other["paretolm_pin"] = lambda **_: None
    assert "paretolm_pin" not in ALL_MASK_ATTENTION_FUNCTIONS.valid_keys()


def test_keys_and_values_travel_untouched_from_the_cache_to_attention() -> None:
    """Our handles rely on it: nothing of tensors is asked of what `update` returned."""
    for name in ("llama", "qwen3", "phi3", "gpt_neox", "gemma3", "mixtral", "gpt2"):
        lm = tiny(name)
        handles: list[object] = []

        class Passing(DynamicLayer):
            def update(self, key_states, value_states, *args, **kwargs):
                keys, values = super().update(key_states, value_states)
                handles.append((keys, values))  # noqa: B023
                return ("key", keys), ("value", values)  # type: ignore[return-value]

        def attention(module, query, key, value, mask, **kwargs):
            if isinstance(key, tuple):
                (_, key), (_, value) = key, value
            return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, mask, **kwargs)

        cache = DynamicCache(config=lm.model.config)
        cache.layers = [Passing() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        AttentionInterface.register("pin_pass", attention)
        AttentionMaskInterface.register("pin_pass", ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
        try:
            expected = lm.model(text(12)).logits
            lm.model.config._attn_implementation_internal = "pin_pass"
            got = lm.model(text(12), past_key_values=cache).logits
        finally:
            del AttentionInterface._global_mapping["pin_pass"]
            del AttentionMaskInterface._global_mapping["pin_pass"]
        assert handles, name
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_modules_read_the_attention_name_from_their_config_at_each_forward() -> None:
    lm = tiny("llama")
    config = lm.model.config
    assert config._attn_implementation == "sdpa"
    config._attn_implementation_internal = "eager"
    assert config._attn_implementation == "eager"
    lm.model(text(4))


def test_a_dynamic_cache_knows_the_kind_of_every_layer_from_the_config() -> None:
    kinds = [type(layer) for layer in DynamicCache(config=tiny("gemma3").model.config).layers]
    assert kinds == [DynamicSlidingWindowLayer, DynamicLayer, DynamicLayer]


def test_a_bare_forward_makes_a_dynamic_cache_of_its_own() -> None:
    assert isinstance(tiny("llama").model(text(4)).past_key_values, DynamicCache)


def test_a_sliding_layer_keeps_a_view_of_a_larger_storage() -> None:
    layer = DynamicSlidingWindowLayer(sliding_window=4)
    layer.update(*kv(64))
    assert layer.keys.untyped_storage().nbytes() > layer.keys.nbytes * 10  # bytes are counted by storage


def test_a_callable_custom_generate_gets_neither_streamer_nor_tokenizer() -> None:
    lm = tiny("llama")
    given: dict[str, object] = {}

    def loop(model, input_ids, logits_processor, stopping_criteria, generation_config, **kwargs):
        given.update(kwargs)
        return input_ids

    class Quiet:
        def put(self, value): ...
        def end(self): ...

    lm.model.generate(text(4), max_new_tokens=1, custom_generate=loop, streamer=Quiet(), tokenizer=object())
    assert "streamer" not in given
    assert "tokenizer" not in given
    assert {"attention_mask", "past_key_values", "use_cache"} <= set(given)


def test_generate_accepts_a_cache_and_custom_generate() -> None:
    names = inspect.signature(GenerationMixin.generate).parameters
    assert {"inputs", "streamer", "custom_generate", "stopping_criteria", "logits_processor"} <= set(names)


def test_eager_attention_stands_in_each_model_file() -> None:
    for name in ("llama", "gemma3", "gpt_neox", "gpt2"):
        module = inspect.getmodule(type(tiny(name).model))
        assert callable(module.eager_attention_forward)  # type: ignore[union-attr]


def test_output_hidden_states_is_not_how_we_capture() -> None:
    """The base model's output carries last_hidden_state, which our own hook reads."""
    lm = tiny("llama")
    out = lm.model.get_decoder()(text(4))
    assert out.last_hidden_state.shape == (1, 4, 64)


def test_forward_hooks_can_be_called_although_the_forward_raised() -> None:
    module, called = torch.nn.Linear(2, 2), []
    module.register_forward_hook(lambda *a, **k: called.append(a), with_kwargs=True, always_call=True)
    with pytest.raises(RuntimeError):
        module(torch.zeros(3))
    assert called


def test_version_floor() -> None:
    major, minor = (int(x) for x in transformers.__version__.split(".")[:2])
    assert (major, minor) >= (5, 23)
