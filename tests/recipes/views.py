"""Hand-made model views."""

from paretolm.contracts import LayerView, Linear, ModelView, Rope

PARTS = ("self_attn.q_proj", "mlp.up_proj")


def layer(index, kind="full", window=None):
    path = f"model.layers.{index}"
    return LayerView(index, path, kind, f"{path}.self_attn", f"{path}.mlp", 4, 2, 16, 16, window)


def view(kinds=("full",) * 4, tied=True, **changes):
    """Four full-attention layers, bf16, an output embedding tied to the input embedding."""
    windows = {"sliding": 32}
    layers = tuple(layer(i, kind, windows.get(kind)) for i, kind in enumerate(kinds))
    linears = [Linear(f"{x.path}.{part}", 64, 64, False, 8192) for x in layers for part in PARTS]
    partner = frozenset({"model.embed_tokens"}) if tied else frozenset()
    linears.append(Linear("lm_head", 97, 64, False, 12416, partner))
    found = ModelView(
        architecture="TinyForCausalLM",
        layers=layers,
        hidden_size=64,
        vocab_size=97,
        trained_length=128,
        dtype_bytes=2,
        weight_bytes=100_000,
        linears=tuple(linears),
        rope=Rope(16, True, 10000.0, "model.rotary_emb"),
        has_tokenizer=True,
        attention="sdpa",
        head_path="lm_head",
    )
    return found.changed(**changes)
