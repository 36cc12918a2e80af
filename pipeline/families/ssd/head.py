"""The head: the class at each default box, and the deltas of its box. Layers are named as torchvision's SSDHead
names them.

Shapes: B images; N default boxes of an image, of all levels, A of a cell; C classes, background included.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from pipeline.dense.head import DenseHead, Outputs
from pipeline.families.ssd.default_boxes import box_shares, locations
from pipeline.families.ssd.params import SSDParams
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.points import Grid
from pipeline.nn.backbones.trunk import Maps
from pipeline.nn.convolution import conv3x3
from pipeline.nn.points import centres_and_strides, in_one_row
from pipeline.params.reading import Params


class _Layers(nn.Module):
    """One 3x3 convolution per level, with `values` outputs for each default box."""

    def __init__(self, depths: list[int], per_cell: tuple[int, ...], values: int) -> None:
        super().__init__()
        self.module_list = nn.ModuleList(
            nn.Conv2d(depth, each * values, 3, padding=1) for depth, each in zip(depths, per_cell, strict=True)
        )

    def forward(self, maps: Maps) -> list[Tensor]:
        """The (B, A * values, Fh, Fw) outputs of each level."""
        return [conv3x3(cast(nn.Conv2d, layer), own) for layer, own in zip(self.module_list, maps, strict=True)]


class SSDHead(DenseHead):
    """Two convolutions per level, one for classes and one for boxes."""

    background_row = True

    def __init__(self, trunk: MapLayout, num_classes: int, params: Params) -> None:
        super().__init__(locations(trunk, params))
        depths, per_cell = [level.channels for level in trunk.levels], self.locations.per_cell
        self.classification_head = _Layers(depths, per_cell, num_classes)
        self.regression_head = _Layers(depths, per_cell, 4)
        self.class_layers = {f"classification_head.module_list.{level}": each for level, each in enumerate(per_cell)}

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights as the references do: Xavier's uniform, biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(cast(Tensor, module.bias))

    def forward(self, maps: Maps) -> Outputs:
        """The map of each level to `classes` (B, N, C), logits, and `deltas` (B, N, 4), divided by the variances."""
        per_cell = self.locations.per_cell
        return {
            "classes": in_one_row(self.classification_head(maps), per_cell),
            "deltas": in_one_row(self.regression_head(maps), per_cell),
        }


def build_head(trunk: MapLayout, num_classes: int, params: Params) -> SSDHead:
    """A head without weights."""
    return SSDHead(trunk, num_classes, params)


def default_boxes(grid: Grid, size: tuple[Any, Any], params: SSDParams, device: torch.device | None = None) -> Tensor:
    """The (N, 4) float32 default boxes of an image of (H, W) `size`, px: `default_boxes.default_boxes` for the network.

    The numbers of cells and the size may be symbols of a trace.
    """
    centres, _ = centres_and_strides(grid, device)
    tiled = []
    for own, (high, wide) in zip(box_shares(params), grid.cells, strict=True):
        shares = torch.tensor(own, dtype=torch.float32, device=device)
        tiled.append(shares.expand(high * wide, -1, -1).reshape(-1, 2))
    height, width = size
    sides = torch.stack([torch.scalar_tensor(side, dtype=torch.float32, device=device) for side in (width, height)])
    half = torch.cat(tiled) * (sides / 2)
    return torch.cat([centres - half, centres + half], dim=1)
