"""The levels that a family's detector predicts on, without torch."""

from __future__ import annotations

from pipeline.families.registry import part_of
from pipeline.geometry.backbones import layout_of
from pipeline.geometry.layout import MapLayout
from pipeline.params.reading import Params


def trunk_layout(params: Params) -> MapLayout:
    """The levels of the trunk's maps."""
    return layout_of(params.backbone.name, ceil_pool=params.backbone.ceil_pool)


def head_layout(params: Params) -> MapLayout:
    """The levels that the heads predict on: those of a dense family's locations, or else the trunk's.

    Args:
        params: the whole of params.yaml, with the family's name.
    """
    trunk = trunk_layout(params)
    part = part_of(params.family, "dense_targets")
    layout: MapLayout = part.locations(trunk, params).layout if part else trunk
    return layout
