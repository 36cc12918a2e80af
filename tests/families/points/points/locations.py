"""The levels that the head predicts on."""

from __future__ import annotations

from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.points import Locations
from pipeline.params.reading import Params

LEVELS = 3


def locations(trunk: MapLayout, params: Params) -> Locations:
    """One point a cell of the trunk's map and of two maps that are half and a quarter as fine."""
    (fine,) = trunk.levels
    levels = (Level(fine.stride * 2**level, params.points.channels, fine.round_up) for level in range(LEVELS))
    return Locations(MapLayout(tuple(levels)), (1,) * LEVELS)
