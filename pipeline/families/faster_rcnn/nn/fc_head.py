"""The RoI head of the paper: fc6 and fc7 on the pooled features.

Shapes: R RoIs of the batch; D channels of the maps; S cells of a pooled side; E features of a RoI.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import Pooling
from pipeline.nn.dropout import Dropout
from pipeline.nn.linear import KeptLinear


class FcHead(RoIHead):
    """Two rectified linear layers.

    Args:
        hidden: E, width of fc6 and fc7; 4096 in the paper. dropout: probability after each of them.
    """

    rows_at_once = 64
    memory_format = torch.contiguous_format

    def __init__(
        self,
        layout: MapLayout,
        num_classes: int,
        pooling: Pooling,
        *,
        hidden: int,
        dropout: float,
        class_agnostic: bool = False,
    ) -> None:
        super().__init__(layout, num_classes, pooling, class_agnostic=class_agnostic)
        self.fc6 = KeptLinear(layout.channels * pooling.size**2, hidden)
        self.fc7 = KeptLinear(hidden, hidden)
        self.drop6, self.drop7 = Dropout(dropout), Dropout(dropout)
        self.add_outputs(hidden)

    def features(self, pooled: Tensor) -> Tensor:
        """(R, D, S, S) pooled RoIs to (R, E)."""
        hidden = self.drop6(torch.relu(self.fc6(pooled.flatten(1))))
        dropped: Tensor = self.drop7(torch.relu(self.fc7(hidden)))
        return dropped

    def initialise_hidden(self, generator: torch.Generator) -> None:
        """Draw fresh fc6 and fc7: He's normal, biases 0."""
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)

    def seed_dropout(self, generator: torch.Generator) -> None:
        """Draw the next dropout masks from `generator`."""
        self.drop6.generator = self.drop7.generator = generator
