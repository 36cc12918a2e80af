"""The region proposal network's head (Faster R-CNN, section 3.1).

Shapes: B images; Fh, Fw feature map height, width; D channels; A anchors per location.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nn.cells import conv3x3_at
from pipeline.nn.convolution import conv3x3

Levels = tuple[Tensor, ...]


class RPNHead(nn.Module):
    """3x3 convolutions, then 1x1 to 2A class scores and 4A deltas; all N(0, 0.01), biases 0. The same on every level.

    Args:
        in_channels: D of the trunk.
        channels: width of the 3x3 convolutions, 512 in the paper.
        per_location: A.
        depth: how many 3x3 convolutions there are; one in the paper. Those after `conv` are `more`.
    """

    def __init__(self, in_channels: int, channels: int, per_location: int, depth: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.more = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth - 1))
        self.cls_score = nn.Conv2d(channels, 2 * per_location, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * per_location, 1)

    @property
    def per_location(self) -> int:
        """A, the anchors per location."""
        return self.bbox_pred.out_channels // 4

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The 3x3 convolutions, in their order."""
        return [self.conv, *cast(list[nn.Conv2d], list(self.more))]

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""
        for layer in (*self.convolutions, self.cls_score, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01, generator=generator)
            nn.init.constant_(cast(Tensor, layer.bias), 0.0)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Levels, Levels]:
        """(B, D, Fh, Fw) maps to objectness (B, Fh, Fw, A), the fg minus the bg logit, and deltas (B, Fh, Fw, A, 4), of
        each level."""
        objectness, deltas = zip(*map(self._of_level, maps), strict=True)
        return objectness, deltas

    def at(self, maps: Sequence[Tensor], places: Tensor) -> tuple[Tensor, Tensor]:
        """Objectness (S,) and deltas (S, 4) of some anchors alone, with a gradient; on a CPU, where that is much less.

        Args:
            places: (S,) int64 where each anchor lies in the joined outputs of all levels, see `DrawnAnchors`.
        """
        cells, row = torch.unique(places // self.per_location, return_inverse=True)
        hidden, anchor = conv3x3_at(self.convolutions, maps, cells), places % self.per_location
        scores, deltas = (
            functional.linear(hidden, layer.weight.flatten(1), layer.bias).float()
            for layer in (self.cls_score, self.bbox_pred)
        )
        background, foreground = scores.chunk(2, dim=1)
        index = row * self.per_location + anchor
        return (foreground - background).flatten()[index], deltas.reshape(-1, 4)[index]

    def _of_level(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        hidden = maps
        for convolution in self.convolutions:
            hidden = conv3x3(convolution, hidden, relu=True)
        background, foreground = self.cls_score(hidden).float().permute(0, 2, 3, 1).chunk(2, dim=3)
        deltas = self.bbox_pred(hidden).float().permute(0, 2, 3, 1)
        return foreground - background, deltas.unflatten(3, (-1, 4))
