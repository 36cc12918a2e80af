"""What all dense heads have in common.

Shapes: B images; N locations of an image (`pipeline.geometry.points`); D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.nn.dropout import Dropout
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.geometry.points import Grid, Locations
    from pipeline.nn.backbones.trunk import Maps

Outputs = dict[str, Tensor]
"""What a head says, by name: (B, N, ...) float32 each; (N, ...) of one image."""


class DenseHead(nn.Module):
    """Maps a trunk's maps to predictions at each location. A family's head implements `initialise` and `forward`.

    Args:
        locations: where it predicts.
    """

    num_classes: int | None = None
    """C, background included, noted by `pipeline.dense.building.new_head`."""
    generator: torch.Generator | None = None
    """Source of all random draws in training. It is seeded in each iteration."""
    class_layers: Mapping[str, int] = MappingProxyType({})
    """Each layer whose output has a channel per class, by its name, to how many predictions of a cell it makes (A):
    (A * K) channels, the classes of a prediction together. A class that a detector to start from has too takes its
    weights; without an entry none does."""
    training_state: tuple[str, ...] = ()
    """Names of buffers that training alone reads, such as a running normaliser: a detector from elsewhere may lack
    them."""
    background_row = False
    """Whether K of `class_layers` is C, the background first, or C - 1."""

    def __init__(self, locations: Locations) -> None:
        super().__init__()
        self.locations = locations

    def seed(self, generator: torch.Generator) -> None:
        """Draw what the next iteration draws from `generator`: `self.generator`, and each `Dropout` in the head."""
        for module in self.modules():
            if isinstance(module, DenseHead | Dropout):
                module.generator = generator

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""
        raise NotImplementedError

    def forward(self, maps: Maps) -> Outputs:
        """The (B, D, Fh, Fw) map of each level to (B, N, ...) outputs by name."""
        raise NotImplementedError


def check_outputs(head: nn.Module, outputs: Outputs, grid: Grid) -> None:
    """Whether a head predicts where its locations say; targets and boxes would be those of other cells else.

    Raises:
        InputError: it does not.
    """
    if not isinstance(outputs, dict) or not all(isinstance(own, Tensor) for own in outputs.values()):
        raise InputError(f"{type(head).__name__}: its outputs are not tensors by name; correct the head")
    for name, own in outputs.items():
        if own.ndim < 2 or own.shape[1] != len(grid):
            raise InputError(
                f"{type(head).__name__}: its output {name!r} has shape {tuple(own.shape)}, its locations are "
                f"{len(grid)}, in maps of {', '.join(f'{high} x {wide}' for high, wide in grid.cells)}; correct the "
                "head, or its locations"
            )
