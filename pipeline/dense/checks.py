"""Checks that a family's head can be trained reproducibly."""

from __future__ import annotations

from typing import Any

from torch import nn

from pipeline.dense.head import DenseHead
from pipeline.runtime.errors import InputError

_DROPOUT = nn.modules.dropout._DropoutNd


def check_head(head: Any, source: str) -> None:
    """Whether a family's head can be trained so that the same run gives the same weights.

    Raises:
        InputError: it is not a `DenseHead`, does not say how its weights are drawn or what it computes, or has a
            dropout that draws from torch's global state.
    """
    if not isinstance(head, DenseHead):
        raise InputError(f"{source}: build_head gave {kind_of(head)}; give a pipeline.dense.head.DenseHead")
    for method in ("initialise", "forward"):
        if getattr(type(head), method) is getattr(DenseHead, method):
            raise InputError(f"{source}: {type(head).__name__} has no method {method}; see docs/families.md")
    for name, module in head.named_modules():
        if isinstance(module, _DROPOUT) and module.p > 0:
            raise InputError(
                f"{source}: {name} of {type(head).__name__} is a torch.nn.{type(module).__name__}, which draws from "
                "torch's global state; use pipeline.nn.dropout.Dropout"
            )


def kind_of(value: object) -> str:
    """Description of a value, for messages."""
    return "None" if value is None else f"a {type(value).__name__}"
