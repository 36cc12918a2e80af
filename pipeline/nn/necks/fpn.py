"""Feature Pyramid Network (Lin et al. 2017), named as torchvision's FeaturePyramidNetwork with LastLevelMaxPool.

Shapes: B images; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from pipeline.geometry.layout import MapLayout
from pipeline.geometry.necks import fpn_layout
from pipeline.geometry.trunk_settings import NeckSettings
from pipeline.nn.backbones.trunk import Maps
from pipeline.nn.necks.pyramid import Pyramid


class FPN(Pyramid):
    """A level for each of the backbone's maps, and every other cell of the coarsest as a further one.

    Args:
        backbone: the layout of the maps that come in. settings: see `Pyramid`.
    """

    def __init__(self, backbone: MapLayout, settings: NeckSettings) -> None:
        super().__init__(fpn_layout(backbone, settings), backbone.levels, settings)

    def forward(self, maps: Maps) -> Maps:
        """The (B, D, Fh, Fw) maps of the backbone's stages to those of each level, the finest first."""
        levels = self.merge(maps)
        return (*levels, levels[-1][:, :, ::2, ::2])
