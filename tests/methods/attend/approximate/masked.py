"""What reads stand for, as a mask, and attention under it."""

import torch


def mask_of(read, tiling):
    """[Q, n] True where a query reads an entry, pair by pair."""
    mask = torch.zeros(tiling.num_queries, tiling.length, dtype=torch.bool)
    columns = [] if read.columns is None else read.columns.tolist()
    for i in range(tiling.num_queries):
        at = tiling.first + i
        own = at // tiling.query_block
        blocks = read.blocks[own - tiling.start].tolist()
        for j in range(at + 1):
            single = j in columns and j < own * tiling.query_block
            mask[i, j] = j // tiling.query_block == own or j // tiling.key_block in blocks or single
    return mask


def dense(queries, keys, values, mask, scaling):
    groups = queries.shape[1] // keys.shape[1]
    keys, values = (x.repeat_interleave(groups, 1).double() for x in (keys, values))
    logits = queries.double() @ keys.transpose(-1, -2) * scaling
    return (logits.masked_fill(~mask, float("-inf")).softmax(-1) @ values).float()


def causal(size, length):
    return torch.ones(size, length, dtype=torch.bool).tril(length - size)
