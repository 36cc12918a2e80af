"""The levels that a family's detector predicts on, without torch."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.building.layout import map_layout
from pipeline.families.registry import declared
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.points import Locations
from pipeline.params.reading import Params


def trunk_layout(params: Params) -> MapLayout:
    """The levels of the trunk's maps."""
    return map_layout(params.backbone)


def head_layout(params: Params) -> MapLayout:
    """The levels that the heads predict on: those of a dense family's locations, or else the trunk's.

    Args:
        params: the whole of params.yaml, with the family's name.

    Raises:
        InputError: the family's part `dense_targets` has no `locations`.
    """
    trunk = trunk_layout(params)
    locations: Callable[[MapLayout, Params], Locations] | None = declared(params.family, "dense_targets", "locations")
    return locations(trunk, params).layout if locations else trunk
