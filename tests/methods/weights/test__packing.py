"""Packed linear layers: packing is exact, and every product equals the plain one."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from paretolm.bridge.bytes import module_bytes
from paretolm.methods.weights._packing import QuantLinear, pack, packed_bytes, unpack

FLOAT32 = 2e-6  # sums of a few hundred float32 products in another order, relative to the largest
BFLOAT16 = 2**-7  # one rounding to 8 bits, and the scale's


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def layer(out: int, width: int, bits: int, group: int, bias: bool = False, seed: int = 0) -> QuantLinear:
    draw = torch.Generator().manual_seed(seed)
    top = 2 ** (bits - 1)
    codes = torch.randint(-top, top, (out, width), generator=draw, dtype=torch.int8)
    scales = torch.rand(out, width // group, generator=draw).half()
    return QuantLinear(pack(codes, bits), scales, bits, torch.nn.Parameter(torch.randn(out)) if bias else None)


def naive(module: QuantLinear) -> torch.Tensor:
    """The matrix, weight by weight."""
    codes = unpack(module.codes, module.bits)
    rows = [
        [float(codes[o, i]) * float(module.scales[o, i // module.group]) for i in range(module.in_features)]
        for o in range(module.out_features)
    ]
    return torch.tensor(rows)


@given(st.sampled_from([4, 8]), st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_unpacking_returns_what_was_packed(bits: int, out: int, half: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), (out, 2 * half), generator=draw, dtype=torch.int8)
    packed = pack(codes, bits)
    assert torch.equal(unpack(packed, bits), codes)
    assert packed.numel() * packed.element_size() == codes.numel() * bits // 8


def test_four_bits_by_hand() -> None:
    """First half low, second half high, in two's complement: -8 is 1000, -1 is 1111, 7 is 0111."""
    packed = pack(torch.tensor([[7, -1, -8, 3]], dtype=torch.int8), 4)
    assert packed.tolist() == [[0b1000_0111, 0b0011_1111]]


@pytest.mark.parametrize("shape", [(1, 64), (3, 5, 64)])
@pytest.mark.parametrize(("bits", "group"), [(8, 64), (8, 16), (4, 64), (4, 16)])
def test_the_product_equals_the_plain_one(bits: int, group: int, shape: tuple[int, ...]) -> None:
    module, x = layer(10, 64, bits, group, bias=True), torch.randn(shape)
    expected = functional.linear(x, naive(module), module.bias)
    assert torch.allclose(module(x), expected, rtol=0, atol=FLOAT32 * float(expected.abs().max()))


def test_tiles_join_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = layer(200, 32, 4, 16), torch.randn(4, 32)
    whole = module(x)
    monkeypatch.setattr("paretolm.methods.weights._packing.TILE", 1)
    assert torch.allclose(module(x), whole, rtol=0, atol=FLOAT32 * float(whole.abs().max()))


@pytest.mark.parametrize("width", [32, 48])
@pytest.mark.parametrize("rows", [1, 8, 9])
def test_torchs_int8_product_in_bfloat16(width: int, rows: int) -> None:
    """Widths it takes and widths it does not, row counts on both sides of where it is used."""
    module, x = layer(7, width, 8, width, bias=True), torch.randn(rows, width).bfloat16()
    module.bias = torch.nn.Parameter(module.bias.bfloat16())
    expected = functional.linear(x.float(), naive(module), module.bias.float())
    y = module(x)
    assert y.dtype is torch.bfloat16
    # the product, its scale and the bias are rounded, each by half a unit of the last place at most
    assert torch.allclose(y.float(), expected, rtol=0, atol=1.5 * BFLOAT16 * float(expected.abs().max()))


def test_eight_bit_columns_as_torch_rounds_them() -> None:
    weight = torch.randn(6, 32)
    scales = (weight.abs().amax(1) / 128).half()
    codes = (weight / scales[:, None].float()).round().clamp(-128, 127)
    module = QuantLinear(pack(codes, 8), scales[:, None], 8, None)
    zeros = torch.zeros(6, dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(weight, scales.float(), zeros, 0, -128, 127)
    assert torch.allclose(module.matrix(torch.float32), expected, atol=1e-7)


@pytest.mark.parametrize(("bits", "group"), [(8, 32), (4, 8)])
def test_bytes_are_as_predicted_and_the_spec_rebuilds(bits: int, group: int) -> None:
    module = layer(6, 32, bits, group)
    assert module_bytes(module) == packed_bytes(6, 32, bits, group)
    empty = QuantLinear.empty(**layer(6, 32, bits, group, bias=True).spec())
    assert {n: (t.shape, t.dtype) for n, t in empty.state_dict().items()} == {
        n: (t.shape, t.dtype) for n, t in layer(6, 32, bits, group, bias=True).state_dict().items()
    }
