"""A second model on the same weights."""

from __future__ import annotations

import copy
from itertools import chain

from transformers import PreTrainedModel


def twin(model: PreTrainedModel) -> PreTrainedModel:
    """Modules and config of its own, tensors shared: what a recipe does to one cannot be seen in the other, as long
    as it puts other tensors in place of old ones and changes none. Taken of a model without a recipe in force."""
    shared = {id(t): t for t in chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, shared)
