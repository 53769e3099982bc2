"""Rounding and packing, against hand calculation, torch's own quantizer and a loop."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.methods.store._packing import dequantize, half_dtype, pack, packed_width, quantize, unpack

BITS = (8, 4, 2)


def test_four_codes_of_two_bits_in_a_byte_by_hand():
    packed = pack(torch.tensor([0, 1, 2, 3, 1], dtype=torch.uint8), 2)  # channels 0, 2, 4 and then 1, 3
    assert packed.tolist() == [0b00_01_10_00, 0b11_01]


def test_a_ramp_needs_no_rounding():
    codes, scale, zero = quantize(torch.tensor([-1.0, 0.5, 2.0, 3.5]), 2, 0, torch.float16)
    assert (codes.tolist(), scale.item(), zero.item()) == ([0, 1, 2, 3], 1.5, -1.0)


@given(st.data())
def test_unpack_undoes_pack(data):
    bits = data.draw(st.sampled_from(BITS))
    width = data.draw(st.integers(1, 17))
    rows = data.draw(st.integers(0, 3))
    codes = torch.randint(2**bits, (2, rows, width), dtype=torch.uint8)
    packed = pack(codes, bits)
    assert packed.shape[-1] == packed_width(width, bits)
    assert packed.untyped_storage().nbytes() == packed.numel()
    assert torch.equal(unpack(packed, bits, width), codes)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_error_is_at_most_half_a_step(bits, dtype):
    x = (torch.randn(3, 32, 7) * torch.tensor([0.01, 1, 100]).view(3, 1, 1)).to(dtype)
    codes, scale, zero = quantize(x, bits, 1, half_dtype(dtype))
    back = dequantize(codes, scale, zero, torch.float32)
    rounding = torch.finfo(scale.dtype).eps * (zero.float().abs() + scale.float() * (2**bits - 1))
    assert ((back - x.float()).abs() <= scale.float() / 2 + rounding).all()


@pytest.mark.parametrize("bits", BITS)
def test_equal_to_the_quantizer_of_torch(bits):
    top = 2**bits - 1
    x = torch.rand(5, 40) * top  # scale 1 and a whole zero, which torch's integer zero point can say
    x[:, 0], x[:, 1] = 0, top
    shift = torch.arange(5.0)
    codes, scale, zero = quantize(x - shift[:, None], bits, 1, torch.float16)
    theirs = torch.fake_quantize_per_channel_affine(x - shift[:, None], torch.ones(5), shift, 0, 0, top)
    assert torch.equal(dequantize(codes, scale, zero, torch.float32), theirs)


def test_a_constant_needs_no_codes():
    codes, scale, zero = quantize(torch.full((4,), 0.5), 2, 0, torch.float16)
    assert torch.equal(dequantize(codes, scale, zero, torch.float32), torch.full((4,), 0.5))


def test_what_float16_cannot_say_stays_finite():
    x = torch.tensor([-1e6, 0.0, 1e6])
    assert dequantize(*quantize(x, 2, 0, torch.float16), torch.float32).isfinite().all()
