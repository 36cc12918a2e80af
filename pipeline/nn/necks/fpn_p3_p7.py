"""The pyramid of RetinaNet and FCOS: P3 to P5 of a Feature Pyramid Network, P6 and P7 by convolutions of stride 2.

Named as torchvision's FeaturePyramidNetwork with LastLevelP6P7.

Shapes: B images; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from torch import nn

from pipeline.geometry.layout import MapLayout
from pipeline.geometry.necks import fpn_p3_p7_layout
from pipeline.geometry.trunk_settings import NeckSettings
from pipeline.nn.backbones.trunk import Maps
from pipeline.nn.necks.pyramid import Pyramid


class FPNP3P7(Pyramid):
    """A level for each of the backbone's maps but the finest (C3 to C5); P6, a 3x3 convolution of stride 2 on P5 or C5;
    and P7, another on P6 after a ReLU (RetinaNet, section 4).

    Args:
        backbone: the layout of the maps that come in.
        settings: `p6_from` p5 or c5; the rest as of `Pyramid`. P6 and P7 have biases and no norm in any case.
    """

    def __init__(self, backbone: MapLayout, settings: NeckSettings) -> None:
        super().__init__(fpn_p3_p7_layout(backbone, settings), backbone.levels[1:], settings)
        self._of_c5, channels = settings.p6_from == "c5", settings.channels
        before = backbone.levels[-1].channels if self._of_c5 else channels
        self.extra_blocks = nn.ModuleDict(
            {
                "p6": nn.Conv2d(before, channels, 3, stride=2, padding=1),
                "p7": nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            }
        )

    def forward(self, maps: Maps) -> Maps:
        """The (B, D, Fh, Fw) maps of the backbone's stages to those of each level, the finest first."""
        levels = self.merge(maps[1:])
        p6 = self.extra_blocks["p6"](maps[-1] if self._of_c5 else levels[-1])
        return (*levels, p6, self.extra_blocks["p7"](p6.relu()))
