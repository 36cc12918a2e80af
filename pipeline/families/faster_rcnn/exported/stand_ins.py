"""This project's anchors and RoI pooling where a torchvision network asks for its own; neither has weights.

Shapes: B images; K anchors of one image; R RoIs of the batch; D channels of the maps; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from pipeline.building.anchors import anchor_grid
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import Pooling
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.roi_pooling import pool_levels
from pipeline.params.anchors import AnchorParams


class ExactAnchors(AnchorGenerator):
    """This project's anchors where torchvision's are asked for; its own rounded `cell_anchors` are not used.

    Args:
        params: base size, ratios and scales. layout: of the trunk's maps.
    """

    def __init__(self, params: AnchorParams, layout: MapLayout) -> None:
        sizes = tuple(tuple(params.base_size * scale * own for scale in params.scales) for own in layout.scales)
        super().__init__(sizes=sizes, aspect_ratios=(tuple(params.ratios),) * len(sizes))
        self._grid: AnchorGrid = anchor_grid(params, layout)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """For each of B images the (K, 4) float32 anchors of the (B, D, Fh, Fw) map of each level."""
        anchors = self._grid([(maps.shape[2], maps.shape[3]) for maps in feature_maps])
        return [anchors.to(feature_maps[0].device)] * len(image_list.image_sizes)


class RoIPooling(nn.Module):
    """This project's RoIPool or RoIAlign where torchvision's `MultiScaleRoIAlign` is asked for.

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
