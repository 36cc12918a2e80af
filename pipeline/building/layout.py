"""The layout of the trunk that params.yaml names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.geometry.backbones import layout_of

if TYPE_CHECKING:
    from pipeline.geometry.layout import MapLayout
    from pipeline.params.backbone import BackboneParams


def map_layout(params: BackboneParams) -> MapLayout:
    """The levels of the trunk's maps, without making one."""
    return layout_of(params.name, ceil_pool=params.ceil_pool)
