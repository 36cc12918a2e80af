"""The head: what is at each point, and how far the edges of its box are.

Shapes: B images; N points of an image, of all levels; C classes, background included.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import cast

import torch
from pipeline.families.points.locations import LEVELS, locations
from torch import Tensor, nn
from torch.nn import functional

from pipeline.dense.head import DenseHead, Outputs
from pipeline.geometry.layout import MapLayout
from pipeline.nn.backbones.trunk import Maps
from pipeline.nn.convolution import conv3x3
from pipeline.nn.points import in_one_row
from pipeline.params.reading import Params

_PRIOR = 0.01  # probability of every class at every point before training


class PointsHead(DenseHead):
    """A convolution for each level, those of the coarser ones on the halved map before, and a shared one with two
    outputs, classes and edges."""

    class_layers = MappingProxyType({"classes": 1})

    def __init__(self, trunk: MapLayout, num_classes: int, params: Params) -> None:
        super().__init__(locations(trunk, params))
        channels = params.points.channels
        widths = (trunk.channels, *[channels] * (LEVELS - 1))
        self.levels = nn.ModuleList(nn.Conv2d(width, channels, 3, padding=1) for width in widths)
        self.shared = nn.Conv2d(channels, channels, 3, padding=1)
        self.classes = nn.Conv2d(channels, num_classes - 1, 1)
        self.edges = nn.Conv2d(channels, 4, 1)
        self._round_up = trunk.levels[0].round_up

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""
        for layer in (*self.levels, self.shared):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        for layer, bias in ((self.classes, -math.log(1 / _PRIOR - 1)), (self.edges, 0.0)):
            nn.init.normal_(layer.weight, std=0.01, generator=generator)
            nn.init.constant_(cast(Tensor, layer.bias), bias)

    def forward(self, maps: Maps) -> Outputs:
        """The trunk's one map to `classes` (B, N, C - 1), logits, and `edges` (B, N, 4), the logs of the distances to
        the left, top, right and bottom edge, in cells."""
        (coarser,) = maps
        found = []
        for level, layer in enumerate(self.levels):
            if level:
                coarser = functional.max_pool2d(coarser, 2, ceil_mode=self._round_up)
            coarser = conv3x3(cast(nn.Conv2d, layer), coarser, relu=True)
            found.append(conv3x3(self.shared, coarser, relu=True))
        per_cell = self.locations.per_cell
        return {
            "classes": in_one_row([self.classes(own) for own in found], per_cell),
            "edges": in_one_row([self.edges(own) for own in found], per_cell),
        }


def build_head(trunk: MapLayout, num_classes: int, params: Params) -> PointsHead:
    """A head without weights."""
    return PointsHead(trunk, num_classes, params)


def boxes_at(points: Tensor, strides: Tensor, edges: Tensor) -> Tensor:
    """(N, 4) boxes, px, around (N, 2) points of (N,) strides, from the logs of the distances to their edges."""
    low, high = (torch.exp(edges.clamp(max=8.0)) * strides[:, None]).split(2, dim=1)
    return torch.cat([points - low, points + high], dim=1)
