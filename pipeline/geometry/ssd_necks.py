"""SSD's layers between a backbone and its heads, and the levels that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.trunk_settings import NeckSettings


@dataclass(frozen=True)
class ExtraLayer:
    """One of SSD's further levels, of the map before it: a 1x1 convolution to `inner` channels, and one of kernel
    `side` to `channels`, each with a ReLU.

    Attributes:
        level_stride: of the level, px from one cell to the next.
        side, stride, padding: of the second convolution.
    """

    level_stride: int
    inner: int
    channels: int
    side: int = 3
    stride: int = 2
    padding: int = 1


@dataclass(frozen=True)
class SSDShape:
    """SSD's layers after a backbone (Liu et al. 2016, figure 2 and section 3.6).

    Attributes:
        fc: channels of fc6 and fc7, which are convolutions on VGG's last map; 0: the backbone's maps are levels as they
            are.
        extra: the further levels.
    """

    fc: int
    extra: tuple[ExtraLayer, ...]

    def layout(self, backbone: MapLayout) -> MapLayout:
        """The backbone's maps, the last with the depth of fc7 where there is one, and the further levels."""
        *finer, last = backbone.levels
        own = [*finer, replace(last, channels=self.fc or last.channels)]
        further = [Level(layer.level_stride, layer.channels, round_up=True) for layer in self.extra]
        return replace(backbone, levels=(*own, *further))


_FINER = (ExtraLayer(32, 256, 512), ExtraLayer(64, 128, 256))
SSD_SHAPES = {
    "ssd300": SSDShape(
        1024,
        (
            *_FINER,
            ExtraLayer(100, 128, 256, stride=1, padding=0),
            ExtraLayer(300, 128, 256, stride=1, padding=0),
        ),
    ),
    "ssd512": SSDShape(
        1024,
        (
            *_FINER,
            ExtraLayer(128, 128, 256),
            ExtraLayer(256, 128, 256),
            ExtraLayer(512, 128, 256, side=4, stride=1),
        ),
    ),
    "ssd_tiny": SSDShape(0, tuple(ExtraLayer(stride, 64, 128) for stride in (16, 32, 64))),
}


def ssd_layout(backbone: MapLayout, neck: NeckSettings) -> MapLayout:
    """The levels of SSD's necks. Strides are those that its authors' default boxes have (`steps`): of 300 x 300 px, the
    cells of the maps, 38, 19, 10, 5, 3 and 1 along a side."""
    return SSD_SHAPES[neck.name].layout(backbone)
