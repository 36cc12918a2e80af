"""Checks that a family's losses can be trained on, and that their random draws can be repeated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pipeline.dense.checks import kind_of
from pipeline.runtime.errors import InputError
from pipeline.training.meter import COLUMNS


@contextmanager
def no_global_draws(source: str, device: torch.device) -> Iterator[None]:
    """Refuse draws from torch's global state within, since a resumed run would not repeat them.

    Raises:
        InputError: something was.
    """
    before = _global_state(device)
    yield
    if not torch.equal(before, _global_state(device)):
        raise InputError(
            f"{source}: the head or losses drew from torch's global state; draw from head.generator and "
            "targets.generator"
        )


def _global_state(device: torch.device) -> Tensor:
    own = torch.get_rng_state()
    return torch.cat([own, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else own


def check_losses(losses: Any, device: torch.device, source: str, has_fg: bool) -> dict[str, Tensor]:
    """A family's losses, checked.

    Args:
        device: of the outputs. has_fg: whether a location of the batch has a class.

    Raises:
        InputError: they cannot.
    """
    fault = _fault_of_losses(losses, device, has_fg)
    if fault:
        raise InputError(f"{source}: losses gave {fault}")
    return dict(losses)


def _fault_of_losses(losses: Any, device: torch.device, has_fg: bool) -> str:
    if not isinstance(losses, Mapping) or not losses:
        return f"{'nothing' if isinstance(losses, Mapping) else kind_of(losses)}; give scalars by name"
    for name, loss in losses.items():
        if not isinstance(name, str) or not name:
            return f"a loss by the name {name!r}; name it by text"
        if name in COLUMNS:
            return f"a loss by the name {name!r}, which is another column of history.csv; name it otherwise"
        if not isinstance(loss, Tensor):
            return f"{name!r} as {kind_of(loss)}; give scalars by name"
        if loss.ndim:
            return f"{name!r} of shape {tuple(loss.shape)}; give scalars by name"
        if loss.dtype != torch.float32 or loss.device != device:
            return f"{name!r} of {loss.dtype} on {loss.device}; give torch.float32 on {device}"
    without = [name for name, loss in losses.items() if not loss.requires_grad]
    if without and (has_fg or len(without) == len(losses)):
        return f"{without[0]!r} without a gradient; compute it from the outputs, without detach or no_grad"
    return ""
