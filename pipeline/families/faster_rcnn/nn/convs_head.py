"""The RoI head of torchvision's fasterrcnn_resnet50_fpn_v2: four convolutions on each pooled RoI, then one layer, fc6.

Shapes: R RoIs of the batch; D channels of the maps; S cells of a pooled side; E features of a RoI.
"""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import Pooling
from pipeline.nn.backbones.frozen_norm import FrozenBatchNorm, conv_norm
from pipeline.nn.dropout import Dropout
from pipeline.nn.linear import KeptLinear

_DEPTH, _CHANNELS = 4, 256


class ConvsHead(RoIHead):
    """Rectified 3x3 convolutions with frozen batch norm, `convs` (torchvision's `box_head.0` to `box_head.3`), and a
    rectified linear layer, `fc6` (its `box_head.5`).

    Args:
        hidden: E, width of fc6. dropout: probability after it. epsilon: of the norms.
    """

    def __init__(
        self,
        layout: MapLayout,
        num_classes: int,
        pooling: Pooling,
        *,
        hidden: int,
        dropout: float,
        epsilon: float,
        class_agnostic: bool = False,
    ) -> None:
        super().__init__(layout, num_classes, pooling, class_agnostic=class_agnostic)
        depths = [layout.channels, *[_CHANNELS] * _DEPTH]
        self.convs = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), FrozenBatchNorm(after, epsilon))
                for before, after in itertools.pairwise(depths)
            )
        )
        self.fc6 = KeptLinear(_CHANNELS * pooling.size**2, hidden)
        self.drop6 = Dropout(dropout)
        self.add_outputs(hidden)

    def features(self, pooled: Tensor) -> Tensor:
        """(R, D, S, S) pooled RoIs to (R, E)."""
        for layer in self.convs:
            conv, norm = cast(tuple[nn.Conv2d, FrozenBatchNorm], tuple(cast(nn.Sequential, layer)))
            pooled = conv_norm(conv, norm, pooled, relu=True)
        dropped: Tensor = self.drop6(torch.relu(self.fc6(pooled.flatten(1))))
        return dropped

    def initialise_hidden(self, generator: torch.Generator) -> None:
        """Draw fresh convolutions and a fresh fc6: He's normal, biases 0."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        nn.init.kaiming_normal_(self.fc6.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(self.fc6.bias)

    def seed_dropout(self, generator: torch.Generator) -> None:
        """Draw the next dropout masks from `generator`."""
        self.drop6.generator = generator
