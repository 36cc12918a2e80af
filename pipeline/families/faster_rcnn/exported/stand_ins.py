"""This project's RoI pooling in place of torchvision's.

Shapes: R RoIs of the batch; D channels of the maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import Pooling
from pipeline.nn.roi_pooling import pool_levels


class RoIPooling(nn.Module):
    """This project's RoIPool or RoIAlign in place of torchvision's `MultiScaleRoIAlign`.

    Args:
        pooling: how. layout: of the trunk's maps.
    """

    def __init__(self, pooling: Pooling, layout: MapLayout) -> None:
        super().__init__()
        self._pooling, self._layout = pooling, layout

    def forward(
        self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], image_shapes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """The (R_b, 4) boxes of each image, in pixels, to (R, D, output_size, output_size); shapes are not needed."""
        return pool_levels(list(features.values()), boxes, self._layout, self._pooling)
