"""The layouts of the necks by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.ssd_necks import SSD_SHAPES, ssd_layout
from pipeline.geometry.trunk_settings import NeckSettings


def fpn_layout(backbone: MapLayout, neck: NeckSettings) -> MapLayout:
    """The levels of a Feature Pyramid Network: one for each of the backbone's, and a coarser one for anchors alone,
    every other cell of the last (FPN, section 4.1: P2 to P6 of C2 to C5)."""
    last = backbone.levels[-1]
    own = [replace(level, channels=neck.channels) for level in backbone.levels]
    return replace(backbone, levels=(*own, Level(2 * last.stride, neck.channels, round_up=last.round_up, pooled=False)))


def fpn_p3_p7_layout(backbone: MapLayout, neck: NeckSettings) -> MapLayout:
    """P3 to P7: a level for each of the backbone's but the finest, and two coarser ones, each made by a convolution of
    stride 2, which rounds odd sides up (RetinaNet, section 4)."""
    own = [replace(level, channels=neck.channels) for level in backbone.levels[1:]]
    stride = own[-1].stride
    coarser = (Level(stride * times, neck.channels, round_up=True, pooled=False) for times in (2, 4))
    return replace(backbone, levels=(*own, *coarser))


def simple_fpn_layout(backbone: MapLayout, neck: NeckSettings) -> MapLayout:
    """Levels of strides 4 to 32 of a map of stride 16 on padded images of as many whole cells, and a coarser one for
    anchors alone (ViTDet, section 3)."""
    levels = (Level(stride, neck.channels, round_up=True, pooled=stride < 64) for stride in (4, 8, 16, 32, 64))
    return replace(backbone, levels=tuple(levels))


NECKS: dict[str, Callable[[MapLayout, NeckSettings], MapLayout]] = {
    "fpn": fpn_layout,
    "fpn_p3_p7": fpn_p3_p7_layout,
    "simple_fpn": simple_fpn_layout,
    **dict.fromkeys(SSD_SHAPES, ssd_layout),
}
"""From the layout of all stages of a backbone to that of the neck's maps, for each name in
`pipeline.nn.necks.build.NECKS`."""
