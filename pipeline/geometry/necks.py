"""The layouts of the necks by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.trunk_settings import NeckSettings


def fpn_layout(backbone: MapLayout, neck: NeckSettings) -> MapLayout:
    """The levels of a Feature Pyramid Network: one for each of the backbone's, and a coarser one for anchors alone,
    every other cell of the last (FPN, section 4.1: P2 to P6 of C2 to C5)."""
    last = backbone.levels[-1]
    own = [replace(level, channels=neck.channels) for level in backbone.levels]
    return replace(backbone, levels=(*own, Level(2 * last.stride, neck.channels, round_up=last.round_up, pooled=False)))


NECKS: dict[str, Callable[[MapLayout, NeckSettings], MapLayout]] = {"fpn": fpn_layout}
"""From the layout of all stages of a backbone to that of the neck's maps, for each name in
`pipeline.nn.necks.build.NECKS`."""
