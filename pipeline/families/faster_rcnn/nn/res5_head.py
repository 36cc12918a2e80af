"""The RoI head of ResNet without a neck (C4): res5 on each pooled RoI, then the mean over its cells (He et al. 2016).

Shapes: R RoIs of the batch; D channels of the maps; S cells of a pooled side; E features of a RoI.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.geometry.backbones import ResNetShape
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import Pooling
from pipeline.geometry.trunk_settings import TrunkSettings
from pipeline.nn.backbones.resnet import STAGES, initialise_stage, residual_stage

_RES5 = STAGES.index("layer4")


class Res5Head(RoIHead):
    """ResNet's last stage, whose first block halves the pooled RoIs, 14 x 14 in detectron2.

    `res5` has torchvision's names of `layer4`. It is trained whole, however many stages of the trunk are frozen.

    Args:
        shape: of the trunk's ResNet. settings: of the trunk, where blocks have their stride and norms their epsilon.
    """

    def __init__(
        self,
        layout: MapLayout,
        num_classes: int,
        pooling: Pooling,
        *,
        shape: ResNetShape,
        settings: TrunkSettings,
        class_agnostic: bool = False,
    ) -> None:
        super().__init__(layout, num_classes, pooling, class_agnostic=class_agnostic)
        self.res5 = residual_stage(shape, _RES5, settings)
        self.add_outputs(shape.channels(_RES5))

    def features(self, pooled: Tensor) -> Tensor:
        """(R, D, S, S) pooled RoIs to (R, E)."""
        maps: Tensor = self.res5(pooled)
        return maps.mean(dim=(2, 3))

    def initialise_hidden(self, generator: torch.Generator) -> None:
        """Draw a fresh res5, as the trunk draws its stages."""
        initialise_stage(self.res5, generator)
