"""Unique storages, counted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paretolm.bridge.bytes import _union, forward_bytes, held_bytes, module_bytes
from tests.contract.tiny import tiny


def test_a_view_counts_with_all_it_keeps_alive():
    assert held_bytes([torch.zeros(1024)[:3]]) == 4096


def test_a_shared_storage_counts_once():
    buffer = torch.zeros(2, 8, dtype=torch.bfloat16)
    assert held_bytes([buffer, buffer[0], buffer.T, buffer.view(torch.int8)]) == 32


def test_overlapping_storages_count_once():
    raw = bytearray(64)
    first = torch.frombuffer(raw, dtype=torch.uint8, count=48)
    second = torch.frombuffer(raw, dtype=torch.uint8, count=32, offset=32)
    assert held_bytes([first, second]) == 64


def test_an_expanded_tensor_holds_one_row():
    assert held_bytes([torch.zeros(1, 16).expand(1000, 16)]) == 64


def test_temporaries_are_not_mistaken_for_each_other():
    assert held_bytes(torch.zeros(100) for _ in range(5)) == 2000


def test_meta_tensors_count_what_they_would_hold():
    meta = torch.zeros(10, device="meta")
    assert held_bytes([meta, meta[:2], torch.zeros(10, device="meta")]) == 80


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_tensors_count_indices_and_values():
    assert held_bytes([torch.eye(4).to_sparse()]) == 2 * 4 * 8 + 4 * 4
    starts, places, values = torch.arange(5), torch.arange(4), torch.ones(4)
    for layout in (torch.sparse_csr, torch.sparse_csc):
        compressed = torch.sparse_compressed_tensor(starts, places, values, size=(4, 4), layout=layout)
        assert held_bytes([compressed]) == (5 + 4) * 8 + 4 * 4


def test_a_module_counts_tied_weights_once_and_unsaved_buffers():
    module = nn.Module()
    module.first, module.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    module.second.weight = module.first.weight
    module.register_buffer("angles", torch.zeros(3), persistent=False)
    assert module_bytes(module) == 64 + 12


def test_nothing_holds_nothing():
    assert held_bytes([]) == held_bytes([torch.empty(0)]) == 0


@given(st.sets(st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(lambda s: s[0] < s[1])))
def test_the_union_is_the_set_of_bytes(spans):
    assert _union(spans) == len({byte for start, end in spans for byte in range(start, end)})


def test_a_forward_reads_all_but_the_embedding_and_idle_experts():
    dense = tiny("llama").model
    table = dense.get_input_embeddings().weight
    assert forward_bytes(dense) == module_bytes(dense) - table.nbytes
    sparse = tiny("mixtral").model
    experts = sum(p.nbytes for name, p in sparse.named_parameters() if ".experts." in name)
    assert experts > 0
    idle = experts / 2  # two of four experts a token
    assert forward_bytes(sparse) == module_bytes(sparse) - sparse.get_input_embeddings().weight.nbytes - idle


def test_a_tied_embedding_is_read_as_the_head():
    model = tiny("llama").model
    model.lm_head.weight = model.model.embed_tokens.weight
    assert forward_bytes(model) == module_bytes(model)
