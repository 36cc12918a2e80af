"""torchvision's FCOS with the weights and parameters of a bundle. Its weights are a state dict of torchvision's own
`fcos_resnet50_fpn`, or of its like on another ResNet.

It keeps detections without area, which ours drops. Locations, which have no weights, are this project's: they are
torchvision's where `fcos.placement` is torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from pipeline.artifacts.weights import State
from pipeline.building.layout import map_layout
from pipeline.building.torchvision_dense import to_torchvision
from pipeline.dense.torchvision_export import Asked, TorchvisionKind
from pipeline.export.torchvision_parts import dense_options, pyramid, resnet_asked
from pipeline.families.fcos.points import points_in_image
from pipeline.geometry.points import Grid
from pipeline.params.reading import Params

_DEPTH = 4
"""Of torchvision's heads, convolutions before the outputs; they are as wide as the maps."""


class _Locations(AnchorGenerator):
    """This project's locations in place of torchvision's, each as a square as wide as its level's stride."""

    def __init__(self, params: Params) -> None:
        self._params, self._strides = params, map_layout(params.backbone).strides
        super().__init__(
            sizes=tuple((stride,) for stride in self._strides), aspect_ratios=((1.0,),) * len(self._strides)
        )

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """For each of B images the (N, 4) float32 squares, px."""
        cells = tuple((maps.shape[2], maps.shape[3]) for maps in feature_maps)
        grid, device = Grid(self._strides, cells, (1,) * len(cells)), feature_maps[0].device
        halves = [torch.full((count, 1), stride / 2) for count, stride in zip(grid.counts, self._strides, strict=True)]
        half = torch.cat(halves).to(device)
        points = [points_in_image(grid, size, self._params, device) for size in image_list.image_sizes]
        return [torch.cat([own - half, own + half], dim=1) for own in points]


def _asked(params: Params) -> Asked:
    own = params.fcos
    return [
        *resnet_asked(params),
        ("fcos.depth", str(own.depth), (str(_DEPTH),)),
        ("fcos.channels", str(own.channels), (str(params.backbone.neck.channels),)),
        ("fcos.norm", own.norm, ("group",)),
        ("fcos.centreness_on", own.centreness_on, ("box",)),
        ("fcos.regression", own.regression, ("relu",)),
        ("detect_fcos.threshold_on", params.detect_fcos.threshold_on, ("product",)),
    ]


def _build(params: Params, num_classes: int, pixels: Mapping[str, Any]) -> nn.Module:
    return FCOS(
        pyramid(params.backbone),
        num_classes,
        anchor_generator=_Locations(params),
        **dense_options(params, params.detect_fcos, pixels),
    )


def _state(trunk: Mapping[str, Tensor], head: Mapping[str, Tensor], params: Params) -> State:
    return to_torchvision(trunk, head, 1)


KIND = TorchvisionKind(_asked, _build, _state)
