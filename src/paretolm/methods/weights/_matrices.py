"""The matrices that methods on weights change, those of the layers and not the embeddings and the output head, and
what stands in their place."""

from __future__ import annotations

from torch import Tensor, nn

from paretolm.contracts import Linear, ModelView
from paretolm.errors import ConflictError


def layer_matrices(name: str, view: ModelView) -> list[Linear]:
    """Every matrix of every layer that shares no storage. Raises ConflictError where a feed-forward has none."""
    for layer in view.layers:
        if layer.mlp_path and not any(li.path.startswith(layer.mlp_path + ".") for li in view.linears):
            raise ConflictError(
                f"{name} works on nn.Linear, and {layer.mlp_path} of {view.architecture} holds its matrices "
                "in another form (stacked experts or Conv1D)"
            )
    inside = tuple(layer.path + "." for layer in view.layers)
    found = [li for li in view.linears if li.path.startswith(inside) and not li.tied]
    if not found:
        raise ConflictError(f"{name} works on nn.Linear, and the layers of {view.architecture} hold none")
    return found


def around(module: nn.Linear, weight: Tensor) -> nn.Linear:
    """A module of its own around `weight`, with the bias of `module`."""
    new = nn.Linear(module.in_features, module.out_features, bias=False, device="meta")
    new.weight = nn.Parameter(weight.to(module.weight.dtype), requires_grad=module.weight.requires_grad)
    new.bias = module.bias
    return new.train(module.training)
