"""A module and its optimiser as named tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.artifacts.weights import restore


def pack(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights, buffers and the optimiser's momenta, `module.NAME` and `optimiser.INDEX.NAME`; the tensors
    themselves, which the next step changes."""
    tensors = {f"module.{name}": value.detach() for name, value in module.state_dict().items()}
    for index, slots in optimiser.state_dict()["state"].items():
        for name, value in slots.items():
            if value is not None:
                tensors[f"optimiser.{index}.{name}"] = value.detach()
    return tensors


def unpack(tensors: Mapping[str, Tensor], module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Load what `pack` returned into a module and an optimiser built in the same way.

    Raises:
        InputError: the module has other weights.
    """
    own = {name.removeprefix("module."): value for name, value in tensors.items() if name.startswith("module.")}
    restore(module, own, "the training state")
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    for key, value in tensors.items():
        part, _, rest = key.partition(".")
        if part == "optimiser":
            index, _, name = rest.partition(".")
            weight = weights[int(index)]
            # Fused steps walk weights and momenta side by side, so that they must lie alike in memory.
            optimiser.state[weight][name] = torch.empty_like(weight, requires_grad=False).copy_(value)
